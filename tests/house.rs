//! The layout of the sources: rooms import one way, files are of a readable length.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// From the top down: each may import those after it.
const ROOMS: [&str; 8] = ["cli", "operator", "controller", "schedule", "login_guard", "telemetry", "cluster", "api"];
/// Lines of a file, its tests not counted.
const LINES_MAX: usize = 450;

/// A source file without its tests: its path below `src`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Its path as a module's.
    fn module(&self) -> Vec<String> {
        self.path.trim_end_matches(".rs").split('/').map(str::to_owned).collect()
    }
}

fn sources(directory: &str) -> Vec<Source> {
    let root = Path::new(ROOT).join(directory);
    let (mut open, mut found) = (vec![root.clone()], Vec::new());
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("a directory") {
            let path: PathBuf = entry.expect("an entry").path();
            let below = path.strip_prefix(&root).expect("below").display().to_string();
            if path.is_dir() {
                open.push(path);
            } else if below.ends_with(".rs") && !below.split('/').any(|part| part == "tests" || part == "tests.rs") {
                let text = fs::read_to_string(&path).expect("text");
                let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
                found.push(Source { path: below, text: text[..end].to_owned() });
            }
        }
    }
    assert!(found.len() > 5, "{directory}");
    found
}

/// The paths that a file names by `crate::` or `super::`, from the crate's root on. Of a list in braces each.
fn named(source: &Source) -> BTreeSet<Vec<String>> {
    let module = source.module();
    let code = source.text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for word in ["crate::", "super::"] {
        for (at, _) in code.match_indices(word) {
            if code[..at].ends_with("super::") {
                continue;
            }
            let mut rest = &code[at..];
            let mut base = module.clone();
            if let Some(path) = rest.strip_prefix("crate::") {
                (base, rest) = (Vec::new(), path);
            }
            while let Some(path) = rest.strip_prefix("super::") {
                base.pop();
                rest = path;
            }
            let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            let end = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
            let parts = |path: &str| path.split("::").map(str::to_owned).filter(|part| !part.is_empty()).collect::<Vec<_>>();
            let path = [base, parts(&rest[..end])].concat();
            if let Some(list) = rest[end..].strip_prefix('{') {
                for item in list[..list.find('}').unwrap_or(list.len())].split(',') {
                    let item = item.trim();
                    let end = item.find(|c| !is_path(c)).unwrap_or(item.len());
                    found.insert([path.clone(), parts(&item[..end])].concat());
                }
            } else {
                found.insert(path);
            }
        }
    }
    found
}

fn room(path: &str) -> &str {
    path.split(['/', '.']).next().expect("a name")
}

#[test]
fn each_room_imports_only_rooms_below_it() {
    for source in sources("src") {
        let path = &source.path;
        let Some(own) = ROOMS.iter().position(|name| *name == room(path)) else {
            assert!(["main.rs", "lib.rs"].contains(&path.as_str()), "{path} is in no room");
            continue;
        };
        for target in named(&source).iter().filter(|target| !target.is_empty()) {
            let other = ROOMS.iter().position(|name| *name == target[0]);
            let other = other.unwrap_or_else(|| panic!("{path} names crate::{}, which is no room", target.join("::")));
            assert!(other >= own, "{path} imports crate::{}, which is above it", target.join("::"));
        }
    }
}

/// Within a room, the files that a file names by `crate::` or `super::` come to no circle, but for a file and its own parts.
#[test]
fn files_of_a_room_import_one_another_in_no_circle() {
    for directory in ["src", "crates/ukg-pro/src", "crates/ukgpro-simulator/src"] {
        let sources = sources(directory);
        let modules: BTreeMap<String, &Source> = sources
            .iter()
            .map(|source| (source.path.trim_end_matches(".rs").replace('/', "::"), source))
            .filter(|(module, _)| module != "lib" && module != "main")
            .collect();
        let mut imports = BTreeMap::<String, BTreeSet<String>>::new();
        for (module, source) in &modules {
            let targets = named(source).into_iter().filter_map(|path| longest(&modules, &path));
            imports.entry(module.clone()).or_default().extend(targets);
        }
        for (module, targets) in &mut imports {
            // A file and its parts are one.
            targets.retain(|target| !is_part(module, target) && !is_part(target, module));
        }
        if let Some(circle) = circle(&imports) {
            panic!("{directory}: {}", circle.join(" → "));
        }
    }
}

fn is_part(one: &str, other: &str) -> bool {
    one == other || one.strip_prefix(other).is_some_and(|rest| rest.starts_with("::"))
}

/// The module that a path leads into.
fn longest(modules: &BTreeMap<String, &Source>, path: &[String]) -> Option<String> {
    (1..=path.len()).rev().map(|length| path[..length].join("::")).find(|module| modules.contains_key(module))
}

fn circle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit(
        module: &str,
        imports: &BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        if let Some(at) = way.iter().position(|before| before == module) {
            return Some([&way[at..], &[module.to_owned()]].concat());
        }
        if !done.insert(module.to_owned()) {
            return None;
        }
        way.push(module.to_owned());
        let found = imports.get(module).into_iter().flatten().find_map(|next| visit(next, imports, way, done));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| visit(module, imports, &mut Vec::new(), &mut done))
}

#[test]
fn no_file_is_longer_than_can_be_read_at_once() {
    for directory in ["src", "crates/ukg-pro/src", "crates/ukgpro-simulator/src"] {
        let long: Vec<_> = sources(directory)
            .into_iter()
            .map(|source| (source.text.lines().count(), source.path))
            .filter(|(lines, _)| *lines > LINES_MAX)
            .collect();
        assert!(long.is_empty(), "{directory}: {long:?}");
    }
}

/// By the compiler too, as far as their Cargo.toml says so.
#[test]
fn the_client_knows_no_kubernetes_and_the_simulator_knows_no_client() {
    let read = |path: &str| fs::read_to_string(Path::new(ROOT).join(path)).expect("a manifest");
    let client = read("crates/ukg-pro/Cargo.toml");
    assert!(!client.contains("kube") && !client.contains("k8s-openapi"), "{client}");
    let simulator = read("crates/ukgpro-simulator/Cargo.toml");
    assert!(!simulator.contains("ukg-pro"), "{simulator}");
}
