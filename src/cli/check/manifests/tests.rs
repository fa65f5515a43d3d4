use super::*;

const CONNECTION: &str = "
apiVersion: ukgpro.dev/v1alpha1
kind: UkgProConnection
metadata: {name: acme, namespace: hr}
spec: {secretRef: {name: acme-ukg-pro}, subdomain: service4, domain: ultipro.com}
status: {state: Unauthorized, conditions: []}
";
const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: acme-ukg-pro}
data: {username: c3ZjLWFjbWU=, password: b2xk}
stringData:
  password: |-
    ---p
    w'0'
";

fn collected(texts: &[&str]) -> Result<CheckInput, BadInput> {
    let sources: Vec<_> = texts.iter().enumerate().map(|(n, text)| Source::new(&format!("{n}.yaml"), text)).collect();
    collect(&sources, None)
}

fn refused(texts: &[&str]) -> String {
    match collected(texts) {
        Ok(_) => panic!("taken: {texts:?}"),
        Err(error) => error.to_string(),
    }
}

fn value(input: &CheckInput, key: &str) -> String {
    let values = &input.references.secret.as_ref().expect("a Secret").values;
    String::from_utf8(values[key].as_ref().expect("not too long").to_vec()).expect("text")
}

#[test]
fn a_connection_is_found_with_its_secret_in_one_file_or_several() {
    for texts in [
        vec![CONNECTION, SECRET],
        vec![SECRET, CONNECTION],
        vec![&format!("# A comment\n---\n{SECRET}\n--- # another\n{CONNECTION}\n---\n")],
        vec![&format!("\u{feff}---{CONNECTION}---\r\n{SECRET}")],
    ] {
        let found = collected(&texts).unwrap_or_else(|error| panic!("{error}: {texts:?}"));
        assert_eq!(found.connection.metadata.name.as_deref(), Some("acme"));
        assert_eq!(found.connection.status, None, "a check does not hold on to what was found before");
        assert_eq!(found.connection.spec.interval(), std::time::Duration::from_secs(600));
        assert_eq!(value(&found, "username"), "svc-acme");
        assert_eq!(value(&found, "password"), "---p\nw'0'", "stringData wins");
        assert_eq!(found.notes, [""; 0]);
    }
}

#[test]
fn a_connection_is_chosen_by_name_where_there_are_several() {
    let other = CONNECTION.replace("name: acme,", "name: globex,");
    let sources = [Source::new("a", CONNECTION), Source::new("b", &other), Source::new("c", SECRET)];
    let found = |name| collect(&sources, name).map(|found| found.connection.metadata.name);
    assert_eq!(found(Some("globex")), Ok(Some("globex".to_owned())));
    assert_eq!(found(None), Err(BadInput::ManyConnections(vec!["acme".to_owned(), "globex".to_owned()])));
    assert_eq!(found(Some("x")).expect_err("none").to_string(), "the files contain no UkgProConnection named x");
    assert_eq!(refused(&[SECRET]), "the files contain no UkgProConnection");
}

#[test]
fn a_bundle_comes_from_a_config_map_or_a_secret() {
    let with = |ca: &str| CONNECTION.replace("domain: ultipro.com}", &format!("caRef: {ca}}}"));
    let map =
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: ca, namespace: hr}, data: {ca.crt: PEM}, binaryData: {b: UEVN}}";
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: ca}, stringData: {ca.crt: SECRET}}";
    let bundle = |ca: &str| collected(&[&with(ca), SECRET, map, secret]).expect("taken").references.bundle.expect("asked for");
    assert_eq!(bundle("{name: ca}").as_deref(), Ok(&b"PEM".to_vec()));
    assert_eq!(bundle("{name: ca, key: b}").as_deref(), Ok(&b"PEM".to_vec()));
    assert_eq!(bundle("{name: ca, kind: Secret}").as_deref(), Ok(&b"SECRET".to_vec()));
    assert_eq!(bundle("{name: ca, key: other}"), Err(CaFlaw::KeyMissing));
    // One Secret may hold both.
    assert_eq!(bundle("{name: acme-ukg-pro, kind: Secret, key: username}").as_deref(), Ok(&b"svc-acme".to_vec()));
    let missing = refused(&[&with("{name: ca}"), SECRET]);
    assert_eq!(missing, "the files contain no ConfigMap ca, and spec.caRef of the connection refers to it");
}

#[test]
fn what_has_no_part_in_a_check_is_noted_and_left() {
    let other = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: zq}, data: [1]}";
    let found = collected(&[&format!("{CONNECTION}---{SECRET}---\n\n---\n{other}")]).expect("taken");
    assert_eq!(
        found.notes,
        ["0.yaml, document 3 (line 18): ignored, because it is not a UkgProConnection, Secret or ConfigMap"]
    );
}

