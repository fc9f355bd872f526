//! The programs under the charts' own ServiceAccounts, with the environment that the charts render: a missing verb, a missing
//! variable or one with a wrong name fails here.
//!
//! There is no kubelet, so the Deployments only exist; the programs run as child processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec},
    core::v1::{EnvVar, Secret},
};
use kube::{Api, Client, api::PostParams};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tenantry_e2e::Credentials;
use tenantry_e2e::program::{Program, ProgramOptions, Settings, bootstrap};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::toolchain::Toolchain;
use tenantry_rig::{Endpoints, RigError, Stack, eventually};

use super::helm::{CRDS, TENANTRY};

const NAMESPACE: &str = "tenantry-system";
/// Where the operator may hand out logins.
const CREDENTIALS: &str = "credentials";
const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/samples");
const LIMIT: Duration = Duration::from_secs(30);

/// All that the operator may do with cluster-scoped objects, and nothing else.
const OPERATOR: &[&str] = &[
    "tenantry.dev apps list",
    "tenantry.dev apps patch",
    "tenantry.dev apps watch",
    "tenantry.dev apps/status patch",
    "tenantry.dev searchindexes list",
    "tenantry.dev searchindexes watch",
    "tenantry.dev searchindexes/status patch",
    "tenantry.dev tenants get",
    "tenantry.dev tenants list",
    "tenantry.dev tenants patch",
    "tenantry.dev tenants watch",
    "tenantry.dev tenants/status patch",
];
/// In its own namespace, in addition.
const OPERATOR_LEADS: &[&str] = &[
    "coordination.k8s.io leases create",
    "coordination.k8s.io leases/tenantry-operator get",
    "coordination.k8s.io leases/tenantry-operator update",
];
/// In `default`, where Events about cluster-scoped objects go, in addition.
const OPERATOR_TELLS: &[&str] = &["events.k8s.io events create", "events.k8s.io events patch"];
/// Where it may hand out logins, in addition.
const OPERATOR_HANDS_OUT: &[&str] = &[
    " secrets create",
    " secrets delete",
    " secrets get",
    " secrets list",
    " secrets patch",
    " secrets watch",
];
/// All that the control plane may do, anywhere.
const CONTROL_PLANE: &[&str] = &[
    "authentication.k8s.io tokenreviews create",
    "authorization.k8s.io subjectaccessreviews create",
    "tenantry.dev tenants create",
    "tenantry.dev tenants delete",
    "tenantry.dev tenants get",
    "tenantry.dev tenants list",
];

#[tokio::test]
async fn the_programs_work_with_the_rights_and_settings_of_the_chart() {
    let stack =
        Stack::private("the operator of another test would do the work with an administrator's rights")
            .await
            .unwrap();
    let endpoints = stack.endpoints();
    let admin = endpoints.kube_client().await.unwrap();
    install(endpoints).await;

    let account = as_account(&stack, NAMESPACE, "tenantry-operator").await;
    let client = account.kube_client().await.unwrap();
    assert_eq!(rights(&client, NAMESPACE).await, union(OPERATOR, OPERATOR_LEADS));
    assert_eq!(rights(&client, "default").await, union(OPERATOR, OPERATOR_TELLS));
    assert_eq!(rights(&client, CREDENTIALS).await, union(OPERATOR, OPERATOR_HANDS_OUT));
    let options = rendered(&admin, "tenantry-operator", &account, Settings::operator).await;
    let before = refusals(endpoints).await;
    bootstrap(endpoints, &ProgramOptions::default()).await.unwrap();
    let operator = Program::operator(endpoints, &options).await.unwrap();

    let account = as_account(&stack, NAMESPACE, "tenantry-controlplane").await;
    let client = account.kube_client().await.unwrap();
    for namespace in [NAMESPACE, "default"] {
        assert_eq!(rights(&client, namespace).await, union(CONTROL_PLANE, &[]));
    }
    let options = rendered(&admin, "tenantry-serve", &account, Settings::control_plane).await;
    let serve = Program::serve(endpoints, &options).await.unwrap();
    let options = rendered(&admin, "tenantry-work", &account, Settings::control_plane).await;
    let _work = Program::work(endpoints, &options).await.unwrap();

    converges(endpoints).await;
    protects(endpoints).await;
    tells_of_a_failure(endpoints).await;
    hands_out_logins(endpoints).await;
    admin_routes(&stack, serve.http_url().unwrap()).await;
    for kind in ["tenants", "searchindexes", "apps"] {
        endpoints.kubectl(&["delete", kind, "--all", "--timeout=60s"]).await.unwrap();
    }

    operator.server().stop().await.unwrap();
    let holder =
        ["get", "lease", "tenantry-operator", "-n", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}"];
    assert_eq!(endpoints.kubectl(&holder).await.unwrap(), "", "a stopped operator releases its Lease");
    assert_eq!(refusals(endpoints).await, before, "nobody asked for what the charts do not allow");
    let secrets =
        as_account(&stack, NAMESPACE, "tenantry-operator").await.kubectl(&["get", "secrets", "-A"]).await;
    assert!(secrets.is_err() && refusals(endpoints).await > before, "a refusal is seen here");
}

