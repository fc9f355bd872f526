//! What the charts render.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::helm::{CRDS, TENANTRY, container, find, helm, render};

const EVERYTHING: &[&str] = &[
    "search.url=http://search:7700",
    "snapshots.url=s3://bucket/prefix",
    "snapshots.endpoint=https://objects.example.com",
    "secrets.snapshotAccessKeyId.name=bucket",
    "secrets.snapshotSecretAccessKey.name=bucket",
    "bootstrap.adminSecret.name=admin",
    "secrets.ed25519PublicKey.name=keys",
    "secrets.keyring.name=ring",
    "secrets.keyring.primary=2026-11",
    "networkPolicy.enabled=true",
    "serviceMonitor.enabled=true",
];

#[tokio::test]
async fn lint_finds_nothing() {
    helm(&["lint", "--strict", CRDS, TENANTRY]).await.unwrap();
    let mut args = vec!["lint", "--strict", TENANTRY];
    args.extend(EVERYTHING.iter().flat_map(|value| ["--set", value]));
    helm(&args).await.unwrap();
}

#[tokio::test]
async fn the_crds_chart_holds_the_generated_definitions_and_keeps_them() {
    let mut rendered = render(CRDS, &[]).await;
    for object in &mut rendered {
        let annotations = object["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(annotations, Some(json!({"helm.sh/resource-policy": "keep"})));
    }
    let mut expected: Vec<Value> = tenantry_crds::v1alpha1::yaml()
        .unwrap()
        .iter()
        .map(|(_, text)| serde_yaml::from_str(text).unwrap())
        .collect();
    let by_name = |object: &Value| object["metadata"]["name"].to_string();
    rendered.sort_by_key(by_name);
    expected.sort_by_key(by_name);
    assert_eq!(rendered, expected);
    assert!(
        render(CRDS, &["keep=false"])
            .await
            .iter()
            .all(|object| object["metadata"].get("annotations").is_none())
    );
}

#[tokio::test]
async fn pods_are_restricted_and_probed() {
    for object in render(TENANTRY, EVERYTHING).await {
        let name = object["metadata"]["name"].clone();
        if !["Deployment", "Job"].iter().any(|kind| object["kind"] == *kind) {
            continue;
        }
        let (pod, container) = (&object["spec"]["template"]["spec"], container(&object));
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        assert_eq!(
            container["securityContext"],
            json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            }),
            "{name}"
        );
        assert!(container["resources"]["requests"].is_object(), "{name}");
        assert!(container["resources"]["limits"].is_object(), "{name}");
        if object["kind"] == "Deployment" {
            assert_eq!(
                container["livenessProbe"]["httpGet"],
                json!({"path": "/livez", "port": "metrics"}),
                "{name}"
            );
            assert_eq!(
                container["readinessProbe"]["httpGet"],
                json!({"path": "/readyz", "port": "metrics"}),
                "{name}"
            );
        }
    }
}

/// Both roles of the control plane seal and open; the operator has no keys.
#[tokio::test]
async fn the_keyring_is_a_folder_of_the_control_plane_with_a_primary_key() {
    let objects = render(TENANTRY, EVERYTHING).await;
    for name in ["tenantry-serve", "tenantry-work", "tenantry-operator"] {
        let deployment = find(&objects, "Deployment", name);
        let (pod, container) = (&deployment["spec"]["template"]["spec"], container(deployment));
        let has = |list: &Value, item: Value| list.as_array().is_some_and(|list| list.contains(&item));
        let is_there = [
            has(&pod["volumes"], json!({"name": "keyring", "secret": {"secretName": "ring"}})),
            has(
                &container["volumeMounts"],
                json!({"name": "keyring", "mountPath": "/etc/tenantry/keyring", "readOnly": true}),
            ),
            has(
                &container["env"],
                json!({"name": "TENANTRY__KEYRING__FOLDER", "value": "/etc/tenantry/keyring"}),
            ),
            has(&container["env"], json!({"name": "TENANTRY__KEYRING__PRIMARY", "value": "2026-11"})),
        ];
        assert_eq!(is_there, [name != "tenantry-operator"; 4], "{name}");
    }
    let refused = helm(&["template", TENANTRY, "--set", "secrets.keyring.name=ring"]).await.unwrap_err();
    assert!(refused.to_string().contains("secrets.keyring.primary"), "{refused}");
}

