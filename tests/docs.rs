//! What the documents say of names is what the code has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use ukg_pro::catalogue::Catalogue;
use ukgpro_operator::api::{Reason, Verdict};

fn document(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_runbook_has_one_section_for_each_reason() {
    let runbook = document("docs/runbook.md");
    let (runbook, _) = runbook.split_once("\n# The candidate\n").expect("its second part");
    let sections: Vec<_> = runbook.split("\n## ").skip(1).map(|section| section.split_once('\n').expect("a body")).collect();
    let headings: BTreeSet<_> = sections.iter().map(|(heading, _)| *heading).collect();
    assert_eq!(headings.len(), sections.len(), "a heading stands twice");
    assert_eq!(headings, Reason::ALL.iter().map(|reason| reason.as_str()).collect());
    for (heading, body) in sections {
        let body = body.replace('\n', " ");
        for part in ["**Meaning:**", "**The operator**", "**You**"] {
            assert!(body.contains(part), "{heading} lacks {part}");
        }
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == heading).expect("checked above");
        if *reason != Reason::Suspended {
            let state = reason.verdict().map_or("Unknown", Verdict::as_str);
            assert!(body.contains(&format!("State {state}.")), "{heading} is of state {state}");
        }
    }
}

#[test]
fn the_definition_names_every_profile() {
    let crd = serde_json::to_value(ukgpro_operator::api::crd()).expect("JSON");
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let description = spec["profiles"]["description"].as_str().expect("a description");
    for profile in Catalogue::built_in().profiles() {
        assert!(description.contains(&format!("`{}`", profile.name)), "{}", profile.name);
    }
}

#[test]
fn the_readme_names_every_permission_and_profile() {
    let readme = document("README.md");
    let catalogue = Catalogue::built_in();
    let rows = catalogue.rows().map(|row| row.name.clone());
    for name in rows.chain(catalogue.profiles().map(|profile| profile.name.clone())) {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}

/// A document's links, and the anchors of its headings as mdBook and GitHub make them.
fn links_and_anchors(text: &str) -> (Vec<String>, BTreeSet<String>) {
    let (mut links, mut anchors, mut seen) = (Vec::new(), BTreeSet::new(), BTreeMap::<String, usize>::new());
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => links.push(dest_url.into_string()),
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let text = heading.take().unwrap_or_default().to_lowercase();
                let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
                let times = seen.entry(anchor.clone()).or_default();
                anchors.insert(if *times == 0 { anchor } else { format!("{anchor}-{times}") });
                *times += 1;
            }
            _ => {}
        }
    }
    (links, anchors)
}

/// Every document of the repository that people read; what lies beside sources is put into one of them.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut open, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                open.push(path);
            } else if name.ends_with(".md")
                && !path.strip_prefix(root).expect("below").components().any(|part| part.as_os_str() == "src")
            {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 30, "{found:?}");
    found
}

#[test]
fn every_link_of_every_document_leads_somewhere() {
    for path in documents() {
        let (links, _) = links_and_anchors(&std::fs::read_to_string(&path).expect("text"));
        for link in links.iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { path.clone() } else { path.parent().expect("a directory").join(file) };
            assert!(target.exists(), "{}: {link}", path.display());
            if let Some(anchor) = anchor.filter(|_| target.extension().is_some_and(|extension| extension == "md")) {
                let (_, anchors) = links_and_anchors(&std::fs::read_to_string(&target).expect("text"));
                assert!(anchors.contains(anchor), "{}: {link}; there are {anchors:?}", path.display());
            }
        }
    }
}

/// Out of the book a link leads nowhere: its pages name files of the repository as code.
#[test]
fn every_page_is_in_the_book_and_links_within_it() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let (listed, _) = links_and_anchors(&document("docs/SUMMARY.md"));
    let listed: BTreeSet<_> = listed.iter().map(|link| book.join(link)).collect();
    for path in documents().into_iter().filter(|path| path.starts_with(&book) && !path.ends_with("SUMMARY.md")) {
        assert!(listed.contains(&path), "{} is not in SUMMARY.md", path.display());
        let (links, _) = links_and_anchors(&std::fs::read_to_string(&path).expect("text"));
        for link in links.iter().filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let target = path.parent().expect("a directory").join(link.split('#').next().expect("a path"));
            let target = target.canonicalize().unwrap_or_else(|error| panic!("{}: {link}: {error}", path.display()));
            assert!(target.starts_with(&book), "{} links out of the book: {link}", path.display());
        }
    }
}