#[test]
fn a_mistake_is_told_by_its_place_and_never_by_what_stands_there() {
    let elsewhere = SECRET.replace("name: acme-ukg-pro", "name: acme-ukg-pro, namespace: zq-other");
    for (what, texts, said) in [
        (
            "no Secret",
            vec![CONNECTION],
            "the files contain no Secret acme-ukg-pro, and spec.secretRef of the connection refers to it",
        ),
        ("a Secret of another namespace", vec![CONNECTION, &elsewhere], "the files contain no Secret"),
        ("two of a name", vec![CONNECTION, SECRET, SECRET], "the files contain Secret acme-ukg-pro more than once"),
        ("not YAML", vec![CONNECTION, "a: [zq-canary\n"], "1.yaml, document 1 (line"),
        ("not a manifest", vec![CONNECTION, "zq-canary"], "1.yaml, document 1 (line 1): it is not a manifest"),
        (
            "a number",
            vec![&format!("{CONNECTION}---\n{}", SECRET.replace("password: |-\n    ---p\n    w'0'", "password: 7319"))],
            "0.yaml, document 2 (line 14): it is not a Secret that Kubernetes accepts; a value that is not text must be quoted",
        ),
        (
            "not base64",
            vec![CONNECTION, &SECRET.replace("b2xk", "zq-canary!")],
            "data.password is not base64; write plain text",
        ),
        (
            "not base64, of an unknown key",
            vec![CONNECTION, &SECRET.replace("password: b2xk", "zq-canary: zq!")],
            "a value under data is not",
        ),
        ("another version", vec![&CONNECTION.replace("v1alpha1", "v1"), SECRET], "apiVersion must be ukgpro.dev/v1alpha1"),
        ("an empty List", vec!["{apiVersion: v1, kind: List, items: []}"], "contain no UkgProConnection"),
        ("a name", vec![&CONNECTION.replace("name: acme,", "name: zq_Canary,"), SECRET], "metadata.name is not a name"),
        ("a namespace", vec![&CONNECTION.replace("hr", "zq_Canary"), SECRET], "metadata.namespace is not a name"),
        (
            "a field",
            vec![&CONNECTION.replace("subdomain", "zq-canary"), SECRET],
            "document 1 (line 1): spec has an unknown field",
        ),
        ("a duplicate", vec![CONNECTION, &SECRET.replace("stringData:", "data:")], "it is not a"),
    ] {
        let error = refused(&texts);
        assert!(error.contains(said), "{what}: {error}");
        for quoted in ["zq", "7319", "w'0'"] {
            assert!(!error.contains(quoted), "{what}: {error}");
        }
    }
}

#[test]
fn a_file_is_read_up_to_a_bound() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("x.yaml");
    std::fs::write(&file, vec![b'#'; FILE_MAX]).expect("written");
    assert!(Source::read(&file).is_ok());
    std::fs::write(&file, vec![b'#'; FILE_MAX + 1]).expect("written");
    assert!(matches!(Source::read(&file), Err(BadInput::TooLarge(_))));
    assert!(matches!(Source::read(directory.path()), Err(BadInput::Unreadable(..))));
}

#[test]
fn what_kubectl_prints_of_several_objects_is_taken_in_yaml_and_in_json() {
    let items = r#"[
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "acme-ukg-pro", "namespace": "hr"}, "type": "Opaque",
         "data": {"username": "c3ZjLWFjbWU=", "password": "b2xk"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "data": 7},
        {"apiVersion": "ukgpro.dev/v1alpha1", "kind": "UkgProConnection",
         "metadata": {"name": "acme", "namespace": "hr", "uid": "0d9c", "resourceVersion": "7"},
         "spec": {"secretRef": {"name": "acme-ukg-pro"}, "subdomain": "service4", "domain": "ultipro.com"},
         "status": {"state": "Active", "conditions": []}}]"#;
    for kind in ["List", "UkgProConnectionList"] {
        let json =
            format!(r#"{{"apiVersion": "v1", "kind": "{kind}", "metadata": {{"resourceVersion": ""}}, "items": {items}}}"#);
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let pretty = serde_json::to_string_pretty(&value).expect("JSON");
        let yaml = serde_saphyr::to_string(&value).expect("YAML");
        for text in [json.as_str(), &pretty, &yaml, &format!("---\n{yaml}---\n")] {
            let found = collected(&[text]).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(found.connection.metadata.name.as_deref(), Some("acme"));
            assert_eq!((value_of(&found), found.connection.status), ("old".to_owned(), None));
            assert_eq!(found.notes.len(), 1, "{:?}", found.notes);
            assert!(found.notes[0].contains("item 2"), "{:?}", found.notes);
        }
    }
    fn value_of(found: &CheckInput) -> String {
        value(found, "password")
    }
    let wrong = r#"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {password: 123456}}]}"#;
    let told = refused(&[CONNECTION, wrong]);
    assert!(told.contains("item 1") && told.contains("must be quoted") && !told.contains("123456"), "{told}");
}
