//! Imports go down the layers that `src/lib.rs` draws, and no two modules of a room import each other, on whatever detour.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{shipped, text};

/// A module's path below the crate, for example `["sync", "reader"]`; the crate itself is the empty one.
type Module = Vec<String>;

/// The modules of the crate, and what each of them imports.
struct Imports(BTreeMap<Module, BTreeSet<Module>>);

impl Imports {
    fn read() -> Self {
        let mut sources = BTreeMap::new();
        collect(&shipped("src"), &mut Vec::new(), &mut sources);
        let modules: BTreeSet<Module> = sources.keys().cloned().collect();
        let imports = sources.into_iter().map(|(module, source)| {
            let named = paths(&source).into_iter().map(|path| resolved(&modules, &module, &path));
            let imported: BTreeSet<Module> = named.filter(|imported| *imported != module && !imported.is_empty()).collect();
            (module, imported)
        });
        Self(imports.collect())
    }

    /// Which modules directly in a room import which of their siblings, for themselves or for what is in them.
    fn within(&self, room: &[String]) -> BTreeMap<String, BTreeSet<String>> {
        let sibling = |module: &Module| module.starts_with(room).then(|| module.get(room.len()).cloned()).flatten();
        let mut siblings: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, imported) in &self.0 {
            let Some(importer) = sibling(module) else { continue };
            let others = imported.iter().filter_map(sibling).filter(|other| *other != importer).collect::<Vec<_>>();
            siblings.entry(importer).or_default().extend(others);
        }
        siblings
    }

    fn rooms(&self) -> BTreeSet<Module> {
        self.0.keys().filter_map(|module| module.split_last()).map(|(_, room)| room.to_vec()).collect()
    }
}

/// Files of tests belong to no layer.
fn is_of_tests(name: &str) -> bool {
    name == "tests.rs" || name.ends_with("_tests.rs") || name == "main.rs"
}

fn collect(directory: &Path, room: &mut Module, sources: &mut BTreeMap<Module, String>) {
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            room.push(name);
            collect(&entry.path(), room, sources);
            room.pop();
            continue;
        }
        let Some(stem) = name.strip_suffix(".rs").filter(|_| !is_of_tests(&name)) else { continue };
        let own = (!["mod", "lib"].contains(&stem)).then(|| stem.to_owned());
        let module = room.iter().cloned().chain(own).collect();
        sources.insert(module, without_tests(&std::fs::read_to_string(entry.path()).unwrap()));
    }
}

/// Code without comments and without its test module, which stands last.
fn without_tests(source: &str) -> String {
    let code = source.split("#[cfg(test)]\n#[allow").next().unwrap_or_default();
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// All paths that begin with `crate` or `super`, with the groups of `use` taken apart.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (place, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let before = code[..place].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            continue;
        }
        expand(&code[place..], &mut Vec::new(), &mut found);
    }
    found
}

/// Reads one path, or the group of paths that it branches into; returns what follows it.
fn expand<'c>(code: &'c str, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'c str {
    let depth = before.len();
    let mut rest = code.trim_start();
    loop {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end > 0 {
            before.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(next) if next.trim_start().starts_with('{') => {
                rest = next.trim_start();
                while rest.starts_with(['{', ',']) {
                    rest = rest[1..].trim_start();
                    if !rest.starts_with('}') {
                        rest = expand(rest, before, found).trim_start();
                    }
                }
                rest = rest.strip_prefix('}').unwrap_or(rest);
                break;
            }
            Some(next) => rest = next,
            None => {
                found.push(before.clone());
                break;
            }
        }
    }
    before.truncate(depth);
    rest
}

/// The module that a path leads into.
fn resolved(modules: &BTreeSet<Module>, from: &Module, path: &[String]) -> Module {
    let mut module = if path[0] == "crate" { Module::new() } else { from.clone() };
    let mut rest = path.iter().skip(usize::from(path[0] == "crate")).peekable();
    while rest.next_if(|name| *name == "super").is_some() {
        module.pop();
    }
    for name in rest {
        let inner: Module = module.iter().chain([name]).cloned().collect();
        if !modules.contains(&inner) && !modules.iter().any(|module| module.starts_with(&inner)) {
            break;
        }
        module = inner;
    }
    module
}

/// The layers that the documentation of the crate draws, the lowest first.
fn drawn() -> Vec<String> {
    let library = text("src/lib.rs");
    let drawing = library.split("//! # The layers").nth(1).and_then(|rest| rest.split("//! ```").nth(1)).unwrap();
    let mut layers: Vec<String> =
        drawing.split(|c: char| !c.is_alphanumeric()).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    layers.retain(|name| name != "text");
    layers.reverse();
    layers
}

/// A way from a module back to itself.
fn circle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    imports.keys().find_map(|start| {
        let mut ways = vec![vec![start.clone()]];
        let mut met = BTreeSet::new();
        while let Some(way) = ways.pop() {
            for next in imports.get(way.last()?).into_iter().flatten() {
                let longer: Vec<String> = way.iter().cloned().chain([next.clone()]).collect();
                if next == start {
                    return Some(longer);
                }
                if met.insert(next.clone()) {
                    ways.push(longer);
                }
            }
        }
        None
    })
}

#[test]
fn imports_go_down_the_layers_that_are_drawn() {
    let layers = drawn();
    let imports = Imports::read().within(&[]);
    let known: BTreeSet<&String> = layers.iter().collect();
    assert_eq!(known, imports.keys().collect(), "the drawing in src/lib.rs shows every module");
    let height = |name: &String| layers.iter().position(|layer| layer == name);
    let up: Vec<String> = imports
        .iter()
        .flat_map(|(module, imported)| imported.iter().map(move |other| (module, other)))
        .filter(|(module, other)| height(other) > height(module))
        .map(|(module, other)| format!("{module} -> {other}"))
        .collect();
    assert!(up.is_empty(), "arrows that run up: {up:?}");
}

#[test]
fn no_modules_of_a_room_go_in_a_circle() {
    let imports = Imports::read();
    let circles: BTreeMap<String, Vec<String>> =
        imports.rooms().into_iter().filter_map(|room| Some((room.join("::"), circle(&imports.within(&room))?))).collect();
    assert!(circles.is_empty(), "{circles:?}");
}

#[test]
fn groups_of_imports_are_taken_apart() {
    let found = |code: &str| paths(code).into_iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(
        found("use crate::a::{B, c::{D, E}};\nuse super::f;\nlet x = crate::g::h(1);"),
        ["crate::a::B", "crate::a::c::D", "crate::a::c::E", "crate::g::h", "super::f"]
    );
    let modules: BTreeSet<Module> =
        [vec!["a"], vec!["a", "c"], vec!["f"]].into_iter().map(|path| path.into_iter().map(str::to_owned).collect()).collect();
    let leads = |from: &str, path: &str| {
        resolved(&modules, &vec![from.to_owned()], &path.split("::").map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(
        (leads("f", "crate::a::c::D"), leads("f", "super::a::B")),
        (vec!["a".to_owned(), "c".to_owned()], vec!["a".to_owned()])
    );
    let ways =
        BTreeMap::from([("a".to_owned(), BTreeSet::from(["b".to_owned()])), ("b".to_owned(), BTreeSet::from(["a".to_owned()]))]);
    assert_eq!(circle(&ways).unwrap(), ["a", "b", "a"]);
}
