use std::ops::Deref;

use kube::runtime::{
    reflector::{self, store::Writer},
    watcher::Event,
};
use serde_json::{Value, json};

use super::*;
use crate::error::Class;

/// A catalog and the Apps that it sees.
struct Known(Catalog, Writer<App>);

impl Deref for Known {
    type Target = Catalog;

    fn deref(&self) -> &Catalog {
        &self.0
    }
}

impl Known {
    fn declare(&mut self, name: &str, spec: &Value) {
        let app = serde_json::from_value(json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "App", "metadata": {"name": name}, "spec": spec,
        }));
        self.1.apply_watcher_event(&Event::Apply(app.unwrap()));
    }
}

fn app(catalog: &mut Known, name: &str, spec: Value) {
    catalog.declare(name, &spec);
    let spec: AppSpec = serde_json::from_value(spec).unwrap();
    catalog.publish(PublishedApp::compile(&AppName::new(name).unwrap(), &spec).unwrap());
}

fn catalog() -> Known {
    let (apps, writer) = reflector::store();
    let catalog = Catalog::new(apps);
    catalog.publish(PublishedApp::compile(&core_app::name(), core_app::spec()).unwrap());
    Known(catalog, writer)
}

fn installs(names: &[&str]) -> Versions {
    names.iter().map(|name| (AppName::new(name).unwrap(), None)).collect()
}

fn names(catalog: &Catalog, apps: &[&str]) -> Vec<String> {
    catalog.composition(&installs(apps)).unwrap().iter().map(|app| app.name.to_string()).collect()
}

fn refused(catalog: &Catalog, apps: &[&str]) -> (Class, Reason, String) {
    let error = catalog.composition(&installs(apps)).unwrap_err();
    (error.class(), error.reason(), error.to_string())
}

#[test]
fn core_comes_first_and_each_app_after_what_it_requires() {
    let mut catalog = catalog();
    app(&mut catalog, "zbase", json!({"version": "1.0.0"}));
    app(&mut catalog, "crm", json!({"version": "1.0.0", "requires": [{"app": "zbase"}]}));
    app(&mut catalog, "aaa", json!({"version": "1.0.0", "requires": [{"app": "crm"}]}));
    assert_eq!(names(&catalog, &["aaa", "crm", "zbase"]), ["core", "zbase", "crm", "aaa"]);
    assert_eq!(names(&catalog, &[]), ["core"]);
}

#[test]
fn an_app_that_nobody_declared_blocks_and_one_that_is_not_published_yet_waits() {
    let mut catalog = catalog();
    assert_eq!(refused(&catalog, &["crm"]).1, Reason::AppNotFound);
    catalog.declare("crm", &json!({"version": "1.0.0"}));
    let (class, reason, _) = refused(&catalog, &["crm"]);
    assert_eq!((class, reason), (Class::Transient, Reason::DependencyNotReady));
}

#[test]
fn the_version_that_was_named_last_is_taken_unless_another_is_asked_for() {
    let mut catalog = catalog();
    for version in ["1.9.0", "1.10.0", "1.8.0"] {
        app(&mut catalog, "crm", json!({"version": version}));
    }
    let crm = AppName::new("crm").unwrap();
    assert_eq!(catalog.resolve(&crm, None).unwrap().version.as_str(), "1.10.0");
    catalog.aim(&crm, &Version::new("1.8.0"), 2);
    catalog.aim(&crm, &Version::new("1.10.0"), 1);
    assert_eq!(catalog.resolve(&crm, None).unwrap().version.as_str(), "1.8.0");
    assert_eq!(catalog.resolve(&crm, Some(&Version::new("1.9.0"))).unwrap().version.as_str(), "1.9.0");
    let error = catalog.resolve(&crm, Some(&Version::new("2.0.0"))).unwrap_err();
    assert_eq!(error.reason(), Reason::AppVersionNotFound);
    assert!(error.to_string().contains("1.8.0, 1.9.0, 1.10.0"), "{error}");
}

#[test]
fn requirements_are_checked() {
    let mut catalog = catalog();
    app(&mut catalog, "base", json!({"version": "1.2.0"}));
    app(
        &mut catalog,
        "crm",
        json!({"version": "1.0.0", "requires": [{"app": "base", "minVersion": "1.3.0"}]}),
    );
    let (class, reason, message) = refused(&catalog, &["crm"]);
    assert_eq!((class, reason), (Class::Blocked, Reason::DependencyMissing));
    assert!(message.contains("add it to spec.apps"), "{message}");
    let (_, reason, message) = refused(&catalog, &["base", "crm"]);
    assert_eq!(reason, Reason::DependencyConflict);
    assert!(message.contains("1.3.0 or newer"), "{message}");
    app(&mut catalog, "base", json!({"version": "1.3.0"}));
    assert_eq!(names(&catalog, &["base", "crm"]), ["core", "base", "crm"]);
}

#[test]
fn a_cycle_is_named() {
    let mut catalog = catalog();
    app(&mut catalog, "one", json!({"version": "1.0.0", "requires": [{"app": "two"}]}));
    app(&mut catalog, "two", json!({"version": "1.0.0", "requires": [{"app": "one"}]}));
    let (class, reason, message) = refused(&catalog, &["one", "two"]);
    assert_eq!((class, reason), (Class::Blocked, Reason::DependencyCycle));
    assert!(message.contains("one, two"), "{message}");
}

#[test]
fn a_reference_into_another_app_must_meet_a_document_type() {
    let mut catalog = catalog();
    app(&mut catalog, "base", json!({"version": "1.0.0", "docTypes": [{"name": "party"}]}));
    let spec = |to: &str| {
        json!({
            "version": "1.0.0", "requires": [{"app": "base"}],
            "docTypes": [{"name": "deal", "fields": [
                {"name": "party", "type": "Reference", "to": to}, {"name": "paper", "type": "File"},
            ]}],
        })
    };
    app(&mut catalog, "crm", spec("base.party"));
    assert_eq!(names(&catalog, &["base", "crm"]), ["core", "base", "crm"]);
    app(&mut catalog, "crm", spec("base.nobody"));
    let (class, reason, message) = refused(&catalog, &["base", "crm"]);
    assert_eq!((class, reason), (Class::Blocked, Reason::ReferenceNotFound));
    assert!(message.contains("base has no document type nobody"), "{message}");
}
