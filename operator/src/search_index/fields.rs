//! Whether the fields that a SearchIndex names can be searched, filtered and ordered by.

use std::collections::BTreeSet;

use tenantry_crds::{
    definition::{AppDefinition, DocType, FieldKind},
    names::DocTypeName,
    reason::Reason,
    v1alpha1::SearchIndexSpec,
};
use tenantry_migrations::registry::SearchSettings;

use crate::error::Error;

/// Columns of every table that may stand in filters and orders.
const PLATFORM_COLUMNS: [&str; 3] = ["created_at", "updated_at", "created_by"];

/// What the engine is configured with for `spec`, at this version of the app.
///
/// # Errors
/// [`Reason::ReferenceNotFound`] for what does not exist, `InvalidSpec` for what exists and cannot be used so.
pub(super) fn settings(spec: &SearchIndexSpec, app: &AppDefinition) -> Result<SearchSettings, Error> {
    let name = DocTypeName::new(&spec.doc_type)?;
    let doc_type = app.doc_type(&name).ok_or_else(|| {
        Error::blocked(
            Reason::ReferenceNotFound,
            format!("spec.docType: app {} {} has no document type {name}", app.name, app.version),
        )
    })?;
    check(&spec.searchable, "spec.searchable", doc_type, false)?;
    check(&spec.filterable, "spec.filterable", doc_type, true)?;
    check(&spec.sortable, "spec.sortable", doc_type, true)?;
    unordered(&spec.sortable, doc_type)?;
    Ok(SearchSettings {
        searchable: spec.searchable.clone(),
        filterable: with_row_rules(&spec.filterable, doc_type),
        sortable: spec.sortable.clone(),
    })
}

fn check(names: &[String], path: &str, doc_type: &DocType, platform: bool) -> Result<(), Error> {
    for name in names {
        match doc_type.field(name) {
            Some(field) if field.write_only => {
                return Err(Error::Invalid(format!(
                    "{path}: {name} is writeOnly, so it is never shown or searched"
                )));
            }
            Some(_) => {}
            None if platform && PLATFORM_COLUMNS.contains(&name.as_str()) => {}
            None => {
                return Err(Error::blocked(
                    Reason::ReferenceNotFound,
                    format!("{path}: {} has no field {name}", doc_type.name),
                ));
            }
        }
    }
    Ok(())
}

fn unordered(names: &[String], doc_type: &DocType) -> Result<(), Error> {
    let structured = |name: &&String| {
        let kind = doc_type.field(name).map(|field| &field.kind);
        matches!(kind, Some(FieldKind::Json | FieldKind::List { .. }))
    };
    match names.iter().find(structured) {
        Some(name) => {
            Err(Error::Invalid(format!("spec.sortable: {name} holds a structure, which has no order")))
        }
        None => Ok(()),
    }
}

/// Row rules are filters that the control plane adds to every search, so the engine has to know their columns.
fn with_row_rules(filterable: &[String], doc_type: &DocType) -> Vec<String> {
    let rules = doc_type.permissions.iter().flat_map(|permission| permission.rule.columns());
    let gone = doc_type.soft_delete.then_some(DocType::DELETED_AT);
    let standing = gone.into_iter().chain(doc_type.ttl.as_ref().map(|ttl| ttl.column.as_str()));
    let all: BTreeSet<&str> = filterable.iter().map(String::as_str).chain(rules).chain(standing).collect();
    all.into_iter().map(str::to_owned).collect()
}
