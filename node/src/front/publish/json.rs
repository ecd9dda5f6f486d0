//! The outermost layer of a JSON text, with the values as they were written: what is data goes on as it came, with its
//! numbers and the order of its keys.

use serde::de::IgnoredAny;

/// What is wrong with a text, as the rest of a sentence.
type Wrong = String;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Boolean,
    Null,
    /// An object or a list.
    Nested,
}

/// A value as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw<'a>(pub(super) &'a str);

impl<'a> Raw<'a> {
    /// All of a text, which is one value.
    pub(super) fn of(text: &'a str) -> Result<Self, Wrong> {
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| format!("is no JSON: {error}"))?;
        Ok(Self(text.trim_matches([' ', '\t', '\r', '\n'])))
    }

    pub(super) fn kind(self) -> Kind {
        match self.0.bytes().next() {
            Some(b'"') => Kind::Text,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') => Kind::Null,
            Some(b'{' | b'[') => Kind::Nested,
            Some(_) | None => Kind::Number,
        }
    }

    /// The text that it is.
    pub(super) fn text(self) -> Option<String> {
        serde_json::from_str(self.0).ok()
    }

    /// The members of an object, in their order.
    pub(super) fn members(self) -> Option<Vec<(String, Self)>> {
        let mut cursor = Cursor(self.0.strip_prefix('{')?);
        let mut members = Vec::new();
        while !cursor.eats('}') {
            let name = cursor.value()?.text()?;
            cursor.eats(':');
            members.push((name, cursor.value()?));
            cursor.eats(',');
        }
        Some(members)
    }

    /// The elements of a list.
    pub(super) fn elements(self) -> Option<Vec<Self>> {
        let mut cursor = Cursor(self.0.strip_prefix('[')?);
        let mut elements = Vec::new();
        while !cursor.eats(']') {
            elements.push(cursor.value()?);
            cursor.eats(',');
        }
        Some(elements)
    }
}

/// What is left of a text that is known to be JSON.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    /// Goes on behind that character, if it is next.
    fn eats(&mut self, char: char) -> bool {
        self.0 = self.0.trim_start_matches([' ', '\t', '\r', '\n']);
        let rest = self.0.strip_prefix(char);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Goes on behind the next value.
    fn value(&mut self) -> Option<Raw<'a>> {
        let mut values = serde_json::Deserializer::from_str(self.0).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let (value, rest) = self.0.split_at_checked(values.byte_offset())?;
        self.0 = rest;
        Some(Raw(value.trim_start_matches([' ', '\t', '\r', '\n'])))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_stay_as_they_were_written() {
        let text = " { \"a\\u0062\" : {\"z\":1.50,\"a\":123456789012345678901234567890} ,\n\"b\":[1, 2],\
                    \"c\":-0.5e+3,\"d\":true,\"e\":null , \"f\":\"}\\\"\" } ";
        let raw = Raw::of(text).unwrap();
        let members = raw.members().unwrap();
        let members: Vec<_> = members.iter().map(|(name, raw)| (name.as_str(), raw.0, raw.kind())).collect();
        let expected = [
            ("ab", "{\"z\":1.50,\"a\":123456789012345678901234567890}", Kind::Nested),
            ("b", "[1, 2]", Kind::Nested),
            ("c", "-0.5e+3", Kind::Number),
            ("d", "true", Kind::Boolean),
            ("e", "null", Kind::Null),
            ("f", "\"}\\\"\"", Kind::Text),
        ];
        assert_eq!(members, expected);
        assert_eq!((raw.elements(), Raw("1").members()), (None, None));
        let list = Raw::of("[ {} ,[],3 ,\"a\"]").unwrap().elements().unwrap();
        assert_eq!(list, [Raw("{}"), Raw("[]"), Raw("3"), Raw("\"a\"")]);
        assert_eq!(Raw::of("[ ]").unwrap().elements().unwrap(), []);
        assert_eq!(Raw::of("{\n}").unwrap().members().unwrap(), []);
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        for text in ["", "{", "{\"a\":}", "[1,]", "{} {}", "{'a':1}", "[01]", "nul"] {
            assert!(Raw::of(text).unwrap_err().contains("line 1 column"), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Raw::of(&deep).map(|raw| raw.elements().unwrap().len()), Ok(1), "of any depth");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[\\[\\]{}\",:0-9a-ce.\\\\ntu -]{0,40}") {
            if let Ok(raw) = Raw::of(&text) {
                prop_assert_eq!(raw.members().is_some() || raw.elements().is_some(), raw.kind() == Kind::Nested);
            }
        }

        #[test]
        fn all_that_is_written_is_found(names in proptest::collection::vec(any::<String>(), 0..8), pretty in any::<bool>()) {
            let members: serde_json::Map<String, serde_json::Value> =
                names.iter().map(|name| (name.clone(), serde_json::json!([name, 1.5, { name.clone(): null }]))).collect();
            let value = serde_json::Value::Object(members.clone());
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let found = Raw::of(&text).unwrap().members().unwrap();
            prop_assert_eq!(found.len(), members.len());
            for (name, raw) in found {
                let value: serde_json::Value = serde_json::from_str(raw.0).unwrap();
                prop_assert_eq!(Some(&value), members.get(&name));
            }
        }
    }
}
