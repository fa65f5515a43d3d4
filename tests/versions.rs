//! Crate, chart, CRD and image are released together, so they have one version; and one compiler builds them.

use std::path::{Path, PathBuf};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const COMPILER: &str = env!("CARGO_PKG_RUST_VERSION");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What follows `key:` on a line of its own, without quotes.
fn field<'a>(yaml: &'a str, key: &str) -> Option<&'a str> {
    yaml.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(|value| value.trim().trim_matches('"'))
}

/// Every file below a directory that is part of the source.
fn files(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(directory)];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}

/// The tags that a text gives the project's images: what follows `ukgpro-operator:` or `ukgpro-simulator:` and is a version.
fn tags(text: &str) -> impl Iterator<Item = &str> {
    ["ukgpro-operator:", "ukgpro-simulator:"]
        .into_iter()
        .flat_map(|image| text.match_indices(image).map(|(at, _)| &text[at + image.len()..]))
        .filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        .map(|rest| rest.split(|c: char| !(c.is_ascii_alphanumeric() || ".-_+".contains(c))).next().unwrap_or(rest))
}

#[test]
fn tags_are_found_wherever_an_image_is_named() {
    let text = "image: \"ghcr.io/x/ukgpro-operator:1.2.3\"\n- ukgpro-simulator:1.2.4-rc.1\nukgpro-operator: 1\nukgpro-operator:latest 'ukgpro-operator:0.9'";
    assert_eq!(tags(text).collect::<Vec<_>>(), ["1.2.3", "0.9", "1.2.4-rc.1"]);
}

#[test]
fn the_chart_has_the_crates_version() {
    let chart = read("charts/ukgpro-operator/Chart.yaml");
    assert_eq!(field(&chart, "version"), Some(VERSION), "Chart.yaml's version");
    assert_eq!(field(&chart, "appVersion"), Some(VERSION), "Chart.yaml's appVersion");
}

#[test]
fn every_tag_of_an_image_is_the_crates_version() {
    let mut seen = 0;
    for directory in ["charts", "config", "crds", "docs", "examples"].into_iter().filter(|name| root().join(name).exists()) {
        for path in files(directory) {
            // The chart's unit tests have versions of their own, and what is no text names no image.
            if path.to_string_lossy().ends_with("_test.yaml") {
                continue;
            }
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            for tag in tags(&text) {
                assert_eq!(tag, VERSION, "{}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 0, "no image is named anywhere");
}

#[test]
fn a_version_on_the_crd_is_the_crates() {
    for text in [
        read("crds/ukgproconnections.ukgpro.dev.yaml"),
        read("charts/ukgpro-operator/files/crds/ukgproconnections.ukgpro.dev.yaml"),
    ] {
        let label = text.lines().find_map(|line| line.trim().strip_prefix("app.kubernetes.io/version: "));
        assert!(label.is_none_or(|version| version.trim_matches('"') == VERSION), "{label:?}");
    }
}

#[test]
fn one_compiler_is_named_wherever_one_is() {
    for (path, line) in [
        ("Dockerfile", format!("rust:{COMPILER}-bookworm")),
        (".github/workflows/release.yml", format!("RUST: \"{COMPILER}\"")),
        ("README.md", format!("Rust {COMPILER}")),
    ] {
        assert!(read(path).contains(&line), "{path} names another compiler than Rust {COMPILER}");
    }
}
