//! Filters, row rules and cursors as conditions.

use super::statement::{Statement, array};
use crate::data::{
    model::{ColumnModel, DocModel},
    permit::{AllOf, Allowed},
    query::{Comparison, Filter, ListQuery, Order, Test},
};

/// What `allowed` leaves, as a condition.
pub(super) fn rules(sql: &mut Statement, allowed: &Allowed) {
    match allowed {
        Allowed::All => {
            sql.push("true");
        }
        Allowed::Denied => {
            sql.push("false");
        }
        Allowed::Rows(rows) => {
            for (n, AllOf(conditions)) in rows.iter().enumerate() {
                sql.push(if n == 0 { "((" } else { " OR (" });
                for (n, condition) in conditions.iter().enumerate() {
                    sql.push(if n > 0 { " AND " } else { "" });
                    sql.ident(&condition.column).push(" = ").bind(Some(&condition.value), "text");
                }
                sql.push(")");
            }
            sql.push(")");
        }
    }
}

/// ` AND` the rules, unless they allow everything.
pub(super) fn and_rules(sql: &mut Statement, allowed: &Allowed) {
    if *allowed != Allowed::All {
        sql.push(" AND ");
        rules(sql, allowed);
    }
}

pub(super) fn filter(sql: &mut Statement, doc: &DocModel, filter: &Filter) {
    let Some(column) = doc.columns.get(filter.column) else { return };
    sql.push(if filter.negated { "NOT (" } else { "(" }).ident(&column.name);
    match &filter.test {
        Test::Compare(comparison, value) => {
            sql.push(operator(*comparison)).bind_for(column, Some(value));
        }
        Test::In(values) => {
            let values = array(values.iter().map(String::as_str));
            sql.push(" = ANY (").bind(Some(&values), &format!("{}[]", column.cast())).push(")");
        }
        Test::Like(pattern) => {
            sql.push(" ILIKE ").bind(Some(pattern), "text");
        }
        Test::Null => {
            sql.push(" IS NULL");
        }
    }
    sql.push(")");
}

fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => " = ",
        Comparison::NotEqual => " <> ",
        Comparison::Greater => " > ",
        Comparison::GreaterOrEqual => " >= ",
        Comparison::Less => " < ",
        Comparison::LessOrEqual => " <= ",
    }
}

/// Whatever comes after the item with these values.
pub(super) fn after(sql: &mut Statement, doc: &DocModel, query: &ListQuery, values: &[Option<String>]) {
    let keys: Vec<Key<'_>> = query
        .order
        .iter()
        .zip(values)
        .filter_map(|(order, value)| {
            Some(Key { order: *order, column: doc.columns.get(order.column)?, value: value.as_deref() })
        })
        .collect();
    let one_way = keys.iter().all(|key| key.order.descending == keys[0].order.descending);
    if one_way && keys.iter().all(|key| key.column.not_null) {
        // An index over the columns can start right there.
        sql.push("(").columns(keys.iter().map(|key| key.column));
        sql.push(if keys[0].order.descending { ") < (" } else { ") > (" });
        for (n, key) in keys.iter().enumerate() {
            sql.push(if n > 0 { ", " } else { "" }).bind_for(key.column, key.value);
        }
        sql.push(")");
        return;
    }
    sql.push("(");
    for last in 0..keys.len() {
        sql.push(if last > 0 { " OR (" } else { "(" });
        for (n, key) in keys.iter().enumerate().take(last + 1) {
            sql.push(if n > 0 { " AND " } else { "" });
            if n < last { key.same(sql) } else { key.beyond(sql) }
        }
        sql.push(")");
    }
    sql.push(")");
}

struct Key<'a> {
    order: Order,
    column: &'a ColumnModel,
    value: Option<&'a str>,
}

impl Key<'_> {
    fn same(&self, sql: &mut Statement) {
        sql.ident(&self.column.name);
        match self.value {
            None => {
                sql.push(" IS NULL");
            }
            value => {
                sql.push(" = ").bind_for(self.column, value);
            }
        }
    }

    /// NULL is above every value.
    fn beyond(&self, sql: &mut Statement) {
        let name = &self.column.name;
        match (self.value, self.order.descending) {
            (None, false) => {
                sql.push("false");
            }
            (None, true) => {
                sql.ident(name).push(" IS NOT NULL");
            }
            (value, true) => {
                sql.ident(name).push(" < ").bind_for(self.column, value);
            }
            (value, false) => {
                sql.push("(").ident(name).push(" > ").bind_for(self.column, value);
                sql.push(" OR ").ident(name).push(" IS NULL)");
            }
        }
    }
}
