//! The document types of a set of apps.

use std::{collections::HashMap, sync::Arc};

use tenantry_crds::{
    definition::AppDefinition,
    names::{AppName, PluralName},
};
use tenantry_migrations::layout::Composition;

use super::{DocModel, Links, Referrers};

/// The document types of a set of apps, by app and plural, and how they refer to each other.
#[derive(Debug, Default)]
pub struct Catalog {
    types: HashMap<AppName, HashMap<PluralName, Arc<DocModel>>>,
    links: Links,
    referrers: Referrers,
}

impl Catalog {
    /// Compiles the document types of `apps`.
    ///
    /// The operator installs no set with a reference that leads nowhere. Should one appear, the type that has it is left out
    /// and named in the log; the others are served.
    pub fn compile(apps: &[Arc<AppDefinition>]) -> Self {
        let composition = Composition(apps);
        let mut catalog = Self::default();
        for app in apps {
            let types = catalog.types.entry(app.name.clone()).or_default();
            for doc_type in &app.doc_types {
                match composition.table(app, doc_type) {
                    Ok(layout) => {
                        let model = DocModel::compile(&app.name, doc_type, &layout);
                        types.insert(doc_type.plural.clone(), Arc::new(model));
                    }
                    Err(error) => {
                        tracing::error!(app = %app.name, version = app.version, %error, "document type left out");
                    }
                }
            }
        }
        catalog.links = Links::between(catalog.types.values().flat_map(HashMap::values));
        catalog.referrers = Referrers::between(catalog.types.values().flat_map(HashMap::values));
        catalog
    }

    /// All document types with their plurals, by app and plural.
    pub fn types(&self) -> impl Iterator<Item = (&str, &DocModel)> {
        let types = self.types.values().flatten().map(|(plural, doc)| (plural.as_str(), doc.as_ref()));
        let mut types: Vec<_> = types.collect();
        types.sort_by(|a, b| (a.1.app.as_str(), a.0).cmp(&(b.1.app.as_str(), b.0)));
        types.into_iter()
    }

    /// How document types refer to each other.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Which types refer to each, and what becomes of their documents.
    pub fn referrers(&self) -> &Referrers {
        &self.referrers
    }

    /// The document type with this plural.
    pub fn doc_type(&self, app: &str, plural: &str) -> Option<&Arc<DocModel>> {
        self.types.get(app)?.get(plural)
    }
}
