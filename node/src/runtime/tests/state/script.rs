//! A guest that does one thing after the other with what its function keeps, and answers with what came of each: written in WAT.

mod template;

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use self::template::{CAS, FIRST_PAGES, SECOND_PAGES, TEMPLATE};
use super::super::fixture::guest;

/// Where the texts of a script are in the guest's memory.
const TEXTS: usize = 2 << 16;

/// Which interface it is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draft {
    First,
    Second,
}

impl Draft {
    pub(super) const ALL: [Self; 2] = [Self::First, Self::Second];

    const fn version(self) -> &'static str {
        match self {
            Self::First => "0.2.0-draft",
            Self::Second => "0.2.0-draft2",
        }
    }

    const fn wit(self) -> &'static str {
        match self {
            Self::First => include_str!("../../../../wit/keyvalue-draft.wit"),
            Self::Second => include_str!("../../../../wit/keyvalue-draft2.wit"),
        }
    }
}

/// What it does. Each step tells a word and a space.
pub(super) struct Script {
    draft: Draft,
    texts: Vec<u8>,
    steps: String,
    /// When its answer has ended.
    after: String,
}

impl Script {
    pub(super) fn of(draft: Draft) -> Self {
        Self { draft, texts: Vec::new(), steps: String::new(), after: String::new() }
    }

    /// Of the second draft, with the bucket `b` open.
    pub(super) fn begun() -> Self {
        Self::of(Draft::Second).open("b")
    }

    fn text(&mut self, text: &str) -> String {
        let at = TEXTS + self.texts.len();
        self.texts.extend(text.as_bytes());
        format!("(i32.const {at}) (i32.const {})", text.len())
    }

    /// A list of texts in the guest's memory: `each` of them are one element.
    fn list(&mut self, texts: &[&str], each: usize) -> String {
        let mut elements = Vec::new();
        for text in texts {
            let at = TEXTS + self.texts.len();
            self.texts.extend(text.as_bytes());
            elements.extend(u32::try_from(at).unwrap().to_le_bytes());
            elements.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        }
        self.texts.resize(self.texts.len().next_multiple_of(4), 0);
        let at = TEXTS + self.texts.len();
        self.texts.extend(elements);
        format!("(i32.const {at}) (i32.const {})", texts.len() / each)
    }

    fn step(mut self, step: &str) -> Self {
        writeln!(self.steps, "{step}").unwrap();
        self
    }

    /// Opens a bucket; what comes then is done with it.
    pub(super) fn open(mut self, bucket: &str) -> Self {
        let name = self.text(bucket);
        self.step(&format!("(call $open {name} (i32.const 64)) (call $opened)"))
    }

    /// Lets go of the bucket.
    pub(super) fn close(self) -> Self {
        self.step("(call $close (global.get $bucket))")
    }

