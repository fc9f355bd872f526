//! Parameters and permissions as an expression of the engine. Pure.
//!
//! Names come from the settings of the index, values are quoted: nothing of a request becomes syntax.

use serde_json::{Map, Value, json};
use tenantry_crds::v1alpha1::Operator;
use tenantry_migrations::registry::SearchSettings;

use crate::{
    data::{Allowed, Condition, Rights, Visible},
    error::{ApiError, FieldError},
};

const LIMIT_USUAL: usize = 20;
/// The engine looks no further than its thousandth hit.
const WINDOW: usize = 1000;
const MAX_TEXT_CHARS: usize = 500;
const MAX_PARAMETERS: usize = 50;
/// The engine cuts longer filter values, and would then compare something else.
const MAX_VALUE_BYTES: usize = 468;
const OPERATORS: &str = "eq, neq, gt, gte, lt, lte, in, is";

/// What is searched for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wanted {
    text: String,
    limit: usize,
    offset: usize,
    facets: Vec<String>,
    order: Vec<String>,
    conditions: Vec<String>,
    /// The fields that the text is looked up in, where that is not all of the index's.
    within: Option<Vec<String>>,
}

impl Wanted {
    /// Reads the parameters of a search; fields are those that the index can filter and order by, less `hidden` ones.
    ///
    /// # Errors
    /// All parameters that cannot be used.
    pub(super) fn parse(
        parameters: &[(String, String)],
        settings: &SearchSettings,
        hidden: impl Fn(&str) -> bool,
    ) -> Result<Self, ApiError> {
        let mut wanted = Self { limit: LIMIT_USUAL, ..Self::default() };
        let mut errors = Vec::new();
        if parameters.len() > MAX_PARAMETERS {
            return Err(ApiError::bad_request("a search takes at most 50 parameters"));
        }
        let fields =
            |of: &[String]| -> Vec<String> { of.iter().filter(|field| !hidden(field)).cloned().collect() };
        let (filterable, sortable) = (fields(&settings.filterable), fields(&settings.sortable));
        let searchable = fields(&settings.searchable);
        if searchable.is_empty() {
            return Err(ApiError::forbidden("you may read none of the fields that are searched"));
        }
        if searchable.len() < settings.searchable.len() {
            wanted.within = Some(searchable);
        }
        for (name, value) in parameters {
            if let Err(problem) = wanted.add(name, value, &filterable, &sortable) {
                errors.push(FieldError { pointer: name.clone(), message: problem });
            }
        }
        if errors.is_empty() && wanted.limit + wanted.offset > WINDOW {
            errors.push(FieldError {
                pointer: "offset".into(),
                message: format!("limit and offset together must not be above {WINDOW}; narrow the search"),
            });
        }
        if errors.is_empty() {
            Ok(wanted)
        } else {
            Err(ApiError::bad_request("the search cannot be read").with_errors(errors))
        }
    }

    fn add(
        &mut self,
        name: &str,
        value: &str,
        filterable: &[String],
        sortable: &[String],
    ) -> Result<(), String> {
        match name {
            "q" if value.chars().count() > MAX_TEXT_CHARS => {
                Err("must not have more than 500 characters".into())
            }
            "q" => {
                self.text = value.to_owned();
                Ok(())
            }
            "limit" => number(value, 1).map(|n| self.limit = n),
            "offset" => number(value, 0).map(|n| self.offset = n),
            "facets" => {
                self.facets = value.split(',').map(str::to_owned).collect();
                self.facets.iter().try_for_each(|field| known(field, filterable, "counted"))
            }
            "order" => {
                self.order = value.split(',').map(|term| order(term, sortable)).collect::<Result<_, _>>()?;
                Ok(())
            }
            field => {
                known(field, filterable, "filtered")?;
                self.conditions.push(condition(field, value)?);
                Ok(())
            }
        }
    }

    /// The query for the engine, limited to what `allowed` lets the caller read.
    pub(super) fn query(&self, allowed: &Allowed) -> Value {
        let mut filter = self.conditions.clone();
        filter.extend(permitted(allowed));
        let mut query = Map::new();
        query.insert("q".into(), json!(self.text));
        query.insert("limit".into(), json!(self.limit));
        query.insert("offset".into(), json!(self.offset));
        if !filter.is_empty() {
            // A list of expressions that must all hold.
            query.insert("filter".into(), json!(filter));
        }
        if !self.order.is_empty() {
            query.insert("sort".into(), json!(self.order));
        }
        if !self.facets.is_empty() {
            query.insert("facets".into(), json!(self.facets));
        }
        if let Some(within) = &self.within {
            // A hit by a field that the caller does not see would tell its value.
            query.insert("attributesToSearchOn".into(), json!(within));
        }
        Value::Object(query)
    }
}

