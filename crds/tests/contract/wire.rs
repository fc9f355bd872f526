//! What stands in files: manifests read back as they were written, digests, and the generated CRDs.

use std::{fs, path::Path};

use tenantry_crds::{
    core_app,
    definition::AppDefinition,
    labels,
    names::{AppName, TenantName},
    reason::Reason,
    v1alpha1::{self, App, AppSpec, SearchIndex, Tenant},
};

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn sample<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = repository("config/samples").join(name);
    serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap()
}

/// Through JSON, as the API server hands it out and the registry keeps it.
fn stored<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_slice(&serde_json::to_vec(value).unwrap()).unwrap()
}

#[test]
fn the_samples_read_back_as_they_are_stored() {
    let app: App = sample("app-crm.yaml");
    assert_eq!(stored(&app), app);
    let index: SearchIndex = sample("searchindex-crm-customers.yaml");
    assert_eq!(stored(&index), index);
    for name in ["tenant-acme.yaml", "tenant-globex.yaml"] {
        let tenant: Tenant = sample(name);
        assert_eq!(stored(&tenant), tenant, "{name}");
        TenantName::new(tenant.metadata.name.as_deref().unwrap()).unwrap();
    }
}

#[test]
fn the_sample_app_compiles_and_its_index_names_what_it_has() {
    let app: App = sample("app-crm.yaml");
    let name = AppName::new(app.metadata.name.as_deref().unwrap()).unwrap();
    let crm = AppDefinition::compile(&name, &app.spec).unwrap();
    let index = sample::<SearchIndex>("searchindex-crm-customers.yaml").spec;
    assert_eq!(index.app, name.as_str());
    let doc_type = crm.doc_types.iter().find(|d| d.name.as_str() == index.doc_type).unwrap();
    for field in index.searchable.iter().chain(&index.filterable) {
        assert!(doc_type.field(field).is_some(), "{field}");
    }
}

#[test]
fn a_digest_is_the_same_after_storage_and_for_every_way_to_write_the_definition() {
    let spec = sample::<App>("app-crm.yaml").spec;
    assert_eq!(AppDefinition::digest(&stored(&spec)), AppDefinition::digest(&spec));

    let short: AppSpec = serde_yaml::from_str("{version: 1.0.0, queues: [{name: q}]}").unwrap();
    let long: AppSpec = serde_yaml::from_str(
        "{queues: [{leaseSeconds: 30, maxAttempts: 5, class: Durable, name: q, maxLength: 10000}], \
         docTypes: [], roles: [], requires: [], schedules: [], migrations: [], version: 1.0.0}",
    )
    .unwrap();
    assert_eq!(
        AppDefinition::digest(&short),
        AppDefinition::digest(&long),
        "defaults and order do not count"
    );
}

#[test]
fn a_digest_moves_with_what_a_version_fixes_and_only_with_that() {
    let base = sample::<App>("app-crm.yaml").spec;
    let digest_after = |change: &dyn Fn(&mut AppSpec)| {
        let mut spec = base.clone();
        change(&mut spec);
        AppDefinition::digest(&spec)
    };
    let before = AppDefinition::digest(&base);

    let texts: [&dyn Fn(&mut AppSpec); 4] = [
        &|spec| spec.title = Some("Other".into()),
        &|spec| spec.roles[0].description = Some("Other".into()),
        &|spec| spec.rollout = serde_json::from_str(r#"{"maxParallel": 3}"#).unwrap(),
        &|spec| spec.version = "1.0.1".into(),
    ];
    for (n, change) in texts.iter().enumerate() {
        assert_eq!(digest_after(change), before, "text {n}");
    }

    let fixed: [&dyn Fn(&mut AppSpec); 9] = [
        &|spec| spec.roles[0].name = "other".into(),
        &|spec| spec.doc_types[0].fields[0].required = false,
        &|spec| spec.doc_types[0].fields[2].values.push("other".into()),
        &|spec| spec.doc_types[0].permissions[0].allow.truncate(1),
        &|spec| spec.doc_types[1].naming.pattern = Some("SO-.######".into()),
        &|spec| spec.queues[0].max_attempts += 1,
        &|spec| spec.requires = serde_json::from_str(r#"[{"app": "erp"}]"#).unwrap(),
        &|spec| spec.migrations = serde_json::from_str(r#"[{"name": "a", "sql": "SELECT 1"}]"#).unwrap(),
        &|spec| spec.doc_types.truncate(1),
    ];
    for (n, change) in fixed.iter().enumerate() {
        assert_ne!(digest_after(change), before, "change {n}");
    }
}

/// A changed digest of `core` under the same version would stall every fleet at the next upgrade.
#[test]
fn the_published_core_app_is_not_changed_without_a_new_version() {
    let core = core_app::spec();
    let golden = fs::read_to_string(repository("crds/tests/contract/core_app.digest")).unwrap();
    assert_eq!(
        format!("{} {}", core.version, AppDefinition::digest(core)),
        golden.trim(),
        "give crds/src/core_app.yaml a new version, then note it and its digest in crds/tests/contract/core_app.digest",
    );
}

#[test]
fn the_generated_crds_are_what_the_types_say() {
    for (name, text) in v1alpha1::yaml().unwrap() {
        for folder in ["crds/generated", "charts/tenantry-crds/files"] {
            let checked_in = fs::read_to_string(repository(folder).join(&name)).unwrap();
            assert!(checked_in == text, "{folder}/{name} is not what the types say; run `make crds`");
        }
    }
}

#[test]
fn no_crd_has_a_third_state_or_an_unknown_format() {
    for crd in v1alpha1::definitions() {
        let text = serde_json::to_string(&crd).unwrap();
        assert!(!text.contains(r#""nullable":true"#) && !text.contains(r#""format":"uint"#));
        assert_eq!(crd.spec.group, labels::GROUP);
        assert_eq!(crd.spec.scope, "Cluster");
    }
}

#[test]
fn every_reason_is_documented_and_no_other() {
    let page = fs::read_to_string(repository("docs/reference/conditions.md")).unwrap();
    let documented: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(documented, reasons, "in the order of crds/src/reason.rs");
}
