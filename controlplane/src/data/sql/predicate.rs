//! Filters, row rules and cursors as conditions.

use tenantry_crds::v1alpha1::Operator;

use super::statement::{Statement, array};
use crate::data::{
    model::DocModel,
    permit::{self as rule, Allowed, Condition, Rights, Tested, Visible},
    query::{Comparison, Filter, Kind, Order, Quantifier, Subject, Syntax, Test, Words},
};

/// What `allowed` leaves, as a condition.
pub(super) fn rules(sql: &mut Statement, allowed: &Allowed) {
    rules_of(sql, allowed, &own);
}

/// The same, with `column` writing what is compared.
pub(super) fn rules_of(sql: &mut Statement, allowed: &Allowed, column: &dyn Fn(&mut Statement, &Tested)) {
    match allowed {
        Allowed::All => {
            sql.push("true");
        }
        Allowed::Denied => {
            sql.push("false");
        }
        Allowed::Rows(condition) => self::condition(sql, condition, column),
    }
}

/// ` AND` the rules, unless they allow everything.
pub(super) fn and_rules(sql: &mut Statement, allowed: &Allowed) {
    if *allowed != Allowed::All {
        sql.push(" AND ");
        rules(sql, allowed);
    }
}

/// The column of the row at hand.
pub(super) fn own(sql: &mut Statement, column: &Tested) {
    sql.ident(&column.name);
}

/// A condition, in parentheses where it has parts; `column` writes what is compared.
pub(super) fn condition(
    sql: &mut Statement,
    condition: &Condition<String>,
    column: &dyn Fn(&mut Statement, &Tested),
) {
    let mut several = |parts: &[Condition<String>], between: &str| {
        sql.push("(");
        for (n, part) in parts.iter().enumerate() {
            sql.push(if n > 0 { between } else { "" });
            self::condition(sql, part, column);
        }
        sql.push(")");
    };
    match condition {
        Condition::Always => drop(sql.push("true")),
        Condition::Never => drop(sql.push("false")),
        Condition::All(parts) => several(parts, " AND "),
        Condition::Any(parts) => several(parts, " OR "),
        Condition::Test(test) => self::test(sql, test, column),
    }
}

fn test(sql: &mut Statement, test: &rule::Test<String>, column: &dyn Fn(&mut Statement, &Tested)) {
    let cast = test.column.cast;
    let value = test.values.first().map(String::as_str);
    let list = || array(test.values.iter().map(String::as_str));
    if test.operator == Operator::NotIn {
        sql.push("NOT (");
    }
    column(sql, &test.column);
    match test.operator {
        Operator::In => drop(sql.push(" = ANY (").bind(Some(&list()), &format!("{cast}[]")).push(")")),
        Operator::NotIn => drop(sql.push(" = ANY (").bind(Some(&list()), &format!("{cast}[]")).push("))")),
        Operator::IsNull => drop(sql.push(" IS NULL")),
        Operator::NotNull => drop(sql.push(" IS NOT NULL")),
        Operator::Eq => drop(sql.push(" = ").bind(value, cast)),
        Operator::Neq => drop(sql.push(" <> ").bind(value, cast)),
        Operator::Gt => drop(sql.push(" > ").bind(value, cast)),
        Operator::Gte => drop(sql.push(" >= ").bind(value, cast)),
        Operator::Lt => drop(sql.push(" < ").bind(value, cast)),
        Operator::Lte => drop(sql.push(" <= ").bind(value, cast)),
    }
}

/// The columns in these places, as far as the caller sees them: NULL in a document whose value is hidden. Nothing for one that
/// is never seen.
pub(super) fn shown(sql: &mut Statement, rights: &Rights<'_>, places: &[usize]) {
    let columns = places.iter().filter_map(|place| Some((*place, rights.doc().columns.get(*place)?)));
    for (n, (place, column)) in columns.enumerate() {
        sql.push(if n > 0 { ", " } else { "" });
        match rights.visible(place) {
            Visible::Where(condition) => {
                sql.push("CASE WHEN ");
                self::condition(sql, &condition, &own);
                sql.push(" THEN ").ident(&column.name).push(" END AS ").ident(&column.name);
            }
            Visible::Yes | Visible::No => drop(sql.ident(&column.name)),
        }
    }
}

/// What `subject` stands for in SQL.
pub(super) fn subject(sql: &mut Statement, doc: &DocModel, subject: &Subject) {
    let Some(column) = doc.columns.get(subject.column) else { return };
    match &subject.path {
        None => {
            sql.ident(&column.name);
        }
        Some(path) => {
            let steps = array(path.steps.iter().map(String::as_str));
            sql.push("(").ident(&column.name).push(if path.text { " #>> " } else { " #> " });
            sql.bind(Some(&steps), "text[]").push(")");
        }
    }
}

