//! What becomes of other documents when one is deleted.

use std::{collections::HashMap, sync::Arc};

use tenantry_crds::{core_app, definition::FieldKind, names::TableName, v1alpha1::OnDelete};

use super::DocModel;

/// Which document types refer to each, and what their documents do when the one that they refer to is deleted.
#[derive(Debug, Default)]
pub struct Referrers(HashMap<TableName, Vec<Referrer>>);

/// A reference of another type.
#[derive(Debug, Clone)]
pub struct Referrer {
    /// The type that refers.
    pub doc: Arc<DocModel>,
    /// The column that does.
    pub column: String,
    /// What becomes of its document.
    pub on_delete: OnDelete,
}

/// What goes with the documents of a type, and what is changed.
#[derive(Debug, Default)]
pub struct Consequences<'a> {
    /// Types whose documents may go, too. The type itself is among them when it refers to itself.
    pub doomed: Vec<&'a DocModel>,
    /// References by which they go: the type that is referred to, and the reference.
    pub ways: Vec<(&'a TableName, &'a Referrer)>,
    /// References that are emptied: the type that is referred to, and the reference.
    pub emptied: Vec<(&'a TableName, &'a Referrer)>,
}

impl Referrers {
    pub(super) fn between<'a>(types: impl Iterator<Item = &'a Arc<DocModel>>) -> Self {
        let mut found: HashMap<TableName, Vec<Referrer>> = HashMap::new();
        for doc in types {
            for column in &doc.columns {
                let Some(field) = column.field() else { continue };
                let target = match &field.kind {
                    FieldKind::Reference(target) => target.clone(),
                    FieldKind::File => core_app::file_target(),
                    _ => continue,
                };
                let referrer = Referrer {
                    doc: Arc::clone(doc),
                    column: column.name.clone(),
                    on_delete: field.on_delete,
                };
                found.entry(TableName::of(&target.app, &target.doc_type)).or_default().push(referrer);
            }
        }
        // The catalog has no order; the same type must make the same statement in every process.
        for referrers in found.values_mut() {
            referrers.sort_by(|a, b| (&a.doc.table, &a.column).cmp(&(&b.doc.table, &b.column)));
        }
        Self(found)
    }

    /// The references to documents of this type.
    pub fn of(&self, doc: &DocModel) -> &[Referrer] {
        self.0.get(&doc.table).map(Vec::as_slice).unwrap_or_default()
    }

    /// What the deletion of documents of this type leads to.
    pub fn consequences<'a>(&'a self, doc: &'a DocModel) -> Consequences<'a> {
        let mut found = Consequences::default();
        let mut seen = vec![doc];
        let mut at = 0;
        while let Some(doc) = seen.get(at).copied() {
            at += 1;
            for referrer in self.of(doc) {
                match referrer.on_delete {
                    OnDelete::Restrict => {}
                    OnDelete::SetNull => found.emptied.push((&doc.table, referrer)),
                    OnDelete::Cascade => {
                        found.ways.push((&doc.table, referrer));
                        if found.doomed.iter().all(|known| known.table != referrer.doc.table) {
                            found.doomed.push(&referrer.doc);
                        }
                        if seen.iter().all(|known| known.table != referrer.doc.table) {
                            seen.push(&referrer.doc);
                        }
                    }
                }
            }
        }
        found
    }
}

impl Consequences<'_> {
    /// Whether no other document is touched.
    pub fn is_empty(&self) -> bool {
        self.ways.is_empty() && self.emptied.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Catalog;
    use crate::fixture;

    const SPEC: &str = "
version: 1.0.0
docTypes:
  - name: folder
    fields: [{name: parent, type: Reference, to: folder, onDelete: Cascade}]
  - name: paper
    fields:
      - {name: folder, type: Reference, to: folder, onDelete: Cascade}
      - {name: cover, type: Reference, to: paper, onDelete: SetNull}
  - name: loan
    fields: [{name: paper, type: Reference, to: paper}]
";

    #[test]
    fn references_are_followed_as_far_as_they_lead() {
        let catalog = Catalog::compile(&[fixture::app("lib", SPEC)]);
        let of = |plural: &str| catalog.referrers().consequences(catalog.doc_type("lib", plural).unwrap());
        let folder = of("folders");
        let doomed: Vec<_> = folder.doomed.iter().map(|doc| doc.name.as_str()).collect();
        assert_eq!(doomed, ["folder", "paper"]);
        assert_eq!((folder.ways.len(), folder.emptied.len()), (2, 1));
        assert!(of("papers").doomed.is_empty() && !of("papers").is_empty());
        assert!(of("loans").is_empty());
    }
}