/// Both charts with helm, and the Secrets that they refer to.
async fn install(endpoints: &Endpoints) {
    Toolchain::ensure_helm().await.unwrap();
    let run = async |program: &str, args: &[&str]| endpoints.run(program, args).await.unwrap();
    run("helm", &["install", "tenantry-crds", CRDS, "--namespace", NAMESPACE, "--create-namespace"]).await;
    run("kubectl", &["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"]).await;

    let mut settings: BTreeMap<String, String> = BTreeMap::new();
    for of in [Settings::operator, Settings::control_plane] {
        let of = of(endpoints, &ProgramOptions::default()).unwrap();
        settings.extend(of.variables().map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    let without_login = settings["TENANTRY__DATABASE__URL"].clone();
    let operator = Settings::operator(endpoints, &ProgramOptions::default()).unwrap();
    let with_login =
        operator.variables().find(|(key, _)| *key == "TENANTRY__DATABASE__URL").unwrap().1.to_owned();
    let credentials = Credentials::of(endpoints);
    for (name, values) in [
        (
            "tenantry-operator",
            vec![("database-url", &with_login), ("provisioner-key", &credentials.provisioner_key)],
        ),
        (
            "tenantry-backends",
            vec![
                ("database-url", &without_login),
                ("traffic-key", &credentials.traffic_key),
                ("redis-url", &endpoints.redis_url),
                ("search-master-key", &endpoints.meili_master_key),
            ],
        ),
        ("tenantry-auth", vec![("hs256-secret", &credentials.hs256_secret)]),
    ] {
        let literals: Vec<_> =
            values.iter().map(|(key, value)| format!("--from-literal={key}={value}")).collect();
        let mut args = vec!["create", "secret", "generic", name, "--namespace", NAMESPACE];
        args.extend(literals.iter().map(String::as_str));
        run("kubectl", &args).await;
    }
    run("kubectl", &["create", "namespace", CREDENTIALS]).await;
    let values = format!("search.url={},operator.secretNamespaces={{{CREDENTIALS}}}", endpoints.meili_url);
    run("helm", &["install", "tenantry", TENANTRY, "--namespace", NAMESPACE, "--set", &values]).await;
}

/// The policy of the chart refuses what the operator would have to hold up.
async fn protects(endpoints: &Endpoints) {
    let folder = std::env::temp_dir().join(format!("tenantry-protected-{}.json", std::process::id()));
    let manifest = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "guarded"},
        "spec": {"deletionPolicy": "Delete", "deletionProtection": true},
    });
    std::fs::write(&folder, manifest.to_string()).unwrap();
    endpoints.kubectl(&["apply", "-f", &folder.display().to_string()]).await.unwrap();
    std::fs::remove_file(folder).unwrap();
    let delete = ["delete", "tenant", "guarded", "--timeout=60s"];
    let refusal = endpoints.kubectl(&delete).await.unwrap_err().to_string();
    assert!(refusal.contains("Tenant guarded has spec.deletionProtection: true"), "{refusal}");
    let unprotect =
        ["patch", "tenant", "guarded", "--type=merge", "-p", r#"{"spec":{"deletionProtection":false}}"#];
    endpoints.kubectl(&unprotect).await.unwrap();
    endpoints.kubectl(&delete).await.unwrap();
}

/// What nobody needs outside of tests: mounts, servers and clients on one machine, cheap hashes.
const OF_THE_RIG: [&str; 6] = [
    "TENANTRY__KUBE__KUBECONFIG",
    "TENANTRY__AUTH__KEYS_FOLDER",
    "TENANTRY__AUTH__ARGON2__MEMORY_KIB",
    "TENANTRY__AUTH__ARGON2__ITERATIONS",
    "TENANTRY__AUTH__PRIVATE_NETWORKS",
    "TENANTRY__LIMITS__ADDRESS_PER_MINUTE",
];

/// The stack as this ServiceAccount sees it.
async fn as_account(stack: &Stack, namespace: &str, name: &str) -> Endpoints {
    let mut endpoints = stack.endpoints().clone();
    let token = endpoints.kubectl(&["create", "token", name, "--namespace", namespace]).await.unwrap();
    let kubeconfig = stack.folder().unwrap().join(format!("{name}.kubeconfig"));
    endpoints.write_kubeconfig(&token, &kubeconfig).unwrap();
    endpoints.kubeconfig = kubeconfig;
    endpoints
}