/// The columns that `allowed` compares: the index must be able to filter by them.
pub(super) fn compared(allowed: &Allowed) -> Vec<&str> {
    match allowed {
        Allowed::Rows(condition) => condition.columns().iter().map(|column| column.name.as_str()).collect(),
        Allowed::All | Allowed::Denied => Vec::new(),
    }
}

/// Whether `allowed` lets the caller read `document`. The engine compares texts without regard to case and times as texts, which
/// is good for searches and not enough for permissions.
pub(super) fn may_read(allowed: &Allowed, document: &Map<String, Value>) -> bool {
    match allowed {
        Allowed::Denied => false,
        Allowed::All => true,
        Allowed::Rows(condition) => condition.holds(document),
    }
}

/// As much of a document as the caller sees: a field that the caller sees of other documents only is null.
pub(super) fn shown(rights: &Rights<'_>, document: Map<String, Value>) -> Map<String, Value> {
    let columns = rights.doc().columns.iter().enumerate();
    let hidden: Vec<(&str, bool)> = columns
        .filter_map(|(n, column)| match rights.visible(n) {
            Visible::Yes => None,
            Visible::No => Some((column.name.as_str(), true)),
            Visible::Where(condition) => {
                (!condition.holds(&document)).then_some((column.name.as_str(), false))
            }
        })
        .collect();
    let mut document = document;
    for (name, gone) in hidden {
        match document.get_mut(name) {
            Some(_) if gone => drop(document.remove(name)),
            Some(value) => *value = Value::Null,
            None => {}
        }
    }
    document
}

fn permitted(allowed: &Allowed) -> Option<String> {
    match allowed {
        Allowed::All => None,
        // Matches nothing: no document is without a key.
        Allowed::Denied => Some("id IS NULL".into()),
        Allowed::Rows(condition) => Some(rule(condition)),
    }
}

/// A rule as an expression of the engine. Where its comparison differs from that of Postgres it may let a document through that
/// [`may_read`] then refuses.
fn rule(condition: &Condition<String>) -> String {
    let several = |parts: &[Condition<String>], between: &str| {
        let parts: Vec<_> = parts.iter().map(rule).collect();
        format!("({})", parts.join(between))
    };
    match condition {
        Condition::Always => "id EXISTS".into(),
        Condition::Never => "id IS NULL".into(),
        Condition::All(parts) => several(parts, " AND "),
        Condition::Any(parts) => several(parts, " OR "),
        Condition::Test(test) => {
            let (name, first) = (&test.column.name, test.values.first().map(|value| quoted(value)));
            let first = first.unwrap_or_default();
            let list = || test.values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ");
            let has = format!("{name} EXISTS AND {name} IS NOT NULL");
            match test.operator {
                Operator::Eq => format!("{name} = {first}"),
                Operator::Neq => format!("({name} != {first} AND {has})"),
                Operator::Gt => format!("{name} > {first}"),
                Operator::Gte => format!("{name} >= {first}"),
                Operator::Lt => format!("{name} < {first}"),
                Operator::Lte => format!("{name} <= {first}"),
                Operator::In => format!("{name} IN [{}]", list()),
                Operator::NotIn => format!("({name} NOT IN [{}] AND {has})", list()),
                Operator::IsNull => format!("({name} IS NULL OR {name} NOT EXISTS)"),
                Operator::NotNull => format!("({has})"),
            }
        }
    }
}

