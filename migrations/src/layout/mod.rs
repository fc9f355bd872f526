//! The table of a document type, column by column.
//!
//! Pure: the operator turns a layout into DDL, the control plane into DML. Both see the same columns because both start
//! from the same compiled definition.

mod column;
mod side;
mod sql_type;

use tenantry_crds::{
    core_app,
    definition::{AppDefinition, DocType, Field, FieldKind, Naming, ReferenceTarget},
    names::{RelationKind, RelationName, SideTable, TableName},
    v1alpha1::OnDelete,
};

pub use column::{Column, DefaultValue, PLATFORM_COLUMNS};
pub use side::{COUNTER_ROW, HISTORY_COLUMNS};
pub use sql_type::{SqlType, TypeChange};

/// The table of a document type.
#[derive(Debug, Clone, PartialEq)]
pub struct TableLayout {
    /// The table's name, without the schema.
    pub table: TableName,
    /// Platform columns first, then the fields in the order of the definition.
    pub columns: Vec<Column>,
    /// Indexes, the primary key (on `id`) left out.
    pub indexes: Vec<Index>,
    /// Foreign keys. They are made after every table of the tenant, since references may form a cycle.
    pub foreign_keys: Vec<ForeignKey>,
    /// The sequence of a naming series.
    pub series: Option<RelationName>,
    /// Tables beside it that hold what belongs to its documents.
    pub side: Side,
}

/// The tables beside that of a document type, by name; each has a layout of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Side {
    /// The versions of documents.
    pub history: Option<TableName>,
    /// The last number of a naming series that leaves none out.
    pub counter: Option<TableName>,
}

/// An index over one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The index's name.
    pub name: RelationName,
    /// The column.
    pub column: String,
    /// Whether no two documents may have the same value.
    pub unique: bool,
}

impl Index {
    fn plain(table: &TableName, column: &str) -> Self {
        let name = RelationName::of(table, column, RelationKind::Index);
        Self { name, column: column.to_owned(), unique: false }
    }
}

/// A reference to a document of another type, kept by the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The constraint's name.
    pub name: RelationName,
    /// The column.
    pub column: String,
    /// The table that it refers to, by its `id`.
    pub target: TableName,
    /// What becomes of a row when the one that it refers to is deleted.
    pub on_delete: OnDelete,
}

/// A reference that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{table}.{column} refers to {}.{}, which does not exist", .target.app, .target.doc_type)]
pub struct DanglingReference {
    /// The table that has the reference.
    pub table: TableName,
    /// The column.
    pub column: String,
    /// What it refers to.
    pub target: ReferenceTarget,
}

/// The definitions that a tenant uses together; references are resolved among them.
#[derive(Debug, Clone, Copy)]
pub struct Composition<'a, A>(pub &'a [A]);

impl<A: AsRef<AppDefinition>> Composition<'_, A> {
    /// The table layouts of all apps.
    ///
    /// # Errors
    /// The first reference that leads nowhere.
    pub fn tables(&self) -> Result<Vec<TableLayout>, DanglingReference> {
        let mut tables = Vec::new();
        for app in self.0 {
            tables.extend(self.tables_of(app.as_ref())?);
        }
        Ok(tables)
    }

    /// The table layouts of one app: of its document types, each with those beside it.
    ///
    /// # Errors
    /// The first reference that leads nowhere.
    pub fn tables_of(&self, app: &AppDefinition) -> Result<Vec<TableLayout>, DanglingReference> {
        let mut tables = Vec::with_capacity(app.doc_types.len());
        for doc_type in &app.doc_types {
            let layout = self.table(app, doc_type)?;
            let side = [
                layout.side.history.clone().map(side::history),
                layout.side.counter.clone().map(side::counter),
            ];
            tables.push(layout);
            tables.extend(side.into_iter().flatten());
        }
        Ok(tables)
    }

    /// The table layout of one document type.
    ///
    /// # Errors
    /// The first reference that leads nowhere.
    pub fn table(&self, app: &AppDefinition, doc_type: &DocType) -> Result<TableLayout, DanglingReference> {
        let table = TableName::of(&app.name, &doc_type.name);
        let mut layout = TableLayout {
            columns: column::platform_columns(doc_type),
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            series: matches!(doc_type.naming, Naming::Series(_))
                .then(|| RelationName::of(&table, "id", RelationKind::Series)),
            side: Side {
                history: doc_type.track_changes.then(|| table.beside(SideTable::History)),
                counter: matches!(doc_type.naming, Naming::Gapless(_))
                    .then(|| table.beside(SideTable::Counter)),
            },
            table: table.clone(),
        };
        for field in &doc_type.fields {
            self.add_field(&mut layout, field)?;
        }
        if let Some(ttl) = &doc_type.ttl
            && layout.indexes.iter().all(|index| index.column != ttl.column)
        {
            // Whoever looks for documents whose time has come must not read all of them.
            layout.indexes.push(Index::plain(&table, &ttl.column));
        }
        Ok(layout)
    }

    fn add_field(&self, layout: &mut TableLayout, field: &Field) -> Result<(), DanglingReference> {
        let column = field.name.as_str().to_owned();
        let target = match &field.kind {
            FieldKind::Reference(target) => Some(target.clone()),
            FieldKind::File => Some(core_app::file_target()),
            _ => None,
        };
        let sql_type = match &target {
            None => SqlType::of(&field.kind),
            Some(target) => {
                let dangling = || DanglingReference {
                    table: layout.table.clone(),
                    column: column.clone(),
                    target: target.clone(),
                };
                let naming = self.naming_of(target).ok_or_else(dangling)?;
                layout.foreign_keys.push(ForeignKey {
                    name: RelationName::of(&layout.table, &column, RelationKind::ForeignKey),
                    column: column.clone(),
                    target: TableName::of(&target.app, &target.doc_type),
                    on_delete: field.on_delete,
                });
                SqlType::of_id(naming)
            }
        };
        if field.unique || field.index || target.is_some() {
            let kind = if field.unique { RelationKind::Unique } else { RelationKind::Index };
            layout.indexes.push(Index {
                name: RelationName::of(&layout.table, &column, kind),
                column: column.clone(),
                unique: field.unique,
            });
        }
        layout.columns.push(Column::of(field, sql_type));
        Ok(())
    }

    fn naming_of(&self, target: &ReferenceTarget) -> Option<&Naming> {
        let app = self.0.iter().map(AsRef::as_ref).find(|app| app.name == target.app)?;
        app.doc_type(&target.doc_type).map(|doc_type| &doc_type.naming)
    }
}
