//! `order=field.desc,other`.

use tenantry_migrations::layout::SqlType;

use crate::data::model::DocModel;

/// Columns that a list is ordered by at most, the id left out.
const MAX_COLUMNS: usize = 4;

/// One column of an order. NULL comes last, or first where the order is descending: as in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The column, by its place in the model.
    pub column: usize,
    /// From the largest value down.
    pub descending: bool,
}

/// Reads `text`; the id comes last, so that the order is total and a cursor can continue it.
pub(super) fn parse(doc: &DocModel, text: Option<&str>) -> Result<Vec<Order>, String> {
    let mut order: Vec<Order> = Vec::new();
    for part in text.into_iter().flat_map(|text| text.split(',')) {
        let (name, direction) = part.split_once('.').unwrap_or((part, "asc"));
        let shown: String = name.chars().take(40).collect();
        let (column, model) =
            doc.readable(name).ok_or_else(|| format!("{shown:?} is no field of this document type"))?;
        if model.sql_type == SqlType::Jsonb {
            return Err(format!("{shown} holds JSON or a list, which has no order"));
        }
        let descending = match direction {
            "asc" => false,
            "desc" => true,
            _ => return Err(format!("write {shown}.asc or {shown}.desc")),
        };
        if order.iter().any(|known| known.column == column) {
            return Err(format!("{shown} is named twice"));
        }
        order.push(Order { column, descending });
    }
    if order.len() > MAX_COLUMNS {
        return Err(format!("use at most {MAX_COLUMNS} fields"));
    }
    let id = doc.column("id").map_or(0, |(n, _)| n);
    // What comes after the id decides nothing.
    if let Some(end) = order.iter().position(|known| known.column == id) {
        order.truncate(end + 1);
    } else {
        let descending = order.last().is_some_and(|last| last.descending);
        order.push(Order { column: id, descending });
    }
    Ok(order)
}
