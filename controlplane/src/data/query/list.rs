//! What a list was asked for.

use super::{CursorKey, Filter, ListIdentity, Order, order};
use crate::{
    data::model::DocModel,
    error::{ApiError, FieldError},
    registry::TenantEntry,
};

/// Items of a page when the query does not say.
const DEFAULT_LIMIT: u16 = 20;
/// Items of a page at most.
const MAX_LIMIT: u16 = 1000;
/// Tests in one query at most.
const MAX_FILTERS: usize = 20;

/// What a list was asked for, checked against the document type.
#[derive(Debug)]
pub struct ListQuery {
    /// All must hold.
    pub filters: Vec<Filter>,
    /// The order; the id comes last.
    pub order: Vec<Order>,
    /// Items of the page at most.
    pub limit: u16,
    /// The columns of each item, by their place in the model.
    pub select: Vec<usize>,
    /// The values of the order's columns in the item before the page.
    pub after: Option<Vec<Option<String>>>,
    /// What the next page's cursor is sealed with.
    pub identity: ListIdentity,
}

impl ListQuery {
    /// Reads the parameters of a list of `doc`.
    ///
    /// # Errors
    /// 400, with every parameter that is wrong.
    pub fn parse(
        tenant: &TenantEntry,
        doc: &DocModel,
        parameters: &[(String, String)],
        key: &CursorKey,
    ) -> Result<Self, ApiError> {
        let mut errors = Vec::new();
        let mut identity = ListIdentity::default();
        for part in
            [tenant.uid.as_bytes().as_slice(), doc.app.as_str().as_bytes(), doc.name.as_str().as_bytes()]
        {
            identity.add(part);
        }
        let mut filters = Vec::new();
        let (mut order, mut limit, mut select, mut after) = (None, None, None, None);
        for (name, value) in parameters {
            let word = match name.as_str() {
                "order" => &mut order,
                "limit" => &mut limit,
                "select" => &mut select,
                "after" => &mut after,
                "count" | "offset" | "or" | "and" => {
                    wrong(&mut errors, name, "is not supported yet; use filters and after");
                    continue;
                }
                _ => {
                    identity.add(name.as_bytes());
                    identity.add(value.as_bytes());
                    match Filter::parse(doc, name, value) {
                        Ok(filter) => filters.push(filter),
                        Err(problem) => wrong(&mut errors, name, problem),
                    }
                    continue;
                }
            };
            if word.replace(value.as_str()).is_some() {
                wrong(&mut errors, name, "is given twice");
            }
        }
        if filters.len() > MAX_FILTERS {
            wrong(&mut errors, "", format!("use at most {MAX_FILTERS} filters"));
        }
        identity.add(order.unwrap_or_default().as_bytes());
        let mut check = |name: &str, problem: String| wrong(&mut errors, name, problem);
        let order = order::parse(doc, order).unwrap_or_else(|problem| {
            check("order", problem);
            Vec::new()
        });
        let limit = self::limit(limit).unwrap_or_else(|problem| {
            check("limit", problem);
            DEFAULT_LIMIT
        });
        let select = self::select(doc, select).unwrap_or_else(|problem| {
            check("select", problem);
            Vec::new()
        });
        let after = after.and_then(|cursor| {
            let values = key.open(&identity, cursor).filter(|values| values.len() == order.len());
            if values.is_none() {
                check(
                    "after",
                    "is no cursor of this list; take `next` of the page before and keep filters and order"
                        .into(),
                );
            }
            values
        });
        if errors.is_empty() {
            Ok(Self { filters, order, limit, select, after, identity })
        } else {
            Err(ApiError::bad_request("the query cannot be read").with_errors(errors))
        }
    }
}

fn wrong(errors: &mut Vec<FieldError>, name: &str, message: impl Into<String>) {
    errors.push(FieldError { pointer: name.chars().take(100).collect(), message: message.into() });
}

fn limit(text: Option<&str>) -> Result<u16, String> {
    let Some(text) = text else { return Ok(DEFAULT_LIMIT) };
    text.parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| format!("use a number from 1 to {MAX_LIMIT}"))
}

/// The columns of `text`, or all that answers show.
pub(in crate::data) fn select(doc: &DocModel, text: Option<&str>) -> Result<Vec<usize>, String> {
    let Some(text) = text else {
        return Ok((0..doc.columns.len()).filter(|n| doc.columns[*n].is_readable()).collect());
    };
    let mut columns = Vec::new();
    for name in text.split(',') {
        let (column, _) = doc.readable(name).ok_or_else(|| {
            format!("{:?} is no field of this document type", name.chars().take(40).collect::<String>())
        })?;
        if columns.contains(&column) {
            return Err(format!("{name} is named twice"));
        }
        columns.push(column);
    }
    Ok(columns)
}
