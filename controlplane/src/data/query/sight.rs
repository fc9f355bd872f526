//! What a caller may know of.

use tenantry_crds::v1alpha1::Action;

use crate::{
    auth::Caller,
    data::{
        model::{Catalog, ColumnModel, DocModel},
        permit::{self, Allowed},
    },
};

/// What a caller may know of: queries can name nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The document types of the tenant.
    pub catalog: &'a Catalog,
    /// Who asks.
    pub caller: &'a Caller,
}

impl Sight<'_> {
    /// The documents of this type that the caller may read.
    pub fn documents(&self, doc: &DocModel) -> Allowed {
        permit::allowed(doc, self.caller, Action::Read)
    }

    /// The column with this name, if the caller may read it.
    pub fn column<'d>(&self, doc: &'d DocModel, name: &str) -> Option<(usize, &'d ColumnModel)> {
        doc.readable(name)
    }

    /// The columns that the caller may read, by their place in the model.
    pub fn columns(&self, doc: &DocModel) -> Vec<usize> {
        (0..doc.columns.len()).filter(|n| doc.columns[*n].is_readable()).collect()
    }
}
