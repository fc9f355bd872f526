//! What a pass tells about a tenant. Pure.

use std::{collections::BTreeMap, fmt::Display};

use tenantry_crds::{
    core_app,
    names::AppName,
    v1alpha1::{InstalledApp, TenantSpec, TenantStatus},
};

use super::desired::{Desired, DesiredApp};
use crate::{
    backend::postgres::{
        change::{Changes, RowChange},
        observe::Observed,
    },
    catalog::Version,
};

/// The versions that the tables are at after `changes`.
pub fn installed(status: &mut TenantStatus, desired: &Desired, changes: &Changes, observed: &Observed) {
    let now_at = |app: &DesiredApp| {
        let made = |row: &RowChange| matches!(row, RowChange::InstallApp(name, _) if *name == app.name);
        if changes.rows.iter().any(made) {
            return Some(app.version.clone());
        }
        observed.apps.iter().find(|row| row.app == app.name.as_str()).map(|row| row.version.clone())
    };
    let app = |app: &DesiredApp| {
        let version = now_at(app)?;
        let target = (version != app.version).then(|| app.version.clone());
        Some(InstalledApp { name: app.name.as_str().to_owned(), version, target })
    };
    let mut apps: Vec<InstalledApp> = desired.apps.iter().filter_map(app).collect();
    apps.sort_by(|a, b| a.name.cmp(&b.name));
    status.apps_installed = Some(line(&apps));
    status.apps = apps;
}

/// Some of what is under way, and the number of the rest.
pub fn sample<T: Display>(all: &[T]) -> String {
    const SHOWN: usize = 3;
    let mut texts: Vec<String> = all.iter().take(SHOWN).map(T::to_string).collect();
    if all.len() > SHOWN {
        texts.push(format!("{} more", all.len() - SHOWN));
    }
    texts.join(", ")
}

/// The pass failed on the way to these versions.
pub fn aims(status: &mut TenantStatus, aims: &BTreeMap<AppName, Version>) {
    for app in &mut status.apps {
        let aim =
            aims.iter().find(|(name, _)| name.as_str() == app.name).map(|(_, version)| version.as_str());
        app.target = aim.filter(|aim| *aim != app.version).map(str::to_owned);
    }
}

/// `crm 1.0.0, desk 2.1.0`. `core` is in every tenant and says nothing here.
fn line(apps: &[InstalledApp]) -> String {
    let core = core_app::name();
    let named: Vec<String> = apps
        .iter()
        .filter(|app| app.name != core.as_str())
        .map(|app| format!("{} {}", app.name, app.version))
        .collect();
    named.join(", ")
}

/// Fields that are set and that this release does not act on.
pub fn not_supported(spec: &TenantSpec) -> Vec<String> {
    let mut fields = Vec::new();
    if spec.quotas.as_ref().is_some_and(|quotas| quotas.storage_bytes.is_some()) {
        fields.push("spec.quotas.storageBytes".to_owned());
    }
    let with_settings = spec.apps.iter().filter(|app| app.settings.is_some());
    fields.extend(with_settings.map(|app| format!("spec.apps[{}].settings", app.name)));
    fields
}

/// `1 table`, `2 tables`; an index or match takes `es`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tenantry_crds::v1alpha1::TenantApp;

    use super::*;

    #[test]
    fn core_is_left_out_of_the_line() {
        let app = |name: &str, version: &str| InstalledApp {
            name: name.into(),
            version: version.into(),
            target: None,
        };
        assert_eq!(
            line(&[app("core", "1.0.0"), app("crm", "1.0.0"), app("desk", "2.1.0")]),
            "crm 1.0.0, desk 2.1.0"
        );
        assert_eq!(line(&[app("core", "1.0.0")]), "");
    }

    #[test]
    fn what_is_not_acted_on_is_named() {
        let mut spec = TenantSpec::default();
        assert!(not_supported(&spec).is_empty());
        spec.apps = vec![TenantApp { name: "crm".into(), version: None, settings: Some(json!({"a": 1})) }];
        spec.quotas =
            serde_json::from_value(json!({"requestsPerMinute": 60, "storageBytes": "1Gi"})).unwrap();
        assert_eq!(not_supported(&spec), ["spec.quotas.storageBytes", "spec.apps[crm].settings"]);
    }
}
