//! What a batch asks for. Pure.

use serde::Deserialize;
use serde_json::Value;
use tenantry_crds::definition::FieldKind;

use crate::{
    data::{
        model::{DocModel, Role},
        validate::Values,
    },
    error::{ApiError, Code, FieldError},
};

/// A batch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// In the order in which they happen.
    pub operations: Vec<Operation>,
}

/// A write.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Operation {
    /// What is done.
    pub op: Verb,
    /// `APP/PLURAL`.
    #[serde(rename = "type")]
    pub doc_type: String,
    /// Which document; none for a new one.
    pub id: Option<Value>,
    /// The version that is meant.
    pub if_match: Option<i64>,
    /// The document, or its fields.
    pub body: Option<Value>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verb {
    Create,
    Update,
    Replace,
    Delete,
}

/// A field that is set to the id of what an earlier operation writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Back {
    /// The column, by its place in the model.
    pub column: usize,
    /// The operation.
    pub operation: usize,
}

impl Verb {
    /// The status of an operation that was carried out.
    pub fn status(self) -> u16 {
        match self {
            Self::Create => 201,
            Self::Update | Self::Replace => 200,
            Self::Delete => 204,
        }
    }
}

impl Asked {
    pub fn read(body: Value) -> Result<Self, ApiError> {
        serde_json::from_value(body).map_err(|error| {
            ApiError::new(Code::ValidationFailed, format!("the batch cannot be read: {error}"))
        })
    }
}

/// The operation that `{"$ref": "N.id"}` refers to; nothing for what is no reference. `before` is what the operations before this one
/// do.
pub(super) fn reference(value: &Value, at: &str, before: &[Verb]) -> Result<Option<usize>, FieldError> {
    let Some(text) =
        value.as_object().filter(|members| members.len() == 1).and_then(|members| members.get("$ref"))
    else {
        return Ok(None);
    };
    let wrong = |message: String| FieldError { pointer: at.to_owned(), message };
    let number: Option<usize> =
        text.as_str().and_then(|text| text.strip_suffix(".id")).and_then(|text| text.parse().ok());
    match number.map(|operation| (operation, before.get(operation))) {
        Some((operation, Some(Verb::Delete))) => {
            Err(wrong(format!("operation {operation} deletes, so there is nothing to refer to")))
        }
        Some((operation, Some(_))) => Ok(Some(operation)),
        Some((operation, None)) => Err(wrong(format!("operation {operation} does not come before this one"))),
        None => {
            Err(wrong("write {\"$ref\": \"N.id\"}, N being the place of an earlier operation, from 0".into()))
        }
    }
}

/// Takes the references to earlier operations out of a body, with a value in their place that the field takes.
///
/// `types` are the document types of all operations.
pub(super) fn references(
    doc: &DocModel,
    body: &mut Value,
    types: &[&DocModel],
    (at, before): (&str, &[Verb]),
    errors: &mut Vec<FieldError>,
) -> Vec<Back> {
    let mut found = Vec::new();
    for (name, value) in body.as_object_mut().into_iter().flatten() {
        let at = format!("{at}/{name}");
        let operation = match reference(value, &at, before) {
            Ok(None) => continue,
            Ok(Some(operation)) => operation,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let target = types.get(operation);
        match (doc.column(name), target) {
            (Some((column, model)), Some(target)) if refers_to(&model.role, target) => {
                found.push(Back { column, operation });
                *value = Value::from(if target.id_type() == tenantry_migrations::layout::SqlType::Uuid {
                    "00000000-0000-0000-0000-000000000000"
                } else {
                    "-"
                });
            }
            _ => errors.push(FieldError {
                pointer: at,
                message: format!("is no field that refers to what operation {operation} writes"),
            }),
        }
    }
    found
}

fn refers_to(role: &Role, target: &DocModel) -> bool {
    let Role::Field(field, _) = role else { return false };
    match &field.kind {
        FieldKind::Reference(to) => to.app == target.app && to.doc_type == target.name,
        FieldKind::File => {
            let file = tenantry_crds::core_app::file_target();
            file.app == target.app && file.doc_type == target.name
        }
        _ => false,
    }
}

/// Puts the references in the place of the values that stood for them.
pub(super) fn put_back(values: &mut Values, references: &[Back]) {
    for back in references {
        values.columns.retain(|(column, _)| *column != back.column);
        values.given.retain(|column| *column != back.column);
        values.results.push((back.column, back.operation));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reference_leads_back() {
        let before = [Verb::Create, Verb::Update, Verb::Delete];
        let of = |value: Value| reference(&value, "/x", &before[..2]).map_err(|error| error.message);
        assert_eq!(of(json!({"$ref": "1.id"})), Ok(Some(1)));
        assert_eq!(of(json!({"$ref": "1.id", "more": 1})), Ok(None));
        assert_eq!(of(json!("0.id")), Ok(None));
        assert!(of(json!({"$ref": "2.id"})).unwrap_err().contains("does not come before"));
        for wrong in
            [json!({"$ref": "0.name"}), json!({"$ref": 0}), json!({"$ref": "-1.id"}), json!({"$ref": "x.id"})]
        {
            assert!(of(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_refers_to_what_a_deletion_leaves() {
        let wrong = reference(&json!({"$ref": "0.id"}), "/x", &[Verb::Delete]).unwrap_err();
        assert!(wrong.message.contains("operation 0 deletes"), "{wrong:?}");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for wrong in [
            json!({}),
            json!({"operations": [{"op": "upsert", "type": "a/b"}]}),
            json!({"operations": [{"op": "create", "type": "a/b", "boddy": {}}]}),
            json!({"operations": [], "atomic": false}),
        ] {
            assert!(Asked::read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