pub(super) fn filter(sql: &mut Statement, doc: &DocModel, filter: &Filter) {
    let Some(kind) = filter.subject.kind(doc) else { return };
    let cast = kind.cast();
    sql.push(if filter.negated { "NOT (" } else { "(" });
    if let Test::Words(words) = &filter.test {
        self::words(sql, doc, &filter.subject, words);
        sql.push(")");
        return;
    }
    subject(sql, doc, &filter.subject);
    match &filter.test {
        Test::Compare(comparison, value) => {
            sql.push(operator(*comparison)).bind(Some(value), cast);
        }
        Test::Each(comparison, quantifier, values) => {
            let values = array(values.iter().map(String::as_str));
            sql.push(operator(*comparison)).push(match quantifier {
                Quantifier::Any => "ANY (",
                Quantifier::All => "ALL (",
            });
            sql.bind(Some(&values), &format!("{cast}[]")).push(")");
        }
        Test::In(values) => {
            let values = array(values.iter().map(String::as_str));
            sql.push(" = ANY (").bind(Some(&values), &format!("{cast}[]")).push(")");
        }
        Test::Null => {
            sql.push(" IS NULL");
        }
        Test::Truth(wanted) => {
            sql.push(if *wanted { " IS TRUE" } else { " IS FALSE" });
        }
        Test::Distinct(value) => {
            sql.push(" IS DISTINCT FROM ").bind(Some(value), cast);
        }
        Test::Contains(value) => {
            sql.push(" @> ").bind(Some(value), "jsonb");
        }
        Test::ContainedIn(value) => {
            sql.push(" <@ ").bind(Some(value), "jsonb");
        }
        Test::Overlaps(values) => {
            let values = array(values.iter().map(String::as_str));
            sql.push(" ?| ").bind(Some(&values), "text[]");
        }
        // Written above.
        Test::Words(_) => {}
    }
    sql.push(")");
}

fn words(sql: &mut Statement, doc: &DocModel, of: &Subject, words: &Words) {
    let language = |sql: &mut Statement| {
        if let Some(language) = words.language {
            sql.bind(Some(language), "regconfig").push(", ");
        }
    };
    sql.push("to_tsvector(");
    language(sql);
    subject(sql, doc, of);
    sql.push(match words.syntax {
        Syntax::Query => ") @@ to_tsquery(",
        Syntax::Plain => ") @@ plainto_tsquery(",
        Syntax::Phrase => ") @@ phraseto_tsquery(",
        Syntax::Web => ") @@ websearch_to_tsquery(",
    });
    language(sql);
    sql.bind(Some(&words.query), "text").push(")");
}

fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => " = ",
        Comparison::NotEqual => " <> ",
        Comparison::Greater => " > ",
        Comparison::GreaterOrEqual => " >= ",
        Comparison::Less => " < ",
        Comparison::LessOrEqual => " <= ",
        Comparison::Like => " LIKE ",
        Comparison::LikeAnyCase => " ILIKE ",
        Comparison::Matches => " ~ ",
        Comparison::MatchesAnyCase => " ~* ",
    }
}

/// ` ORDER BY` this.
pub(super) fn order(sql: &mut Statement, doc: &DocModel, order: &[Order]) {
    for (n, term) in order.iter().enumerate() {
        sql.push(if n == 0 { " ORDER BY " } else { ", " });
        subject(sql, doc, &term.subject);
        sql.push(if term.descending { " DESC" } else { "" });
        sql.push(match (term.descending, term.nulls_first) {
            (true, false) => " NULLS LAST",
            (false, true) => " NULLS FIRST",
            _ => "",
        });
    }
}

/// Whatever comes after the item with these values.
pub(super) fn after(sql: &mut Statement, doc: &DocModel, order: &[Order], values: &[Option<String>]) {
    let keys: Vec<Key<'_>> = order
        .iter()
        .zip(values)
        .filter_map(|(order, value)| {
            Some(Key { doc, order, kind: order.subject.kind(doc)?, value: value.as_deref() })
        })
        .collect();
    let Some(first) = keys.first() else {
        // Such a cursor continues no list.
        sql.push("false");
        return;
    };
    let one_way = keys.iter().all(|key| key.order.descending == first.order.descending);
    if one_way && keys.iter().all(|key| key.kind.is_not_null()) {
        // An index over the columns can start right there.
        for (n, key) in keys.iter().enumerate() {
            sql.push(if n > 0 { ", " } else { "(" });
            key.subject(sql);
        }
        sql.push(if first.order.descending { ") < (" } else { ") > (" });
        for (n, key) in keys.iter().enumerate() {
            sql.push(if n > 0 { ", " } else { "" });
            key.value(sql);
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
    doc: &'a DocModel,
    order: &'a Order,
    kind: Kind<'a>,
    value: Option<&'a str>,
}

impl Key<'_> {
    fn subject(&self, sql: &mut Statement) {
        subject(sql, self.doc, &self.order.subject);
    }

    fn value(&self, sql: &mut Statement) {
        sql.bind(self.value, self.kind.cast());
    }

    fn same(&self, sql: &mut Statement) {
        self.subject(sql);
        if self.value.is_none() {
            sql.push(" IS NULL");
        } else {
            sql.push(" = ");
            self.value(sql);
        }
    }

    fn beyond(&self, sql: &mut Statement) {
        match (self.value, self.order.nulls_first) {
            (None, false) => {
                sql.push("false");
            }
            (None, true) => {
                self.subject(sql);
                sql.push(" IS NOT NULL");
            }
            (Some(_), nulls_first) => {
                sql.push("(");
                self.subject(sql);
                sql.push(if self.order.descending { " < " } else { " > " });
                self.value(sql);
                if !nulls_first {
                    sql.push(" OR ");
                    self.subject(sql);
                    sql.push(" IS NULL");
                }
                sql.push(")");
            }
        }
    }
}
