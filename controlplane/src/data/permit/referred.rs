//! What a document refers to, as far as its writer may know of it.

use std::sync::Arc;

use tenantry_crds::{core_app, v1alpha1::Action};

use super::rights::{Allowed, Rights};
use crate::{
    auth::Caller,
    data::model::{Catalog, DocModel},
};

/// A reference whose document the writer has to be able to read.
#[derive(Debug)]
pub struct Referred {
    /// The column that refers, by its place in the model.
    pub column: usize,
    /// The name of the constraint that holds the reference.
    pub constraint: String,
    /// The type that it refers to.
    pub target: Arc<DocModel>,
    /// Which documents of it the writer may read.
    pub visible: Allowed,
}

impl Referred {
    /// Of `columns`, those that refer to documents of which `caller` may not read every one. Users and files are referred to by whoever
    /// has their ids: nobody but administrators reads the documents of `core`.
    pub fn among(doc: &DocModel, columns: &[usize], catalog: &Catalog, caller: &Caller) -> Vec<Self> {
        let of = |column: &usize| {
            let name = &doc.columns.get(*column)?.name;
            let target = catalog.links().target(doc, name).filter(|target| target.app != core_app::name())?;
            let visible = Rights::of(target, caller).permitted(Action::Read);
            let constraint = doc.reference(*column).filter(|_| visible != Allowed::All)?.to_owned();
            Some(Self { column: *column, constraint, target: Arc::clone(target), visible })
        };
        columns.iter().filter_map(of).collect()
    }
}
