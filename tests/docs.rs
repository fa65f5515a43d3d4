//! What the documents say of names is what the code has.

use std::collections::BTreeSet;

use ukgpro_operator::api::{Reason, Verdict};
use ukgpro_operator::ukg::catalogue::Catalogue;

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
