//! Plain text tables: columns as wide as their widest cell, two spaces between.

use unicode_width::UnicodeWidthStr;

/// To which side the cells of a column go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows of text under a heading.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table with these columns and no rows.
    pub(crate) fn new(columns: [(&'static str, Align); N]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row below the others.
    pub(crate) fn push(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    /// Whether no row was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Puts the rows in the order of their cells.
    pub(crate) fn sort(&mut self) {
        self.rows.sort_unstable();
    }

    /// The whole table, each line ended.
    pub(crate) fn render(&self) -> String {
        let mut widths = self.columns.map(|(title, _)| title.width());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let mut text = String::new();
        self.render_row(&mut text, &widths, self.columns.map(|(title, _)| title));
        for row in &self.rows {
            self.render_row(&mut text, &widths, row.each_ref().map(String::as_str));
        }
        text
    }

    fn render_row(&self, text: &mut String, widths: &[usize; N], cells: [&str; N]) {
        for (at, cell) in cells.into_iter().enumerate() {
            let padding = " ".repeat(widths[at] - cell.width());
            if at > 0 {
                text.push_str("  ");
            }
            match self.columns[at].1 {
                Align::Right => text.extend([&padding, cell]),
                // The last column needs no spaces after it.
                Align::Left if at + 1 == N => text.push_str(cell),
                Align::Left => text.extend([cell, &padding]),
            }
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new([("FILE", Align::Left), ("BYTES", Align::Right)]);
        table.push(["a-long-name".into(), "1".into()]);
        table.push(["漢字".into(), "1234567".into()]);
        let expected = "\
FILE           BYTES\n\
a-long-name        1\n\
漢字         1234567\n";
        assert_eq!(table.render(), expected);
    }
}