    pub(super) fn get(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!("(call $get (global.get $bucket) {key} (i32.const 64)) (call $value)"))
    }

    /// Reads a value, and tells only whether it could.
    pub(super) fn read(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!("(call $get (global.get $bucket) {key} (i32.const 64)) (call $done)"))
    }

    pub(super) fn set(mut self, key: &str, value: &str) -> Self {
        let (key, value) = (self.text(key), self.text(value));
        self.step(&format!("(call $set (global.get $bucket) {key} {value} (i32.const 64)) (call $done)"))
    }

    /// Sets a value of so many zero bytes.
    pub(super) fn set_zeros(mut self, key: &str, bytes: usize) -> Self {
        let key = self.text(key);
        let value = format!("(i32.const {}) (i32.const {bytes})", 1 << 20);
        self.step(&format!("(call $set (global.get $bucket) {key} {value} (i32.const 64)) (call $done)"))
    }

    pub(super) fn delete(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!("(call $delete (global.get $bucket) {key} (i32.const 64)) (call $done)"))
    }

    pub(super) fn exists(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!("(call $exists (global.get $bucket) {key} (i32.const 64)) (call $flag)"))
    }

    /// All keys, page by page.
    pub(super) fn keys(self) -> Self {
        self.step("(call $keys)")
    }

    /// A page behind a cursor that nobody has told.
    pub(super) fn keys_behind_nothing(self) -> Self {
        let cursor = match self.draft {
            Draft::First => "(i64.const 77)",
            Draft::Second => "(i32.const 1024) (i32.const 1)",
        };
        self.step(&format!(
            "(call $list (global.get $bucket) (i32.const 1) {cursor} (i32.const 64)) (call $done_at_8)"
        ))
    }

    pub(super) fn increment(mut self, key: &str, by: i64) -> Self {
        let key = self.text(key);
        self.step(&format!(
            "(call $increment (global.get $bucket) {key} (i64.const {by}) (i32.const 64)) (call $number)"
        ))
    }

    pub(super) fn get_many(mut self, keys: &[&str]) -> Self {
        let keys = self.list(keys, 1);
        self.step(&format!("(call $get_many (global.get $bucket) {keys} (i32.const 64)) (call $values)"))
    }

    /// Keys and values in turn.
    pub(super) fn set_many(mut self, pairs: &[&str]) -> Self {
        let pairs = self.list(pairs, 2);
        self.step(&format!("(call $set_many (global.get $bucket) {pairs} (i32.const 64)) (call $done)"))
    }

    pub(super) fn delete_many(mut self, keys: &[&str]) -> Self {
        let keys = self.list(keys, 1);
        self.step(&format!("(call $delete_many (global.get $bucket) {keys} (i32.const 64)) (call $done)"))
    }

    /// A handle to swap a value by; what comes then is done with it.
    pub(super) fn cas(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!("(call $cas (global.get $bucket) {key} (i32.const 64)) (call $handled)"))
    }

    pub(super) fn current(self) -> Self {
        self.step("(call $current (global.get $swapping) (i32.const 64)) (call $value)")
    }

    pub(super) fn swap(mut self, value: &str) -> Self {
        let value = self.text(value);
        self.step(&format!("(call $swap (global.get $swapping) {value} (i32.const 64)) (call $swapped)"))
    }

    pub(super) fn publish(mut self, to: &str, data: &str, reply_to: Option<&str>) -> Self {
        let (to, data) = (self.text(to), self.text(data));
        let reply = self.text(reply_to.unwrap_or_default());
        let some = i32::from(reply_to.is_some());
        self.step(&format!(
            "(call $publish {to} {data} (i32.const {some}) {reply} (i32.const 64)) (call $said)"
        ))
    }

    pub(super) fn request(mut self, to: &str) -> Self {
        let to = self.text(to);
        self.step(&format!("(call $request {to} {to} (i32.const 1) (i32.const 64)) (call $said)"))
    }

    /// Ends where no guest may.
    pub(super) fn trap(self) -> Self {
        self.step("(unreachable)")
    }

    /// Does something as often as is said.
    pub(super) fn times(self, times: usize, what: impl FnOnce(Self) -> Self) -> Self {
        self.inside(what, |steps| {
            format!(
                "(local.set $n (i32.const {times}))
                 (loop $again (global.set $free (i32.const 4194304)) {steps}
                   (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                   (br_if $again (i32.gt_s (local.get $n) (i32.const 0))))"
            )
        })
    }

    /// Does something in the instance's first call only.
    pub(super) fn once(self, what: impl FnOnce(Self) -> Self) -> Self {
        self.inside(what, |steps| {
            format!("(if (i32.eqz (global.get $called)) (then (global.set $called (i32.const 1)) {steps}))")
        })
    }

    /// Does something when its answer has ended.
    pub(super) fn after(mut self, what: impl FnOnce(Self) -> Self) -> Self {
        let before = std::mem::take(&mut self.steps);
        let mut all = what(self);
        all.after = std::mem::replace(&mut all.steps, before);
        all
    }

    fn inside(mut self, what: impl FnOnce(Self) -> Self, around: impl FnOnce(String) -> String) -> Self {
        let before = std::mem::take(&mut self.steps);
        let mut inner = what(self);
        let steps = std::mem::replace(&mut inner.steps, before);
        inner.step(&around(steps))
    }

    /// Forgets what was told so far: it would be too much.
    pub(super) fn quietly(self) -> Self {
        self.step("(global.set $out (i32.const 16384))")
    }

    /// The component.
    pub(super) fn built(self) -> Vec<u8> {
        let texts: String = self.texts.iter().fold(String::new(), |mut all, byte| {
            write!(all, "\\{byte:02x}").unwrap();
            all
        });
        let (cursor, more, cas) = match self.draft {
            Draft::First => ("i64", FIRST_PAGES, ""),
            Draft::Second => ("i32 i32", SECOND_PAGES, CAS),
        };
        let text = TEMPLATE
            .replace(";; CAS", cas)
            .replace(";; PAGES", more)
            .replace("CURSOR", cursor)
            .replace("VERSION", self.draft.version())
            .replace("TEXTS", &texts)
            .replace(";; STEPS", &self.steps)
            .replace(";; AFTER", &self.after);
        let mut module = wat::parse_str(text).unwrap();
        // This component's world has what it needs of WASI.
        let DecodedWasm::Component(resolve, world) =
            wit_component::decode(&guest("rust-http-wasip1.component.wasm")).unwrap()
        else {
            panic!("a component");
        };
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        for (name, wit) in [
            ("keyvalue.wit", self.draft.wit()),
            ("messaging.wit", include_str!("../../../../wit/messaging.wit")),
        ] {
            let mut resolve = Resolve::default();
            let package = resolve.push_source(name, wit).unwrap();
            let world = resolve.select_world(&[package], Some("imports")).unwrap();
            embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        }
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }
}