/// A program with the environment of its Deployment; only the account comes from a file instead of a mount.
async fn rendered(
    admin: &Client,
    deployment: &str,
    account: &Endpoints,
    needed: fn(&Endpoints, &ProgramOptions) -> Result<Settings, RigError>,
) -> ProgramOptions {
    let deployment = Api::<Deployment>::namespaced(admin.clone(), NAMESPACE).get(deployment).await.unwrap();
    let container = deployment.spec.unwrap().template.spec.unwrap().containers.remove(0);
    let mut settings = Vec::new();
    for variable in container.env.unwrap_or_default() {
        settings.push((variable.name.clone(), value_of(admin, variable).await));
    }
    // The rig would fill in what the chart forgot.
    let given: BTreeSet<_> = settings.iter().map(|(key, _)| key.as_str()).collect();
    let rig = needed(account, &ProgramOptions::default()).unwrap();
    for (key, _) in rig.variables().filter(|(key, _)| !OF_THE_RIG.contains(key)) {
        assert!(given.contains(key), "the chart does not set {key}");
    }
    ProgramOptions { kubeconfig: Some(account.kubeconfig.clone()), settings, ..ProgramOptions::default() }
}

/// As the kubelet would resolve it.
async fn value_of(admin: &Client, variable: EnvVar) -> String {
    let Some(reference) = variable.value_from.and_then(|source| source.secret_key_ref) else {
        return variable.value.unwrap_or_default();
    };
    let secret = Api::<Secret>::namespaced(admin.clone(), NAMESPACE).get(&reference.name).await.unwrap();
    let value = secret.data.unwrap_or_default().remove(&reference.key);
    String::from_utf8(value.unwrap_or_else(|| panic!("{} has no {}", reference.name, reference.key)).0)
        .unwrap()
}

/// What the account may do in `namespace` and with cluster-scoped objects, beside asking what it may do.
async fn rights(client: &Client, namespace: &str) -> BTreeSet<String> {
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) },
        ..SelfSubjectRulesReview::default()
    };
    let review = Api::all(client.clone()).create(&PostParams::default(), &review).await.unwrap();
    let mut rights = BTreeSet::new();
    for rule in review.status.unwrap().resource_rules {
        let names = rule.resource_names.unwrap_or_default();
        for group in rule.api_groups.unwrap_or_default() {
            for resource in
                rule.resources.iter().flatten().filter(|resource| !resource.starts_with("selfsubject"))
            {
                for verb in &rule.verbs {
                    if names.is_empty() {
                        rights.insert(format!("{group} {resource} {verb}"));
                    }
                    rights.extend(names.iter().map(|name| format!("{group} {resource}/{name} {verb}")));
                }
            }
        }
    }
    rights
}

fn union(some: &[&str], more: &[&str]) -> BTreeSet<String> {
    some.iter().chain(more).map(|right| (*right).to_owned()).collect()
}

async fn converges(endpoints: &Endpoints) {
    endpoints.kubectl(&["apply", "--server-side", "-f", SAMPLES]).await.unwrap();
    endpoints.kubectl(&["wait", "-f", SAMPLES, "--for=condition=Ready", "--timeout=60s"]).await.unwrap();
}

/// Only where the chart allows it, and it is said where it does not.
async fn hands_out_logins(endpoints: &Endpoints) {
    for (name, namespace, condition) in
        [("charts-access", CREDENTIALS, "Ready"), ("charts-nowhere", "kube-system", "Stalled")]
    {
        let tenant = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name},
            "spec": {"deletionPolicy": "Delete", "access": [
                {"name": "all", "level": "Read", "secretRef": {"name": name, "namespace": namespace},
                 "backends": ["Postgres", "Redis", "Search"]}]},
        });
        let tenants: Api<tenantry_crds::v1alpha1::Tenant> = Api::all(endpoints.kube_client().await.unwrap());
        tenants.create(&PostParams::default(), &serde_json::from_value(tenant).unwrap()).await.unwrap();
        let condition = format!("--for=condition={condition}");
        endpoints.kubectl(&["wait", "tenant", name, &condition, "--timeout=60s"]).await.unwrap();
    }
    let listed = ["get", "secrets", "--namespace", CREDENTIALS, "-o", "jsonpath={.items[*].metadata.name}"];
    let secrets = endpoints.kubectl(&listed).await.unwrap();
    assert_eq!(secrets.trim(), "charts-access charts-access-redis charts-access-search");
    endpoints.kubectl(&["delete", "tenant", "charts-access", "--timeout=60s"]).await.unwrap();
    assert_eq!(endpoints.kubectl(&listed).await.unwrap().trim(), "");
}

