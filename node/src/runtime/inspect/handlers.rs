//! Whether the handlers of events that a component exports are of the types by which the platform calls them.

use coracle_proto::status::{Code, Refusal};
use wasmparser::component_types::{
    ComponentDefinedType, ComponentEntityType, ComponentFuncType, ComponentValType,
};
use wasmparser::types::TypesRef;

use crate::runtime::handler::taker::{CHANGES, MESSAGES, PAYLOADS};

const MESSAGE: (&str, &str) = (
    "handle-message",
    "func(record{subject: string, body: list<u8>, reply-to: option<string>}) -> result<_, string>",
);
const PAYLOAD: (&str, &str) = ("handle-message", "func(list<u8>) -> result<_, enum{success, error}>");
const SET: (&str, &str) = ("on-set", "func(resource, string, list<u8>)");
const DELETED: (&str, &str) = ("on-delete", "func(resource, string)");

/// Each function that is called, by its interface.
const CALLED: [(&str, (&str, &str)); 6] = [
    (MESSAGES, MESSAGE),
    (PAYLOADS, PAYLOAD),
    (CHANGES[0], SET),
    (CHANGES[0], DELETED),
    (CHANGES[1], SET),
    (CHANGES[1], DELETED),
];

/// A type that is told has at most so many levels, and about so many bytes.
const DEPTH_MAX: usize = 8;
/// Names of an enumeration that are told.
const NAMES_MAX: usize = 8;
const TEXT_BYTES_MAX: usize = 256;

/// Checks those of a component that was validated.
pub(super) fn check(types: TypesRef<'_>) -> Result<(), Refusal> {
    for (interface, (name, wanted)) in CALLED {
        let Some(item) = types.component_item_for_export(interface) else { continue };
        let ComponentEntityType::Instance(instance) = item.ty else { continue };
        let exported = types.get(instance).and_then(|instance| instance.exports.get(name));
        let found = match exported.map(|item| item.ty) {
            Some(ComponentEntityType::Func(function)) => {
                types.get(function).map(|function| text(types, function))
            }
            _ => None,
        };
        if found.as_deref() != Some(wanted) {
            let found = found.map_or_else(|| "is not there".to_owned(), |found| format!("is '{found}'"));
            let said =
                format!("'{name}' of '{interface}', which it exports, {found}, and is called as '{wanted}'");
            return Err(Refusal::new(Code::UnsupportedModule, said));
        }
    }
    Ok(())
}

/// A function's type, without the names of its parameters.
fn text(types: TypesRef<'_>, function: &ComponentFuncType) -> String {
    let mut text = Text { types, text: String::new() };
    text.put(if function.async_ { "async func(" } else { "func(" });
    text.list(function.params.iter().map(|(_, ty)| (None, Some(*ty))), DEPTH_MAX);
    text.put(")");
    if let Some(result) = function.result {
        text.put(" -> ");
        text.value(Some(result), DEPTH_MAX);
    }
    text.text
}

struct Text<'a> {
    types: TypesRef<'a>,
    text: String,
}

impl Text<'_> {
    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn is_full(&self) -> bool {
        self.text.len() > TEXT_BYTES_MAX
    }

    fn list<'b>(
        &mut self,
        all: impl Iterator<Item = (Option<&'b str>, Option<ComponentValType>)>,
        depth: usize,
    ) {
        for (at, (name, ty)) in all.enumerate() {
            if at > 0 {
                self.put(", ");
            }
            if self.is_full() {
                return self.put("...");
            }
            if let Some(name) = name {
                self.put(name);
                self.put(": ");
            }
            self.value(ty, depth);
        }
    }

    fn value(&mut self, ty: Option<ComponentValType>, depth: usize) {
        match ty {
            None => self.put("_"),
            Some(ComponentValType::Primitive(primitive)) => self.put(&primitive.to_string()),
            Some(ComponentValType::Type(id)) => match self.types.get(id) {
                Some(defined) if depth > 0 && !self.is_full() => self.defined(defined, depth - 1),
                _ => self.put("..."),
            },
        }
    }

    fn defined(&mut self, ty: &ComponentDefinedType, depth: usize) {
        match ty {
            ComponentDefinedType::Primitive(primitive) => return self.put(&primitive.to_string()),
            ComponentDefinedType::Own(_) => return self.put("resource"),
            ComponentDefinedType::Record(record) => {
                self.put("record{");
                self.list(record.fields.iter().map(|(name, ty)| (Some(name.as_str()), Some(*ty))), depth);
                return self.put("}");
            }
            ComponentDefinedType::Enum(names) => {
                let names: Vec<_> = names.iter().take(NAMES_MAX).map(|name| name.as_str()).collect();
                let text = format!("enum{{{}}}", names.join(", "));
                return self.put(&text);
            }
            ComponentDefinedType::List { element, .. } => {
                self.put("list<");
                self.value(Some(*element), depth);
            }
            ComponentDefinedType::Tuple(tuple) => {
                self.put("tuple<");
                self.list(tuple.types.iter().map(|ty| (None, Some(*ty))), depth);
            }
            ComponentDefinedType::Option { ty, .. } => {
                self.put("option<");
                self.value(Some(*ty), depth);
            }
            ComponentDefinedType::Result { ok, err, .. } => {
                self.put("result<");
                self.list([*ok, *err].into_iter().map(|ty| (None, ty)), depth);
            }
            // None of them stands in any type that is wanted.
            ComponentDefinedType::Variant(_) => return self.put("variant"),
            ComponentDefinedType::Map { .. } => return self.put("map"),
            ComponentDefinedType::FixedLengthList { .. } => return self.put("list of a fixed length"),
            ComponentDefinedType::Flags(_) => return self.put("flags"),
            ComponentDefinedType::Borrow(_) => return self.put("borrow"),
            ComponentDefinedType::Future { .. } => return self.put("future"),
            ComponentDefinedType::Stream { .. } => return self.put("stream"),
        }
        self.put(">");
    }
}
