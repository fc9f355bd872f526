//! The tables beside that of a document type. They are tables of the tenant's as the others are: made, granted, exported,
//! restored and dropped with them.

use tenantry_crds::names::TableName;

use super::{Column, DefaultValue, Index, Side, SqlType, TableLayout};

/// Columns of a history, in order.
pub const HISTORY_COLUMNS: [&str; 7] = ["id", "doc_id", "doc_version", "action", "actor", "at", "body"];
/// The `id` of the one row that a counter has.
pub const COUNTER_ROW: &str = "series";

/// A row for each version of a document: what it was made by, and the document as answers show it.
pub(super) fn history(table: TableName) -> TableLayout {
    let of = |name: &str| {
        let (sql_type, not_null, default) = match name {
            "id" => (SqlType::Uuid, true, None),
            "doc_version" => (SqlType::BigInt, true, None),
            "at" => (SqlType::Timestamptz, true, Some(DefaultValue::Now)),
            "body" => (SqlType::Jsonb, true, None),
            _ => (SqlType::Text, true, None),
        };
        Column { name: name.to_owned(), sql_type, not_null, default, one_of: None }
    };
    TableLayout {
        columns: HISTORY_COLUMNS.map(of).into(),
        indexes: vec![Index::plain(&table, "doc_id")],
        foreign_keys: Vec::new(),
        series: None,
        side: Side::default(),
        table,
    }
}

/// One row, [`COUNTER_ROW`], with the last number: a row is counted up and taken back with its transaction, a sequence is not.
pub(super) fn counter(table: TableName) -> TableLayout {
    let column = |name: &str, sql_type| Column {
        name: name.to_owned(),
        sql_type,
        not_null: true,
        default: None,
        one_of: None,
    };
    TableLayout {
        columns: vec![column("id", SqlType::Text), column("last", SqlType::BigInt)],
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        series: None,
        side: Side::default(),
        table,
    }
}
