//! The rendered chart: lint, unit tests of the templates, every flag and value, and its documentation.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::helm::{CHART, MATRIX, objects, output, template, tool};
use crate::support::operator::OPERATOR;

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn helm_finds_no_fault_with_any_values() {
    for values in MATRIX {
        let (done, said) = output(tool("helm").args(["lint", "--strict", CHART]).args(values));
        assert!(done, "{values:?}: {said}");
    }
}

#[test]
fn the_unit_tests_of_the_templates_pass() {
    let (done, said) = output(tool("helm-unittest").args(["--strict", CHART]));
    assert!(done, "{said}");
}

/// The paths of all values, but not what is below one that is the user's own.
fn paths(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                paths(member, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, all);
            }
        }
        _ => drop(all.insert(path.to_owned())),
    }
}

/// What a unit test sets: `a.b: 1` and `a: {b: 1}` are the same.
fn set(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    if !path.is_empty() {
        all.insert(path.to_owned());
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        set(member, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, all);
    }
}

#[test]
fn every_value_has_a_unit_test_that_sets_it() {
    let mut values = BTreeSet::new();
    paths(&serde_saphyr::from_str(&file("charts/ukgpro-operator/values.yaml")).expect("YAML"), "", &mut values);
    assert!(values.len() > 60, "{values:?}");
    let mut tested = BTreeSet::new();
    // Beside the suites there is a directory that helm-unittest makes.
    let suites = std::fs::read_dir(format!("{CHART}/tests")).expect("suites").map(|suite| suite.expect("a suite").path());
    for suite in suites.filter(|path| path.is_file()) {
        let suite = std::fs::read_to_string(suite).expect("text");
        let suite: Value = serde_saphyr::from_str(&suite).expect("YAML");
        for test in suite["tests"].as_array().expect("tests") {
            set(&test["set"], "", &mut tested);
        }
    }
    let untested: Vec<_> = values.difference(&tested).collect();
    assert!(untested.is_empty(), "no unit test sets {untested:?}");
}

#[test]
fn every_flag_of_the_operator_has_its_place_in_the_chart() {
    let help = Command::new(OPERATOR).args(["run", "--help"]).output().expect("the operator runs");
    let help = String::from_utf8(help.stdout).expect("text");
    let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let flags: Vec<_> = flags.map(|flag| flag.split([' ', '<']).next().expect("a name")).collect();
    assert!(flags.len() > 20, "{flags:?}");
    let templates =
        ["deployment.yaml", "_operator.tpl"].map(|name| file(&format!("charts/ukgpro-operator/templates/{name}"))).concat();
    for flag in flags {
        let variable = format!("UKGPRO_{}", flag.to_uppercase().replace('-', "_"));
        assert!(templates.contains(&format!("--{flag}")) || templates.contains(&variable), "the chart does not give --{flag}");
    }
}

#[test]
fn the_readme_of_the_chart_is_the_generated_one() {
    let readme = format!("{CHART}/README.md");
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("ukgpro-operator");
    let (copied, said) = output(Command::new("cp").args(["-R", CHART]).arg(&copy));
    assert!(copied, "{said}");
    let flags = ["--sort-values-order", "file", "--log-level", "warning", "--chart-search-root"];
    let (done, said) = output(tool("helm-docs").args(flags).arg(directory.path()));
    assert!(done, "{said}");
    let generated = std::fs::read_to_string(copy.join("README.md")).expect("a README");
    let committed = std::fs::read_to_string(readme).expect("a README");
    assert!(generated == committed, "charts/ukgpro-operator/README.md has drifted from values.yaml; run `make chart-docs`");
    assert!(!generated.contains("| `` |") && !generated.contains("|  |"), "a value without a description");
}

#[test]
fn the_crd_in_the_chart_is_the_one_in_crds() {
    let name = "ukgproconnections.ukgpro.dev.yaml";
    let same = file(&format!("crds/{name}")) == file(&format!("charts/ukgpro-operator/files/crds/{name}"));
    assert!(same, "run `make crd` and commit the result");
}

#[test]
fn nothing_is_rendered_by_chance_and_every_object_says_where_it_belongs() {
    for values in MATRIX {
        let rendered = template(values);
        assert_eq!(rendered, template(values), "{values:?}");
        for object in objects(&rendered) {
            let labels = &object["metadata"]["labels"];
            assert_eq!(labels["app.kubernetes.io/instance"], "ukgpro-operator", "{values:?} {object}");
        }
    }
}

#[test]
fn with_some_namespaces_the_operator_has_no_right_beyond_them() {
    let rendered = objects(&template(&["--set=watchNamespaces={hr,payroll}"]));
    let kinds: BTreeSet<_> = rendered.iter().filter_map(|object| object["kind"].as_str()).collect();
    assert!(kinds.contains("RoleBinding") && !kinds.iter().any(|kind| kind.starts_with("ClusterRole")), "{kinds:?}");
}
