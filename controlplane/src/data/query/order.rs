//! `order=field.desc.nullslast,other`.

use super::{
    sight::Sight,
    subject::Subject,
    text::{Text, shown},
};
use crate::data::model::DocModel;

/// Terms of an order at most, the id left out.
const MAX_TERMS: usize = 4;

/// One term of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What is compared.
    pub subject: Subject,
    /// From the largest value down.
    pub descending: bool,
    /// Where NULL comes; as in an index, last when ascending and first when descending, unless the query says otherwise.
    pub nulls_first: bool,
}

impl Order {
    /// The id, so that an order is total and a cursor can continue it.
    fn id(doc: &DocModel, descending: bool) -> Self {
        let id = doc.column("id").map_or(0, |(n, _)| n);
        Self { subject: Subject::column(id), descending, nulls_first: descending }
    }

    fn read(sight: &Sight<'_>, doc: &DocModel, part: &str) -> Result<Self, String> {
        let (part, nulls_first) = match part.rsplit_once('.') {
            Some((part, "nullsfirst")) => (part, Some(true)),
            Some((part, "nullslast")) => (part, Some(false)),
            _ => (part, None),
        };
        let (part, descending) = match part.rsplit_once('.') {
            Some((part, "asc")) => (part, false),
            Some((part, "desc")) => (part, true),
            _ => (part, false),
        };
        if part.contains('(') {
            return Err("documents cannot be ordered by what is embedded in them".into());
        }
        let mut text = Text::new(part);
        let subject = Subject::read(sight, doc, &mut text, &['.'])?;
        if !text.is_empty() {
            return Err(format!(
                "write {0}.asc or {0}.desc, then .nullsfirst or .nullslast",
                shown(&part[..part.len() - text.rest().len()])
            ));
        }
        if subject.path.is_none() && subject.kind(doc).is_some_and(super::Kind::is_json) {
            return Err(format!(
                "{} holds JSON or a list, which has no order; name something in it",
                shown(part)
            ));
        }
        Ok(Self { subject, descending, nulls_first: nulls_first.unwrap_or(descending) })
    }
}

/// Reads `text`; the id comes last.
pub(super) fn parse(sight: &Sight<'_>, doc: &DocModel, text: Option<&str>) -> Result<Vec<Order>, String> {
    let mut order: Vec<Order> = Vec::new();
    for part in text.into_iter().flat_map(|text| text.split(',')) {
        let term = Order::read(sight, doc, part)?;
        if order.iter().any(|known| known.subject == term.subject) {
            return Err(format!("{} is named twice", shown(part)));
        }
        if order.len() == MAX_TERMS {
            return Err(format!("use at most {MAX_TERMS} fields"));
        }
        order.push(term);
    }
    let id = Order::id(doc, order.last().is_some_and(|last| last.descending));
    // What comes after the id decides nothing.
    match order.iter().position(|known| known.subject == id.subject) {
        Some(end) => order.truncate(end + 1),
        None => order.push(id),
    }
    Ok(order)
}
