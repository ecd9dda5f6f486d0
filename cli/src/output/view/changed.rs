//! What a change came to that has nothing else to show: for programs only, people were told on stderr.

use serde::Serialize;

use crate::output::Detail;

/// What was changed, by the name that other commands have for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Changed {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// `deleted`, `rolled-back`, `removed`, `leaving`.
    outcome: &'static str,
}

impl Changed {
    /// A thing and what became of it.
    pub(crate) fn new(name: impl ToString, outcome: &'static str) -> Self {
        Self { name: name.to_string(), version: None, outcome }
    }

    /// With the version that it has now.
    pub(crate) fn at(self, version: u64) -> Self {
        Self { version: Some(version), ..self }
    }
}

impl Detail for Changed {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn describe(&self, _wide: bool) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_learn_what_became_of_it_and_people_are_not_told_twice() {
        let json = |changed: &Changed| serde_json::to_string(changed).unwrap();
        let deleted = Changed::new("hello", "deleted");
        assert_eq!(json(&deleted), r#"{"name":"hello","outcome":"deleted"}"#);
        assert_eq!(
            json(&Changed::new("a", "rolled-back").at(2)),
            r#"{"name":"a","version":2,"outcome":"rolled-back"}"#
        );
        assert_eq!(deleted.describe(true), "");
    }
}
