//! `coracle event-types`: the catalogue of events that the platform makes.

pub(super) mod catalogue;

use serde::Serialize;

use self::catalogue::{EventType, TYPES};
use super::Session;
use crate::exit::Failure;
use crate::output::{Detail, Row, table};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this one, with its attributes and an example.
    #[arg(value_name = "TYPE")]
    kind: Option<String>,
}

pub(super) fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match &args.kind {
        Some(kind) => session.output.one(&TypeView::from(catalogue::find(kind)?)),
        None => session.output.list(&TYPES.iter().map(TypeView::from).collect::<Vec<_>>()),
    }
}

/// A type of event.
#[derive(Debug, Clone, Serialize)]
struct TypeView {
    #[serde(rename = "type")]
    kind: &'static str,
    fires: &'static str,
    attributes: Vec<AttributeView>,
    /// An example of its data.
    data: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Serialize)]
struct AttributeView {
    name: &'static str,
    what: &'static str,
}

impl From<&EventType> for TypeView {
    fn from(it: &EventType) -> Self {
        let attributes = it.attributes.iter().map(|(name, what)| AttributeView { name, what });
        Self {
            kind: it.name,
            fires: it.fires,
            attributes: attributes.collect(),
            data: serde_json::from_str(it.data).ok(),
        }
    }
}

impl Row for TypeView {
    const COLUMNS: &'static [&'static str] = &["TYPE", "FIRES", "ATTRIBUTES", "DATA"];
    const WIDE_FROM: usize = 3;

    fn cells(&self) -> Vec<String> {
        let names: Vec<_> = self.attributes.iter().map(|it| it.name).collect();
        let data = self.data.as_ref().map(ToString::to_string).unwrap_or_default();
        vec![self.kind.to_owned(), self.fires.to_owned(), names.join(" "), data]
    }

    fn name(&self) -> String {
        self.kind.to_owned()
    }
}

impl Detail for TypeView {
    fn name(&self) -> String {
        self.kind.to_owned()
    }

    fn describe(&self, _wide: bool) -> String {
        let head = [("type", self.kind.to_owned()), ("fires", self.fires.to_owned())];
        let attributes = self.attributes.iter().map(|it| (it.name, it.what.to_owned()));
        let data = self.data.as_ref().map(ToString::to_string).unwrap_or_default();
        table::pairs(head.into_iter().chain(attributes).chain([("data", data)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_shown_with_its_attributes_and_an_example() {
        let view = TypeView::from(catalogue::find("dev.coracle.kv.set").unwrap());
        let text = view.describe(false);
        assert!(text.contains("subject") && text.contains("\"bucket\":\"images\""), "{text}");
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!((&json["type"], &json["data"]["version"]), (&"dev.coracle.kv.set".into(), &42.into()));
        assert_eq!(view.cells().len(), TypeView::COLUMNS.len());
    }
}
