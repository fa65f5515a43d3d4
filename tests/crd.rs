//! The committed CRD is the one the types generate.

#[test]
fn the_committed_crd_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/ukgproconnections.ukgpro.dev.yaml");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let generated = serde_saphyr::to_string(&ukgpro_operator::api::crd()).expect("a CRD is YAML");
    assert!(committed == generated, "crds/ has drifted from src/api; run `make crd` and commit the result");
}
