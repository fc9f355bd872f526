//! One document type.

use std::collections::HashMap;

use tenantry_crds::{
    core_app,
    definition::{DocType, Naming, Permission, Ttl},
    names::{AppName, DocTypeName, PluralName, RelationKind, RelationName, TableName},
};
use tenantry_migrations::layout::{Side, SqlType, TableLayout};

use super::ColumnModel;
use crate::{
    auth::{address, storable},
    data::permit::Grants,
};

/// A document type.
#[derive(Debug)]
pub struct DocModel {
    /// The app.
    pub app: AppName,
    /// The name, in the singular.
    pub name: DocTypeName,
    /// The name in the plural, as it stands in URLs.
    pub plural: PluralName,
    /// The table, without its schema.
    pub table: TableName,
    /// How a document gets its id.
    pub naming: Naming,
    /// The sequence of a naming series.
    pub series: Option<RelationName>,
    /// Columns that requests know of, in the order of the table: what the platform keeps for itself is not among them.
    pub columns: Vec<ColumnModel>,
    /// Who may do what, as the definition says it.
    pub permissions: Vec<Permission>,
    /// The same, compiled.
    pub grants: Grants,
    /// A deleted document is only marked.
    pub soft_delete: bool,
    /// When documents go by themselves.
    pub ttl: Option<Ttl>,
    /// The tables beside its own.
    pub side: Side,
    /// The column that keeps how another one was written.
    pub written: Option<Written>,
    by_name: HashMap<String, usize>,
    relations: HashMap<String, (Relation, usize)>,
}

/// What a constraint or index of a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// No two documents may have the same value.
    Unique,
    /// The value is the id of another document.
    Reference,
    /// The value is one of a list.
    OneOf,
}

/// The type and the field of `core` that hold what signing in computes: other hashes than those that it takes are refused.
const PASSWORD_HASH: (&str, &str) = ("user", "password_hash");
/// The same of API keys.
const KEY_HASH: (&str, &str) = ("api_key", "key_hash");

/// The field of the same type that says who somebody is: in one form, with what was written beside it.
const ADDRESS: (&str, &str) = ("user", "email");
const ADDRESS_AS_WRITTEN: &str = "email_as_written";

/// A column that holds the form in which values are compared, and the one that keeps how such a value was written. Both by their
/// place in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Holds the one form.
    pub form: usize,
    /// Holds what was written, where that is another text.
    pub text: usize,
}

/// What the definition does not declare; of types that allow it.
pub(super) const EXTRA: &str = "extra";

impl DocModel {
    pub(super) fn compile(app: &AppName, doc_type: &DocType, layout: &TableLayout) -> Self {
        let columns: Vec<ColumnModel> = layout
            .columns
            .iter()
            .filter(|column| column.name != EXTRA || doc_type.allow_extra)
            .map(|column| {
                let model = ColumnModel::new(column, doc_type.field(&column.name));
                if *app != core_app::name() {
                    return model;
                }
                match (doc_type.name.as_str(), column.name.as_str()) {
                    PASSWORD_HASH => model.of_digests().in_format(storable),
                    KEY_HASH => model.of_digests(),
                    ADDRESS => model.in_form(address::canonical),
                    _ => model,
                }
            })
            .collect();
        let by_name: HashMap<_, _> = columns.iter().enumerate().map(|(n, c)| (c.name.clone(), n)).collect();
        let of_address = |name: &str| by_name.get(name).copied().filter(|_| *app == core_app::name());
        let written = (doc_type.name.as_str() == ADDRESS.0)
            .then(|| Some(Written { form: of_address(ADDRESS.1)?, text: of_address(ADDRESS_AS_WRITTEN)? }))
            .flatten();
        let mut relations = HashMap::new();
        let mut relate = |name: &str, relation, column: &str| {
            if let Some(column) = by_name.get(column) {
                relations.insert(name.to_owned(), (relation, *column));
            }
        };
        for index in layout.indexes.iter().filter(|index| index.unique) {
            relate(index.name.as_str(), Relation::Unique, &index.column);
        }
        for key in &layout.foreign_keys {
            relate(key.name.as_str(), Relation::Reference, &key.column);
        }
        for column in layout.columns.iter().filter(|column| column.one_of.is_some()) {
            let check = RelationName::of(&layout.table, &column.name, RelationKind::Check);
            relate(check.as_str(), Relation::OneOf, &column.name);
        }
        Self {
            app: app.clone(),
            name: doc_type.name.clone(),
            plural: doc_type.plural.clone(),
            table: layout.table.clone(),
            naming: doc_type.naming.clone(),
            series: layout.series.clone(),
            permissions: doc_type.permissions.clone(),
            grants: Grants::compile(
                app,
                &doc_type.permissions,
                &columns,
                doc_type.soft_delete.then_some(DocType::DELETED_AT),
                doc_type.ttl.as_ref(),
            ),
            soft_delete: doc_type.soft_delete,
            ttl: doc_type.ttl.clone(),
            side: layout.side.clone(),
            written,
            columns,
            by_name,
            relations,
        }
    }

    /// The column with this name, with its place in [`Self::columns`].
    pub fn column(&self, name: &str) -> Option<(usize, &ColumnModel)> {
        let n = *self.by_name.get(name)?;
        Some((n, self.columns.get(n)?))
    }

    /// The column with this name, if callers may know of it.
    pub fn readable(&self, name: &str) -> Option<(usize, &ColumnModel)> {
        self.column(name).filter(|(_, column)| column.is_readable())
    }

    /// The columns whose values are sealed.
    pub fn sealed(&self) -> impl Iterator<Item = &ColumnModel> {
        self.columns.iter().filter(|column| column.sealed)
    }

    /// What the constraint or index with this name is for.
    pub fn relation(&self, name: &str) -> Option<(Relation, &ColumnModel)> {
        let (relation, n) = self.relations.get(name)?;
        Some((*relation, self.columns.get(*n)?))
    }

    /// Whether its documents are accounts, which people sign in to.
    pub fn is_account(&self) -> bool {
        // Only that type has the column; of an older `core` there is none yet.
        self.written.is_some()
    }

    /// `columns` with those that keep how their values were written.
    pub fn with_written(&self, columns: &[usize]) -> Vec<usize> {
        let written = self.written.filter(|written| columns.contains(&written.form));
        columns.iter().copied().chain(written.map(|written| written.text)).collect()
    }

    /// The name of the constraint that holds the reference in this column.
    pub fn reference(&self, column: usize) -> Option<&str> {
        let known = |(_, known): &(&String, &(Relation, usize))| **known == (Relation::Reference, column);
        self.relations.iter().find(known).map(|(name, _)| name.as_str())
    }

    /// The type of ids.
    pub fn id_type(&self) -> SqlType {
        SqlType::of_id(&self.naming)
    }
}
