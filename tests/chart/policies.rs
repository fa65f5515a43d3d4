//! The admission policies on a real API server.

use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use ukgpro_operator::api::UkgProConnection;

use crate::helm::{CHART, Helm};
use crate::support::World;
use crate::support::world::SECRET;

/// Releases the policies for this world's namespace only, and waits until they hold.
async fn release<'a>(world: &'a World, values: &[&str]) -> Helm<'a> {
    let helm = Helm::new(world);
    let scope = format!("watchNamespaces={{{}}}", world.namespace);
    let base = ["install", "policies", CHART, "--namespace", &world.namespace, "--set", "crds.install=false", "--set", &scope];
    let values: Vec<_> = values.iter().flat_map(|value| ["--set", value]).collect();
    helm.done(&[&base[..], &values].concat());
    helm
}

/// Applies without writing; what is said where it is refused.
async fn judge(client: &Client, manifest: &Value) -> Result<(), String> {
    let namespace = manifest["metadata"]["namespace"].as_str().expect("a namespace");
    let name = manifest["metadata"]["name"].as_str().expect("a name");
    let params = PatchParams { dry_run: true, ..PatchParams::apply("judge").force() };
    let connections = Api::<UkgProConnection>::namespaced(client.clone(), namespace);
    match connections.patch(name, &params, &Patch::Apply(manifest)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("{error}"),
    }
}

/// Waits until this is refused, as the API server takes a moment to learn of a policy; with what words.
async fn refused(world: &World, client: &Client, manifest: &Value) -> String {
    world.wait_until("the policy", async || judge(client, manifest).await.is_err()).await;
    judge(client, manifest).await.expect_err("refused")
}

#[tokio::test]
async fn only_allowed_hosts_may_be_named() {
    let world = World::spread("policy-hosts", 1).await;
    let allowed = "admissionPolicies.hosts.allowed={service4.ultipro.com,*.ultipro.ca}";
    let helm = release(&world, &["admissionPolicies.hosts.enabled=true", allowed]).await;
    let to = |subdomain: Value, domain: Value| {
        let mut manifest = world.connection(&[]);
        manifest["spec"]["subdomain"] = subdomain;
        manifest["spec"]["domain"] = domain;
        manifest
    };
    let said = refused(&world, &world.admin, &to(json!("service5"), json!("ultipro.com"))).await;
    let words = "host service5.ultipro.com is not allowed; write one of service4.ultipro.com, *.ultipro.ca";
    assert!(said.contains(words), "{said}");
    for (subdomain, domain) in [("service4", "ultipro.com"), ("service7", "ultipro.ca")] {
        judge(&world.admin, &to(json!(subdomain), json!(domain))).await.expect("allowed");
    }
    for (subdomain, domain) in [("service4", "ultipro.com:8443"), ("service4", "example.com"), ("ultipro", "ca.example.com")] {
        judge(&world.admin, &to(json!(subdomain), json!(domain))).await.expect_err("refused");
    }
    for (subdomain, domain) in
        [(json!(null), json!("ultipro.com")), (json!("service4"), json!(null)), (json!(null), json!(null))]
    {
        let said = judge(&world.admin, &to(subdomain, domain)).await.expect_err("refused");
        assert!(said.contains("have to stand in the connection here, not in its Secret"), "{said}");
    }
    // Of namespaces that are not looked after, nothing is said.
    let mut other = to(json!("service5"), json!("ultipro.com"));
    other["metadata"]["namespace"] = json!(world.elsewhere[0]);
    judge(&world.admin, &other).await.expect("allowed");
    helm.done(&["uninstall", "policies", "--namespace", &world.namespace]);
    world.finish_without_operator().await;
}

#[tokio::test]
async fn only_secrets_of_a_pattern_may_be_named() {
    let world = World::new("policy-names").await;
    let helm = release(&world, &["admissionPolicies.secretNames.enabled=true"]).await;
    let mut manifest = world.connection(&[]);
    manifest["spec"]["secretRef"]["name"] = json!("database");
    let said = refused(&world, &world.admin, &manifest).await;
    assert!(said.contains("a connection may not use Secret database; name one that matches .*-ukg-pro"), "{said}");
    manifest["spec"]["secretRef"]["name"] = json!("acme-ukg-pro-not");
    judge(&world.admin, &manifest).await.expect_err("the whole name counts");
    manifest["spec"]["secretRef"]["name"] = json!(SECRET);
    judge(&world.admin, &manifest).await.expect("allowed");
    manifest["spec"]["candidateSecretRef"] = json!({"name": "database"});
    judge(&world.admin, &manifest).await.expect_err("nor as a candidate");
    manifest["spec"]["candidateSecretRef"] = json!({"name": "next-ukg-pro"});
    judge(&world.admin, &manifest).await.expect("allowed");
    manifest["spec"]["caRef"]["kind"] = json!("Secret");
    judge(&world.admin, &manifest).await.expect_err("nor as an authority");
    helm.done(&["uninstall", "policies", "--namespace", &world.namespace]);
    world.finish_without_operator().await;
}

