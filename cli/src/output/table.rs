//! Tables without borders, for people and for `awk`: two spaces between columns, never wrapped.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use super::door;

/// What stands in an empty cell, so that columns can be counted.
const EMPTY: &str = "-";

/// Headings and rows, each line without trailing spaces.
pub(crate) fn render(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.to_vec());
    for row in rows {
        let cells = row.into_iter().take(columns.len());
        table.add_row(
            cells
                .map(|cell| if cell.is_empty() { EMPTY.to_owned() } else { door::one_line(cell) })
                .collect::<Vec<_>>(),
        );
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The same for two columns without headings: what is said and what it is.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    pairs.into_iter().map(|(name, value)| format!("{name:width$}  {}\n", door::one_line(value))).collect()
}
