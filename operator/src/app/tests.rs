use std::collections::BTreeMap;

use serde_json::json;
use tenantry_crds::names::AppName;

use super::{
    checks::{cycle, not_supported},
    publish::{Publication, publication},
    reconcile::dependents,
};
use crate::catalog::{PublishedApp, Version};

fn requires(edges: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    edges.iter().map(|(app, on)| ((*app).into(), on.iter().map(|o| (*o).into()).collect())).collect()
}

#[test]
fn a_cycle_is_found_from_each_of_its_apps_and_from_no_other() {
    let edges = requires(&[("a", &["b"]), ("b", &["c"]), ("c", &["a", "missing"]), ("d", &["a"])]);
    assert_eq!(cycle("a", &edges).unwrap(), ["a", "b", "c", "a"]);
    assert_eq!(cycle("c", &edges).unwrap(), ["c", "a", "b", "c"]);
    assert_eq!(cycle("d", &edges), None);
    assert_eq!(cycle("a", &requires(&[("a", &["a"])])).unwrap(), ["a", "a"]);
}

#[test]
fn a_version_is_published_once() {
    let spec = serde_json::from_value(json!({"version": "1.0.0"})).unwrap();
    let app = PublishedApp::compile(&AppName::new("crm").unwrap(), &spec).unwrap();
    assert_eq!(publication(None, None, &app.digest), Publication::New);
    assert_eq!(publication(Some(&app), Some(&app.version), &app.digest), Publication::InPlace);
    assert_eq!(publication(Some(&app), Some(&app.version), "other"), Publication::Changed);
    let newer = Version::new("2.0.0");
    assert_eq!(publication(Some(&app), Some(&newer), &app.digest), Publication::New, "back to it");
    assert_eq!(publication(Some(&app), None, &app.digest), Publication::New, "died before it was aimed at");
}

#[test]
fn what_has_no_behaviour_yet_is_named() {
    let spec = serde_json::from_value(json!({
        "version": "1.0.0", "queues": [{"name": "default"}], "schedules": [{"name": "s", "cron": "* * * * *", "queue": "default", "type": "t"}],
    }))
    .unwrap();
    let fields = not_supported(&spec);
    assert_eq!(fields.len(), 2, "{fields:?}");
    assert!(not_supported(&serde_json::from_value(json!({"version": "1.0.0"})).unwrap()).is_empty());
}

#[test]
fn dependents_are_counted_and_some_are_named() {
    let text = dependents((0..7).rev().map(|n| format!("t{n}")).collect());
    assert!(text.starts_with("7 tenants use the app: t0, t1, t2, t3, t4, ...;"), "{text}");
}