#[tokio::test]
async fn only_who_may_get_a_secret_may_have_it_used() {
    let world = World::new("policy-readers").await;
    let helm = release(&world, &["admissionPolicies.secretReaders.enabled=true"]).await;
    // A user who may write connections, and get one Secret.
    let rule = |group: &str, resource: &str, names: Option<&str>, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: names.map(|name| vec![name.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    let rules = vec![
        rule("ukgpro.dev", "ukgproconnections", None, &["get", "create", "patch"]),
        rule("", "secrets", Some(SECRET), &["get"]),
    ];
    let metadata = ObjectMeta { name: Some("author".to_owned()), ..ObjectMeta::default() };
    world.create(&Role { metadata: metadata.clone(), rules: Some(rules) }).await;
    let api_group = "rbac.authorization.k8s.io".to_owned();
    world
        .create(&RoleBinding {
            metadata,
            role_ref: RoleRef { api_group: api_group.clone(), kind: "Role".to_owned(), name: "author".to_owned() },
            subjects: Some(vec![Subject {
                api_group: Some(api_group),
                kind: "User".to_owned(),
                name: format!("author-{}", world.namespace),
                ..Subject::default()
            }]),
        })
        .await;
    let mut config = world.control_plane.config().await;
    config.auth_info.impersonate = Some(format!("author-{}", world.namespace));
    let author = Client::try_from(config).expect("a client");

    let own = world.connection(&[]);
    world.wait_until("the rights", async || judge(&author, &own).await.is_ok()).await;
    let mut theirs = own.clone();
    theirs["spec"]["secretRef"]["name"] = json!("theirs");
    let said = refused(&world, &author, &theirs).await;
    let words =
        format!("author-{ns} may not get Secret theirs in {ns}, and so may not have a connection use it", ns = world.namespace);
    assert!(said.contains(&words), "{said}");
    for field in ["candidateSecretRef", "caRef"] {
        let mut manifest = own.clone();
        manifest["spec"][field] = json!({"name": "theirs"});
        if field == "caRef" {
            judge(&author, &manifest).await.expect("a ConfigMap is no Secret");
            manifest["spec"][field]["kind"] = json!("Secret");
        }
        judge(&author, &manifest).await.expect_err(field);
    }
    judge(&world.admin, &theirs).await.expect("who may get it, may");

    // What another has set up may be edited, but not sent elsewhere.
    world.apply(&theirs).await.expect("accepted");
    theirs["spec"]["interval"] = json!("20m");
    judge(&author, &theirs).await.expect("no Secret is named anew");
    // Nor have other keys of it used, or in another way.
    let keys = ["username", "password", "customerApiKey", "userApiKey", "domain", "subdomain"];
    let mut changes: Vec<_> = keys.iter().map(|key| json!({"keys": {*key: "another"}})).collect();
    changes.push(json!({"trim": "Newline"}));
    for change in &changes {
        let mut changed = theirs.clone();
        for (field, value) in change.as_object().expect("a map") {
            changed["spec"]["secretRef"][field] = value.clone();
        }
        judge(&author, &changed).await.expect_err(&change.to_string());
        judge(&world.admin, &changed).await.expect("who may get it, may");
    }
    let mut candidate = theirs.clone();
    candidate["spec"]["candidateSecretRef"] = json!({"name": "theirs-next"});
    world.apply(&candidate).await.expect("accepted");
    for change in &changes {
        let mut changed = candidate.clone();
        for (field, value) in change.as_object().expect("a map") {
            changed["spec"]["candidateSecretRef"][field] = value.clone();
        }
        judge(&author, &changed).await.expect_err(&change.to_string());
    }
    // A promotion names nothing that was not named.
    let mut promoted = candidate.clone();
    promoted["spec"]["secretRef"] = candidate["spec"]["candidateSecretRef"].clone();
    promoted["spec"].as_object_mut().expect("a map").remove("candidateSecretRef");
    judge(&author, &promoted).await.expect("promoted");
    candidate["spec"]["subdomain"] = json!("service9");
    judge(&author, &candidate).await.expect_err("the Secret would be sent elsewhere");
    helm.done(&["uninstall", "policies", "--namespace", &world.namespace]);
    world.finish_without_operator().await;
}

#[tokio::test]
async fn only_namespaces_that_a_class_is_bound_to_may_choose_it() {
    let world = World::spread("policy-classes", 1).await;
    let allowed = format!("admissionPolicies.controllerClasses.allowed.wide={{{}}}", world.elsewhere[0]);
    // Of all namespaces that this test has.
    let helm = Helm::new(&world);
    let scope = format!("watchNamespaces={{{},{}}}", world.namespace, world.elsewhere[0]);
    let values = ["crds.install=false", &scope, "admissionPolicies.controllerClasses.enabled=true", &allowed];
    let base = ["install", "policies", CHART, "--namespace", &world.namespace];
    let values: Vec<_> = values.iter().flat_map(|value| ["--set", value]).collect();
    helm.done(&[&base[..], &values].concat());
    let of = |class: Option<&str>, namespace: &str| {
        let mut manifest = world.connection(&[]);
        manifest["metadata"]["namespace"] = json!(namespace);
        manifest["spec"]["controllerClass"] = json!(class);
        manifest
    };
    let said = refused(&world, &world.admin, &of(Some("wide"), &world.namespace)).await;
    let words = format!("controllerClass wide is not for connections of namespace {}", world.namespace);
    assert!(said.contains(&words), "{said}");
    judge(&world.admin, &of(Some("unknown"), &world.elsewhere[0])).await.expect_err("a class that nobody is bound to");
    judge(&world.admin, &of(Some("wide"), &world.elsewhere[0])).await.expect("bound");
    judge(&world.admin, &of(None, &world.namespace)).await.expect("no class is none of wider rights");
    helm.done(&["uninstall", "policies", "--namespace", &world.namespace]);
    world.finish_without_operator().await;
}