#[tokio::test]
async fn only_what_speaks_to_the_api_server_gets_a_token() {
    let objects = render(TENANTRY, EVERYTHING).await;
    let pod = |kind, name| &find(&objects, kind, name)["spec"]["template"]["spec"];
    assert_eq!(pod("Deployment", "tenantry-operator")["serviceAccountName"], "tenantry-operator");
    assert_eq!(pod("Deployment", "tenantry-serve")["serviceAccountName"], "tenantry-controlplane");
    for (kind, name) in [("Deployment", "tenantry-work"), ("Job", "tenantry-bootstrap")] {
        let pod = pod(kind, name);
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        assert!(pod.get("serviceAccountName").is_none(), "{name}");
    }
}

/// Every secret comes by reference, and the control plane never gets the key of the provisioners.
#[tokio::test]
async fn secrets_are_references_and_each_program_gets_its_own() {
    let objects = render(TENANTRY, EVERYTHING).await;
    let secret = [
        "TENANTRY__DATABASE__URL",
        "TENANTRY__DATABASE__PROVISIONER_KEY",
        "TENANTRY__DATABASE__TRAFFIC_KEY",
        "TENANTRY__REDIS__URL",
        "TENANTRY__SEARCH__MASTER_KEY",
        "TENANTRY__AUTH__HS256_SECRET",
        "TENANTRY_ADMIN_DATABASE_URL",
        "TENANTRY__SNAPSHOTS__ACCESS_KEY_ID",
        "TENANTRY__SNAPSHOTS__SECRET_ACCESS_KEY",
    ];
    let references = |name: &str| -> BTreeSet<String> {
        let container = container(find(&objects, "Deployment", name));
        let (secrets, plain): (Vec<_>, Vec<_>) = container["env"]
            .as_array()
            .unwrap()
            .iter()
            .partition(|variable| variable.get("valueFrom").is_some());
        for variable in plain {
            assert!(
                !secret.contains(&variable["name"].as_str().unwrap()),
                "{name} has {variable} in plain text"
            );
        }
        secrets.iter().map(|variable| variable["name"].as_str().unwrap().to_owned()).collect()
    };
    let common = [secret[0], secret[2], secret[3], secret[4]];
    let with =
        |more: &[&str]| common.iter().chain(more).map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(references("tenantry-operator"), with(&[secret[1], secret[7], secret[8]]));
    assert_eq!(references("tenantry-serve"), with(&["TENANTRY__AUTH__HS256_SECRET"]));
    assert_eq!(references("tenantry-work"), with(&["TENANTRY__AUTH__HS256_SECRET"]));

    let text = serde_json::to_string(&objects).unwrap();
    assert!(!text.contains(r#""kind":"Secret""#), "the chart makes no Secret");
}

/// The value of a plain setting of a Deployment.
fn setting<'a>(objects: &'a [Value], deployment: &str, name: &str) -> Option<&'a str> {
    let variables = container(find(objects, "Deployment", deployment))["env"].as_array().unwrap();
    let found = variables.iter().find(|variable| variable["name"] == format!("TENANTRY__{name}"))?;
    found["value"].as_str()
}

