//! Goal: the modules of the runtime import one another without circles, so that each can be read before those that use it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by their paths, such as `runtime::call::watch`, with their sources.
fn modules() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::from([("runtime".to_owned(), source(&root.join("runtime.rs")))]);
    let mut folders = vec![root.join("runtime")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.file_stem().is_some_and(|name| name == "tests");
            if path.is_dir() && !is_test {
                folders.push(path);
            } else if path.is_file() && !is_test {
                let name: PathBuf = path.strip_prefix(&root).unwrap().with_extension("");
                let name: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
                found.insert(name.join("::"), source(&path));
            }
        }
    }
    found
}

/// Without its inline tests, which may use what is above their module.
fn source(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let end = text.find("mod tests {").unwrap_or(text.len());
    text[..end].to_owned()
}

/// The paths that a source imports, from the crate's root on.
fn imports(module: &str, source: &str) -> Vec<String> {
    let statements = source.split("\n").collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for statement in statements.split("use ").skip(1) {
        let tree = statement.split(';').next().unwrap();
        let mut at: Vec<&str> = module.split("::").collect();
        let mut rest = tree.trim();
        match rest.split("::").next().unwrap() {
            "crate" => at.clear(),
            "self" => {}
            "super" => {
                at.pop();
            }
            _ => continue,
        }
        rest = rest.split_once("::").unwrap().1;
        while let Some(above) = rest.strip_prefix("super::") {
            at.pop();
            rest = above;
        }
        let base: String = at.iter().map(|part| format!("{part}::")).collect();
        expand(&base, rest, &mut found);
    }
    found
}

/// Each path of a tree such as `a::{b, c::{d, e}}`.
fn expand(base: &str, tree: &str, found: &mut Vec<String>) {
    let Some((head, inner)) = tree.split_once('{') else {
        found.push(format!("{base}{}", tree.split(" as ").next().unwrap().trim()));
        return;
    };
    let inner = inner.trim_end().strip_suffix('}').unwrap();
    let (mut depth, mut begun) = (0, 0);
    for (place, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inner[begun..place].trim();
                if !part.is_empty() {
                    expand(&format!("{base}{}", head.trim()), part, found);
                }
                begun = place + 1;
            }
            _ => {}
        }
    }
}

/// The module that an imported path is of.
fn owner<'a>(path: &str, modules: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let mut path = path;
    loop {
        if let Some((name, _)) = modules.get_key_value(path) {
            return Some(name);
        }
        path = path.rsplit_once("::")?.0;
    }
}

/// A circle that can be reached from a module, if there is one.
fn circle<'a>(
    from: &'a str,
    edges: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    way: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    if let Some(at) = way.iter().position(|known| *known == from) {
        return Some(way[at..].to_vec());
    }
    if !done.insert(from) {
        return None;
    }
    way.push(from);
    let found = edges.get(from).into_iter().flatten().find_map(|to| circle(to, edges, way, done));
    way.pop();
    found
}

fn edges(modules: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let of = |(name, source): (&'_ String, &String)| {
        let paths = imports(name, source);
        paths.iter().filter_map(|path| owner(path, modules)).filter(|it| it != name).collect()
    };
    modules.iter().map(|module| (module.0.as_str(), of(module))).collect()
}

#[test]
fn imports_make_no_circle() {
    let modules = modules();
    let edges = edges(&modules);
    let count: usize = edges.values().map(BTreeSet::len).sum();
    println!("{} modules, {count} imports", modules.len());
    assert!(modules.len() > 30 && count > 60, "the test looks in the wrong place");
    let mut done = BTreeSet::new();
    let found = modules.keys().find_map(|from| circle(from, &edges, &mut Vec::new(), &mut done));
    assert_eq!(found, None);
}

#[test]
fn a_circle_is_found() {
    let planted = [
        ("runtime", "pub use self::a::A;"),
        ("runtime::a", "use super::b::{self, c::{C, D}};"),
        ("runtime::b", "use std::fmt;"),
        ("runtime::b::c", "use crate::runtime::a::A as B;"),
    ];
    let modules = planted.map(|(name, source)| (name.to_owned(), source.to_owned())).into();
    let edges = edges(&modules);
    assert_eq!(edges["runtime::a"], BTreeSet::from(["runtime::b", "runtime::b::c"]));
    let found = circle("runtime", &edges, &mut Vec::new(), &mut BTreeSet::new());
    assert_eq!(found, Some(vec!["runtime::a", "runtime::b::c"]));
}