fn condition(field: &str, value: &str) -> Result<String, String> {
    let (operator, operand) =
        value.split_once('.').ok_or_else(|| format!("write OPERATOR.VALUE, with one of {OPERATORS}"))?;
    let compare = |sign: &str| {
        if operand.len() > MAX_VALUE_BYTES {
            return Err(format!("a value must not be longer than {MAX_VALUE_BYTES} bytes"));
        }
        Ok(format!("{field} {sign} {}", quoted(operand)))
    };
    match operator {
        "eq" => compare("="),
        "neq" => compare("!="),
        "gt" => compare(">"),
        "gte" => compare(">="),
        "lt" => compare("<"),
        "lte" => compare("<="),
        "in" => {
            let list = operand
                .strip_prefix('(')
                .and_then(|list| list.strip_suffix(')'))
                .filter(|list| !list.is_empty())
                .ok_or("write in.(VALUE,VALUE)")?;
            let values: Vec<_> = list.split(',').map(|value| quoted(value.trim_matches('"'))).collect();
            Ok(format!("{field} IN [{}]", values.join(", ")))
        }
        "is" => match operand {
            "null" => Ok(format!("{field} IS NULL OR {field} NOT EXISTS")),
            "not_null" => Ok(format!("{field} EXISTS AND {field} IS NOT NULL")),
            "true" | "false" => Ok(format!("{field} = {operand}")),
            _ => Err("is takes null, not_null, true or false".into()),
        },
        _ => Err(format!("a search knows the operators {OPERATORS}")),
    }
}

fn order(term: &str, sortable: &[String]) -> Result<String, String> {
    let (field, direction) = term.split_once('.').unwrap_or((term, "asc"));
    known(field, sortable, "ordered")?;
    match direction {
        "asc" | "desc" => Ok(format!("{field}:{direction}")),
        _ => Err("the direction is asc or desc".into()),
    }
}

fn known(field: &str, fields: &[String], what: &str) -> Result<(), String> {
    if fields.iter().any(|known| known == field) {
        return Ok(());
    }
    Err(format!("this search cannot be {what} by it; it can by: {}", fields.join(", ")))
}

fn number(value: &str, least: usize) -> Result<usize, String> {
    match value.parse() {
        Ok(number) if (least..=WINDOW).contains(&number) => Ok(number),
        _ => Err(format!("must be a number from {least} to {WINDOW}")),
    }
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{Test, Tested};

    fn settings() -> SearchSettings {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        SearchSettings {
            searchable: names(&["name"]),
            filterable: names(&["status", "created_by", "pin"]),
            sortable: names(&["created_at"]),
        }
    }

    fn parse(parameters: &[(&str, &str)]) -> Result<Wanted, ApiError> {
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Wanted::parse(&parameters, &settings(), |field| field == "pin")
    }

    fn own() -> Allowed {
        let column = Arc::new(Tested {
            place: 0,
            name: "created_by".into(),
            sql_type: tenantry_migrations::layout::SqlType::Text,
            cast: "text",
        });
        Allowed::Rows(Condition::Test(Test {
            column,
            operator: Operator::Eq,
            values: vec!["al\"ice".into()],
        }))
    }

    #[test]
    fn what_a_request_says_never_becomes_syntax() {
        let wanted = parse(&[("q", "x"), ("status", r#"eq.lead" OR status = "churned"#)]).unwrap();
        let query = wanted.query(&own());
        assert_eq!(
            query["filter"],
            json!([r#"status = "lead\" OR status = \"churned""#, r#"created_by = "al\"ice""#])
        );
    }

    #[test]
    fn operators_become_the_engines() {
        let filter = |value: &str| parse(&[("status", value)]).map(|wanted| wanted.conditions[0].clone());
        assert_eq!(filter("neq.lead").unwrap(), r#"status != "lead""#);
        assert_eq!(filter("in.(lead,active)").unwrap(), r#"status IN ["lead", "active"]"#);
        assert_eq!(filter("is.null").unwrap(), "status IS NULL OR status NOT EXISTS");
        for unknown in ["like.x", "lead", "in.()", "is.x", "eq"] {
            assert!(filter(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for (name, value) in [
            ("name", "eq.x"),
            ("pin", "eq.1"),
            ("limit", "0"),
            ("limit", "1001"),
            ("limit", "x"),
            ("offset", "-1"),
            ("offset", "1000"),
            ("facets", "pin"),
            ("order", "name"),
            ("order", "created_at.up"),
        ] {
            assert!(parse(&[(name, value)]).is_err(), "{name}={value}");
        }
        assert_eq!(parse(&[]).unwrap().query(&Allowed::All), json!({"q": "", "limit": 20, "offset": 0}));
    }

    #[test]
    fn a_rule_is_exact_where_the_engine_is_not() {
        let document = |user: &str| json!({"created_by": user}).as_object().unwrap().clone();
        assert!(may_read(&own(), &document("al\"ice")));
        assert!(!may_read(&own(), &document("AL\"ICE")));
        assert!(!may_read(&Allowed::Denied, &document("x")));
        assert_eq!(compared(&own()), ["created_by"]);
    }
}