#[tokio::test]
async fn values_reach_the_role_that_they_are_for() {
    let values = [
        "serve.trustedProxies={10.0.0.0/8,fd00::/8}",
        "tracing.endpoint=http://collector:4318",
        "tracing.ratio=0",
        "work.sweepSeconds=60",
    ];
    let objects = render(TENANTRY, &values).await;
    let serve = |name| setting(&objects, "tenantry-serve", name);
    assert_eq!(serve("HTTP__TRUSTED_PROXIES"), Some(r#"["10.0.0.0/8","fd00::/8"]"#));
    assert_eq!(serve("TRACING__ENDPOINT"), Some("http://collector:4318"));
    assert_eq!(serve("TRACING__RATIO"), Some("0"));
    assert_eq!(setting(&objects, "tenantry-work", "WORKER__SWEEP_SECONDS"), Some("60"));

    let objects = render(TENANTRY, &[]).await;
    for name in ["HTTP__TRUSTED_PROXIES", "TRACING__ENDPOINT", "TRACING__RATIO"] {
        assert_eq!(setting(&objects, "tenantry-serve", name), None, "off unless asked for");
    }
}

#[tokio::test]
async fn values_that_cannot_work_are_refused() {
    for (value, expected) in [
        ("bogus=1", "bogus"),
        ("operator.replica=2", "replica"),
        ("log.format=xml", "/log/format"),
        ("secrets.redisUrl.name=", "/secrets/redisUrl/name"),
        ("search.url=search:7700", "/search/url"),
        ("serve.trustedProxies={proxy}", "/serve/trustedProxies"),
        ("tracing.endpoint=collector:4318", "/tracing/endpoint"),
        ("tracing.ratio=2", "/tracing/ratio"),
        ("work.sweepSeconds=0", "/work/sweepSeconds"),
        ("secrets.hs256Secret.name=", "at least one key is needed to check tokens"),
    ] {
        let complaint = helm(&["template", "tenantry", TENANTRY, "--set", value]).await.unwrap_err();
        assert!(complaint.contains(expected), "{value}: {complaint}");
    }
}

#[tokio::test]
async fn the_outbox_is_cleared_without_a_search_engine_too() {
    let workers = |objects: &[Value]| {
        objects.iter().filter(|object| object["metadata"]["name"] == "tenantry-work").count()
    };
    assert_eq!(workers(&render(TENANTRY, &[]).await), 2, "Deployment, PodDisruptionBudget");
    assert_eq!(
        workers(&render(TENANTRY, EVERYTHING).await),
        3,
        "Deployment, PodDisruptionBudget, NetworkPolicy"
    );
}

#[tokio::test]
async fn the_bootstrap_job_is_there_only_with_an_administrator_s_secret() {
    let has_job = |objects: &[Value]| objects.iter().any(|object| object["kind"] == "Job");
    assert!(!has_job(&render(TENANTRY, &[]).await));
    let objects = render(TENANTRY, EVERYTHING).await;
    let job = find(&objects, "Job", "tenantry-bootstrap");
    assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "pre-install,pre-upgrade");
    assert_eq!(container(job)["args"], json!(["bootstrap"]));
}

#[tokio::test]
async fn more_instances_are_settings_of_both_programs_and_only_the_operator_gets_its_login() {
    let objects = render(
        TENANTRY,
        &[
            "instances.postgres.default.capacity=10",
            "instances.postgres.eu-west.operatorUrl.name=ops",
            "instances.postgres.eu-west.operatorUrl.key=url",
            "instances.postgres.eu-west.controlPlaneUrl.name=plane",
            "instances.postgres.eu-west.controlPlaneUrl.key=url",
            "instances.redis.eu-west.url.name=redis",
            "instances.redis.eu-west.url.key=url",
            "instances.search.eu-west.url=http://search:7700",
            "instances.search.eu-west.masterKey.name=search",
            "instances.search.eu-west.masterKey.key=key",
        ],
    )
    .await;
    for (deployment, login) in
        [("tenantry-operator", "ops"), ("tenantry-serve", "plane"), ("tenantry-work", "plane")]
    {
        let variables =
            container(find(&objects, "Deployment", deployment))["env"].as_array().unwrap().clone();
        let value = |name: &str| {
            let name = format!("TENANTRY__INSTANCES__{name}");
            let found = variables.iter().find(|variable| variable["name"] == name);
            let found = found.unwrap_or_else(|| panic!("{deployment} has no {name}"));
            found["value"]
                .as_str()
                .or(found["valueFrom"]["secretKeyRef"]["name"].as_str())
                .unwrap()
                .to_owned()
        };
        assert_eq!(value("POSTGRES__DEFAULT__CAPACITY"), "10");
        assert_eq!(value("POSTGRES__EU_WEST__URL"), login);
        assert_eq!(value("REDIS__EU_WEST__URL"), "redis");
        assert_eq!(value("SEARCH__EU_WEST__URL"), "http://search:7700");
        assert_eq!(value("SEARCH__EU_WEST__MASTER_KEY"), "search");
    }
    let unnamed = ["template", "tenantry", TENANTRY, "--set", "instances.redis.East.url.name=x"];
    assert!(helm(&unnamed).await.is_err(), "a name in capitals");
}
