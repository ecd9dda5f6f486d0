//! What is printed, and nothing else prints: results to stdout in the form that was asked for, talk to stderr.

pub(crate) mod door;
pub(crate) mod table;
mod talk;
mod time;
pub(crate) mod view;

use std::io::{self, ErrorKind};

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use talk::{Progress, Talk, say};
pub(crate) use time::{rfc3339, since_ms};

use crate::exit::Failure;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// With more columns.
    Wide,
    /// For programs: a list is an array, a single thing an object.
    Json,
    /// The same as YAML.
    Yaml,
    /// Names only, one a line.
    Name,
}

/// One of many: a line of a table.
pub(crate) trait Row: Serialize {
    /// Headings; those from [`Row::WIDE_FROM`] on are shown in wide tables only.
    const COLUMNS: &'static [&'static str];
    /// How many columns the plain table has.
    const WIDE_FROM: usize;
    /// One cell for each column.
    fn cells(&self) -> Vec<String>;
    /// What other commands call it.
    fn name(&self) -> String;
}

/// A single thing, described.
pub(crate) trait Detail: Serialize {
    /// What other commands call it.
    fn name(&self) -> String;
    /// For people, with a line feed at the end. Where a value may have line feeds of its own it is put on one line.
    fn describe(&self, wide: bool) -> String;
}

/// Writes results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether people read it: what a command is asked for is written as it is.
    pub(crate) fn is_for_people(self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Writes a list.
    pub(crate) fn list<R: Row>(&self, rows: &[R]) -> Result<(), Failure> {
        print(&render_list(self.format, rows)?)
    }

    /// Writes a single thing.
    pub(crate) fn one<D: Detail>(&self, detail: &D) -> Result<(), Failure> {
        print(&render_one(self.format, detail)?)
    }

    /// Writes one of a stream of things: a line of JSON, a document of YAML, or a line for people.
    pub(crate) fn next<D: Detail>(&self, detail: &D) -> Result<(), Failure> {
        let text = match self.format {
            Format::Json => door::json(detail, false).map_err(unwritable)?,
            Format::Yaml => format!("---\n{}", door::yaml(detail).map_err(unwritable)?),
            Format::Table | Format::Wide | Format::Name => render_one(self.format, detail)?,
        };
        print(&text)
    }
}

fn render_list<R: Row>(format: Format, rows: &[R]) -> Result<String, Failure> {
    Ok(match format {
        Format::Table => {
            table::render(R::COLUMNS.get(..R::WIDE_FROM).unwrap_or(R::COLUMNS), rows.iter().map(R::cells))
        }
        Format::Wide => table::render(R::COLUMNS, rows.iter().map(R::cells)),
        Format::Json => door::json(rows, true).map_err(unwritable)?,
        Format::Yaml => door::yaml(rows).map_err(unwritable)?,
        Format::Name => rows.iter().map(|row| door::one_line_with_tabs(&row.name()) + "\n").collect(),
    })
}

fn render_one<D: Detail>(format: Format, detail: &D) -> Result<String, Failure> {
    Ok(match format {
        Format::Table => detail.describe(false),
        Format::Wide => detail.describe(true),
        Format::Json => door::json(detail, true).map_err(unwritable)?,
        Format::Yaml => door::yaml(detail).map_err(unwritable)?,
        Format::Name => door::one_line_with_tabs(&detail.name()) + "\n",
    })
}

fn unwritable(error: impl std::fmt::Display) -> Failure {
    Failure::local("the result cannot be written in this form", error)
}

/// Writes text to stdout.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    door::print(text).map_err(|error| unwritten(&error))
}

/// What it means that stdout took something not. A reader that left, as `head` does, ends the command without a word.
pub(crate) fn unwritten(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::reader_left(),
        _ => Failure::local("stdout", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Boat {
        name: &'static str,
        seats: u32,
        wood: &'static str,
    }

    impl Row for Boat {
        const COLUMNS: &'static [&'static str] = &["NAME", "SEATS", "WOOD"];
        const WIDE_FROM: usize = 2;

        fn cells(&self) -> Vec<String> {
            vec![self.name.into(), self.seats.to_string(), self.wood.into()]
        }

        fn name(&self) -> String {
            self.name.into()
        }
    }

    const BOATS: [Boat; 2] =
        [Boat { name: "coracle", seats: 1, wood: "willow" }, Boat { name: "dory", seats: 4, wood: "" }];

    #[test]
    fn a_list_has_stable_columns_or_is_an_array() {
        let render = |format| render_list(format, &BOATS).unwrap();
        assert_eq!(render(Format::Table), "NAME     SEATS\ncoracle  1\ndory     4\n");
        assert_eq!(render(Format::Wide), "NAME     SEATS  WOOD\ncoracle  1      willow\ndory     4      -\n");
        assert_eq!(render(Format::Name), "coracle\ndory\n");
        let json: serde_json::Value = serde_json::from_str(&render(Format::Json)).unwrap();
        assert_eq!(json[1]["name"], "dory");
        assert_eq!(
            render(Format::Yaml),
            "- name: coracle\n  seats: 1\n  wood: willow\n- name: dory\n  seats: 4\n  wood: ''\n"
        );
    }

    #[test]
    fn an_empty_list_is_still_a_list() {
        let none: [Boat; 0] = [];
        assert_eq!(render_list(Format::Json, &none).unwrap(), "[]\n");
        assert_eq!(render_list(Format::Table, &none).unwrap(), "NAME  SEATS\n");
        assert_eq!(render_list(Format::Name, &none).unwrap(), "");
    }
}
