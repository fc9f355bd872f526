//! JSON Schema (2020-12) of a document type.

use serde_json::{Map, Value, json};
use tenantry_crds::definition::{Field, FieldKind, Naming};

use crate::data::{ColumnModel, DocModel, Rights, Role};

/// The schema of the documents of a type. Fields that no answer shows are `writeOnly`, those that no request sets `readOnly`.
pub fn of(doc: &DocModel) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for column in &doc.columns {
        properties.insert(column.name.clone(), property(doc, column));
        if let Role::Field(field, _) = &column.role
            && field.required
            && field.default.is_none()
            && !field.read_only
        {
            required.push(column.name.clone());
        }
    }
    json!({
        "title": format!("{}.{}", doc.app, doc.name),
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// The same, with the fields that the caller may read or set in some document.
pub fn known(rights: &Rights<'_>) -> Value {
    let doc = rights.doc();
    let mut schema = of(doc);
    let hidden = |name: &str| doc.column(name).is_some_and(|(n, _)| !rights.knows(n));
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| !hidden(name));
    }
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|name| !name.as_str().is_some_and(hidden));
    }
    schema
}

fn property(doc: &DocModel, column: &ColumnModel) -> Value {
    match &column.role {
        Role::Field(field, _) => of_field(field, column.not_null),
        Role::Extra(_) => {
            json!({"type": "object", "description": "whatever the definition does not declare"})
        }
        Role::Platform => {
            let mut schema = match column.name.as_str() {
                "id" if doc.naming == Naming::Uuid => json!({"type": "string", "format": "uuid"}),
                "version" => json!({"type": "integer", "minimum": 1}),
                "created_at" | "updated_at" => json!({"type": "string", "format": "date-time"}),
                _ => json!({"type": "string"}),
            };
            schema["readOnly"] = json!(true);
            schema
        }
    }
}

fn of_field(field: &Field, not_null: bool) -> Value {
    let mut schema = match &field.kind {
        FieldKind::String { max_length, pattern } => text(Some(*max_length), pattern.as_deref()),
        FieldKind::Text { max_length, pattern } => text(*max_length, pattern.as_deref()),
        FieldKind::Integer { min, max } => {
            let mut schema = json!({"type": "integer", "format": "int32"});
            bounds(&mut schema, *min, *max);
            schema
        }
        FieldKind::BigInt { min, max } => {
            let mut schema = json!({"type": "integer", "format": "int64"});
            bounds(&mut schema, *min, *max);
            schema
        }
        // As text, since a reader of JSON numbers may round them.
        FieldKind::Decimal { precision, scale, .. } => json!({
            "type": "string",
            "pattern": format!(r"^-?[0-9]{{1,{}}}(\.[0-9]{{1,{}}})?$", (precision - scale).max(1), (*scale).max(1)),
            "description": format!("a decimal with up to {precision} digits, {scale} of them behind the point"),
        }),
        FieldKind::Float { min, max } => {
            let mut schema = json!({"type": "number", "format": "double"});
            bounds(&mut schema, *min, *max);
            schema
        }
        FieldKind::Boolean => json!({"type": "boolean"}),
        FieldKind::Date => json!({"type": "string", "format": "date"}),
        FieldKind::DateTime => json!({"type": "string", "format": "date-time"}),
        FieldKind::Time => json!({"type": "string", "format": "time"}),
        FieldKind::Uuid => json!({"type": "string", "format": "uuid"}),
        FieldKind::Email { max_length } => {
            json!({"type": "string", "format": "email", "maxLength": max_length})
        }
        FieldKind::Url { max_length } => json!({"type": "string", "format": "uri", "maxLength": max_length}),
        FieldKind::Secret { max_length } => {
            json!({"type": "string", "format": "password", "maxLength": max_length})
        }
        FieldKind::Enum { values } => json!({"type": "string", "enum": values}),
        FieldKind::Json => json!({"description": "any JSON"}),
        FieldKind::Reference(target) => json!({
            "type": "string", "description": format!("the id of a {}.{}", target.app, target.doc_type),
        }),
        FieldKind::File => json!({"type": "string", "description": "the id of a core.file"}),
        FieldKind::List { items } => {
            let properties: Map<String, Value> = items
                .iter()
                .map(|item| (item.name.as_str().to_owned(), of_field(item, item.required)))
                .collect();
            let required: Vec<&str> =
                items.iter().filter(|item| item.required).map(|item| item.name.as_str()).collect();
            json!({
                "type": "array",
                "items": {
                    "type": "object", "properties": properties, "required": required, "additionalProperties": false,
                },
            })
        }
    };
    if !not_null {
        nullable(&mut schema);
    }
    if let Some(default) = &field.default {
        schema["default"] = default.clone();
    }
    if field.read_only {
        schema["readOnly"] = json!(true);
    }
    if field.write_only {
        schema["writeOnly"] = json!(true);
    }
    schema
}

fn text(max_length: Option<u32>, pattern: Option<&str>) -> Value {
    let mut schema = json!({"type": "string"});
    if let Some(max_length) = max_length {
        schema["maxLength"] = json!(max_length);
    }
    if let Some(pattern) = pattern {
        // Ours must match the whole text; JSON Schema's may match anywhere in it.
        schema["pattern"] = json!(format!("^(?:{pattern})$"));
    }
    schema
}

fn bounds(schema: &mut Value, min: Option<f64>, max: Option<f64>) {
    for (name, bound) in [("minimum", min), ("maximum", max)] {
        if let Some(bound) = bound {
            schema[name] = json!(bound);
        }
    }
}

fn nullable(schema: &mut Value) {
    if let Some(kind) = schema.get("type").cloned() {
        schema["type"] = json!([kind, "null"]);
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
}
