//! What a caller may know of.

use crate::{
    auth::Caller,
    data::{
        model::{Catalog, ColumnModel, DocModel},
        permit::Rights,
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
    /// What the caller may do with documents of this type.
    pub fn rights<'d>(&'d self, doc: &'d DocModel) -> Rights<'d> {
        Rights::of(doc, self.caller)
    }

    /// The column with this name, if the caller may read it of some documents.
    pub fn column<'d>(&self, doc: &'d DocModel, name: &str) -> Result<(usize, &'d ColumnModel), String> {
        let (column, _) = self.rights(doc).selectable(name)?;
        Ok((column, &doc.columns[column]))
    }

    /// The column with this name, if the caller may read it of all documents that the caller sees.
    pub fn comparable<'d>(&self, doc: &'d DocModel, name: &str) -> Result<(usize, &'d ColumnModel), String> {
        let (column, _) = self.rights(doc).comparable(name)?;
        Ok((column, &doc.columns[column]))
    }

    /// The columns that answers show to the caller, by their place in the model.
    pub fn columns(&self, doc: &DocModel) -> Vec<usize> {
        self.rights(doc).shown()
    }
}
