//! The tables as bars, in SVG.

use super::report::{Report, Row, Table};
use std::fmt::Write as _;

const WIDTH: u32 = 760;
const NAMES_WIDTH: u32 = 210;
const BARS_WIDTH: u32 = 400;
const ROW_HEIGHT: u32 = 20;
const BAR_HEIGHT: u32 = 14;
const TITLE_HEIGHT: u32 = 44;
const GAP: u32 = 16;

/// Ours stand out.
const OUR_COLOUR: &str = "#c2410c";
const OTHER_COLOUR: &str = "#64748b";

/// Every table as a panel of horizontal bars: the share of the limit, or the goodput where there is
/// none.
pub fn svg(report: &Report) -> String {
    let heights = report.tables.iter().map(panel_height);
    let height = heights.sum::<u32>() + GAP;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut top = 0;
    for table in &report.tables {
        panel(&mut text, table, top);
        top += panel_height(table);
    }
    text.push_str("</svg>\n");
    text
}

fn panel_height(table: &Table) -> u32 {
    TITLE_HEIGHT + ROW_HEIGHT * u32::try_from(table.rows.len()).unwrap_or(0) + GAP
}

fn panel(text: &mut String, table: &Table, top: u32) {
    let goodput = |row: &Row| Some(row.summary(table.scenario.total_bytes())?.goodput_bits);
    let limit = table.scenario.limit_bits();
    let most = limit.unwrap_or_else(|| table.rows.iter().filter_map(goodput).fold(1.0, f64::max));
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        text,
        "<text x=\"12\" y=\"{}\" font-size=\"14\" font-weight=\"bold\">{}</text>",
        top + TITLE_HEIGHT - 14,
        escaped(&table.scenario.title())
    );
    for (index, row) in (0..).zip(&table.rows) {
        let y = top + TITLE_HEIGHT + ROW_HEIGHT * index;
        let base = y + BAR_HEIGHT - 3;
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{}</text>",
            NAMES_WIDTH - 8,
            escaped(&row.tool)
        );
        let Some(bits) = goodput(row) else {
            let _ = writeln!(
                text,
                "<text x=\"{NAMES_WIDTH}\" y=\"{base}\" fill=\"#999\">{}</text>",
                escaped(&shortened(&row.failure()))
            );
            continue;
        };
        let width = (f64::from(BARS_WIDTH) * (bits / most).min(1.0)).max(1.0);
        let colour = if row.tool.starts_with("xfer") {
            OUR_COLOUR
        } else {
            OTHER_COLOUR
        };
        let label = match limit {
            Some(limit) => format!("{:.2}  ({:.1} Mbit/s)", bits / limit, bits / 1e6),
            None => format!("{:.2} Gbit/s", bits / 1e9),
        };
        let _ = writeln!(
            text,
            "<rect x=\"{NAMES_WIDTH}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" \
             fill=\"{colour}\"/>\n<text x=\"{:.1}\" y=\"{base}\">{label}</text>",
            f64::from(NAMES_WIDTH) + width + 6.0
        );
    }
    if limit.is_some() {
        let x = NAMES_WIDTH + BARS_WIDTH;
        let (from, to) = (top + TITLE_HEIGHT - 4, top + panel_height(table) - GAP);
        let _ = writeln!(
            text,
            "<line x1=\"{x}\" y1=\"{from}\" x2=\"{x}\" y2=\"{to}\" stroke=\"#bbb\" \
             stroke-dasharray=\"3 3\"/>"
        );
    }
}

/// As much as fits beside the names.
fn shortened(text: &str) -> String {
    const MOST_CHARS: usize = 70;
    text.chars().take(MOST_CHARS).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn every_row_is_drawn_and_a_bar_is_its_share_wide() {
        let text = svg(&report());
        // The limit is 100 Mbit/s, and the median 64.
        assert!(text.contains("width=\"256.0\""), "{text}");
        assert!(text.contains("not installed"));
        assert!(text.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn names_cannot_break_the_markup() {
        assert_eq!(escaped("<a & b>"), "&lt;a &amp; b&gt;");
    }
}