/// A failure becomes an Event, which lands in `default`; when it is mended the Tenant is Ready.
async fn tells_of_a_failure(endpoints: &Endpoints) {
    let tenant = |app: &str| {
        json!({
            "apiVersion": "tenantry.dev/v1alpha1",
            "kind": "Tenant",
            "metadata": {"name": "charts-failing"},
            "spec": {"apps": [{"name": app}], "deletionPolicy": "Delete"},
        })
    };
    let client = endpoints.kube_client().await.unwrap();
    let tenants: Api<tenantry_crds::v1alpha1::Tenant> = Api::all(client.clone());
    tenants
        .create(&PostParams::default(), &serde_json::from_value(tenant("missing")).unwrap())
        .await
        .unwrap();
    endpoints
        .kubectl(&["wait", "tenant/charts-failing", "--for=condition=Stalled", "--timeout=60s"])
        .await
        .unwrap();
    eventually("an Event about the failure", LIMIT, async || {
        let listed = ["get", "events.events.k8s.io", "--namespace", "default", "-o", "json"];
        let events: Value =
            serde_json::from_str(&endpoints.kubectl(&listed).await.map_err(|e| e.to_string())?)
                .map_err(|e| e.to_string())?;
        let told =
            events["items"].as_array().into_iter().flatten().any(|event| {
                event["regarding"]["name"] == "charts-failing" && event["reason"] == "AppNotFound"
            });
        if told { Ok(()) } else { Err(events.to_string()) }
    })
    .await
    .unwrap();
    let patch = json!({"spec": {"apps": [{"name": "crm"}]}}).to_string();
    endpoints.kubectl(&["patch", "tenant", "charts-failing", "--type=merge", "-p", &patch]).await.unwrap();
    endpoints
        .kubectl(&["wait", "tenant/charts-failing", "--for=condition=Ready", "--timeout=60s"])
        .await
        .unwrap();
}

/// The control plane's account can carry out what a caller may do, and nothing for one who may not.
async fn admin_routes(stack: &Stack, url: &str) {
    let endpoints = stack.endpoints();
    for name in ["ops", "stranger"] {
        endpoints.kubectl(&["create", "serviceaccount", name, "--namespace", NAMESPACE]).await.unwrap();
    }
    let verbs = "--verb=get,list,create,delete";
    endpoints
        .kubectl(&["create", "clusterrole", "ops", verbs, "--resource=tenants.tenantry.dev"])
        .await
        .unwrap();
    let account = format!("--serviceaccount={NAMESPACE}:ops");
    endpoints.kubectl(&["create", "clusterrolebinding", "ops", "--clusterrole=ops", &account]).await.unwrap();

    let http = http_client().unwrap();
    let call = async |token: &str, method: Method, path: &str, body: Value| {
        let url = format!("{url}/api/v1/admin/tenants{path}");
        let mut request = http.request(method, url).bearer_auth(token.trim());
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, response.text().await.unwrap())
    };
    let token = async |name: &str| {
        endpoints.kubectl(&["create", "token", name, "--namespace", NAMESPACE]).await.unwrap()
    };
    let (ops, stranger) = (token("ops").await, token("stranger").await);
    let manifest = json!({"metadata": {"name": "charts-admin"}, "spec": {"deletionPolicy": "Delete"}});

    for (who, method, path, body, expected) in [
        (&stranger, Method::GET, "", Value::Null, StatusCode::FORBIDDEN),
        (&stranger, Method::POST, "", manifest.clone(), StatusCode::FORBIDDEN),
        (&ops, Method::POST, "", manifest, StatusCode::CREATED),
        (&ops, Method::GET, "", Value::Null, StatusCode::OK),
        (&ops, Method::GET, "/charts-admin", Value::Null, StatusCode::OK),
        (&stranger, Method::DELETE, "/charts-admin", Value::Null, StatusCode::FORBIDDEN),
    ] {
        let what = format!("{method} {path}");
        let (status, text) = call(who, method, path, body).await;
        assert_eq!(status, expected, "{what}: {text}");
    }
    let (status, text) = call(&ops, Method::DELETE, "/charts-admin", Value::Null).await;
    assert!(status.is_success(), "{status} {text}");
    endpoints.kubectl(&["wait", "tenant/charts-admin", "--for=delete", "--timeout=60s"]).await.unwrap();
}

/// The requests that the API server's authorizers let nobody through with, from its own counters. Not
/// `apiserver_request_total`: a request that is not authorized never gets there.
async fn refusals(endpoints: &Endpoints) -> u64 {
    let metrics = endpoints.kubectl(&["get", "--raw", "/metrics"]).await.unwrap();
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix("authorization_attempts_total{")?.split_once("} "))
        .filter(|(labels, _)| !labels.contains(r#"result="allowed""#))
        .map(|(_, count)| count.parse::<u64>().unwrap())
        .sum()
}
