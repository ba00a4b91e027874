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
    /// The cells of each in one string, for there may be a million: [`END`] is behind each cell but
    /// the last.
    rows: Vec<Box<str>>,
}

/// No cell has it, and nothing is sorted before it.
const END: char = '\0';

impl<const N: usize> Table<N> {
    /// A table with these columns and no rows.
    pub(crate) fn new(columns: [(&'static str, Align); N]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row below the others. Its cells have no NUL.
    pub(crate) fn push(&mut self, row: &[impl AsRef<str>; N]) {
        let mut cells = String::with_capacity(row.iter().map(|cell| cell.as_ref().len() + 1).sum());
        for (at, cell) in row.iter().enumerate() {
            cells.extend((at > 0).then_some(END));
            cells.push_str(cell.as_ref());
        }
        self.rows.push(cells.into());
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
            for (width, cell) in widths.iter_mut().zip(row.split(END)) {
                *width = (*width).max(cell.width());
            }
        }
        let mut text = String::new();
        let titles = self.columns.map(|(title, _)| title);
        self.render_row(&mut text, &widths, titles.into_iter());
        for row in &self.rows {
            self.render_row(&mut text, &widths, row.split(END));
        }
        text
    }

    fn render_row<'a>(
        &self,
        text: &mut String,
        widths: &[usize; N],
        cells: impl Iterator<Item = &'a str>,
    ) {
        for (at, cell) in cells.take(N).enumerate() {
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
        table.push(&["a-long-name", "1"]);
        table.push(&["漢字", "1234567"]);
        let expected = "\
FILE           BYTES\n\
a-long-name        1\n\
漢字         1234567\n";
        assert_eq!(table.render(), expected);
        table.push(&["a", "2"]);
        table.sort();
        assert!(
            table
                .render()
                .starts_with("FILE           BYTES\na                  2\na-l")
        );
    }
}
