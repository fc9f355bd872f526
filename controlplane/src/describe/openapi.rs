//! The OpenAPI document (3.1).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tenantry_crds::v1alpha1::Action;

use super::{
    headers::ANSWER_HEADERS,
    route::{Access, Parameter, Route, Shape},
    routes, schema,
};
use crate::{
    auth::Caller,
    data::{Catalog, DocModel, Rights},
};

/// A document type as a caller sees it.
struct Seen<'a> {
    plural: &'a str,
    doc: &'a DocModel,
    may: Vec<Action>,
    rights: Rights<'a>,
}

const ACTIONS: [Action; 4] = [Action::Read, Action::Create, Action::Update, Action::Delete];

/// What `caller` may do with documents of type `doc`.
pub fn allowed_actions(doc: &DocModel, caller: &Caller) -> Vec<Action> {
    let rights = Rights::of(doc, caller);
    ACTIONS.into_iter().filter(|action| rights.may(*action)).collect()
}

/// The part that is the same for every tenant: all routes, and no document type.
pub fn of_nobody() -> Value {
    document(routes().map(|route| operation(route, None)), &[])
}

/// What `caller` may use of a tenant with these document types.
pub fn of_caller(catalog: &Catalog, caller: &Caller) -> Value {
    let seen: Vec<Seen<'_>> = catalog
        .types()
        .map(|(plural, doc)| Seen {
            plural,
            doc,
            may: allowed_actions(doc, caller),
            rights: Rights::of(doc, caller),
        })
        .filter(|seen| !seen.may.is_empty())
        .collect();
    let usable = routes().filter(|route| match route.access {
        Access::Public | Access::User => true,
        Access::Admin => caller.admin,
        Access::Worker => caller.admin || caller.roles.iter().any(|held| held.role.as_str() == "worker"),
        Access::Cluster => false,
    });
    let operations = usable.flat_map(|route| match route.expands {
        None => vec![operation(route, None)],
        Some(action) => seen
            .iter()
            .filter(|seen| seen.may.contains(&action))
            .map(|seen| operation(route, Some(seen)))
            .collect(),
    });
    document(operations, &seen)
}

fn document(operations: impl Iterator<Item = (String, &'static str, Value)>, seen: &[Seen<'_>]) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (path, method, operation) in operations {
        paths.entry(path).or_default().insert(method.to_owned(), operation);
    }
    let mut schemas = Map::new();
    schemas.insert("problem".into(), problem());
    schemas.insert("postgrest".into(), members(&["code", "message"], &["details", "hint"]));
    schemas.insert("gotrue".into(), members(&["code", "message", "error_code", "msg"], &[]));
    schemas.insert(
        "document".into(),
        json!({"type": "object", "description": "a document: see /api/v1/meta for the types of a tenant"}),
    );
    for seen in seen {
        schemas.insert(component(seen.doc), schema::known(&seen.rights));
    }
    let headers: Map<String, Value> = ANSWER_HEADERS
        .iter()
        .map(|(name, about)| {
            ((*name).to_owned(), json!({"description": about, "schema": {"type": "string"}}))
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Tenantry", "version": "v1", "description":
            "Documents, search and jobs of one tenant. The tenant is found by the host, by the header X-Tenant or by the token."},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": headers,
            "responses": {
                "problem": {
                    "description": "a problem document (RFC 9457) with a stable code",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/problem"}}},
                },
                "postgrest": {
                    "description": "an error as PostgREST tells it",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/postgrest"}}},
                },
                "gotrue": {
                    "description": "an error as GoTrue tells it",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/gotrue"}}},
                },
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cluster": {"type": "http", "scheme": "bearer", "description": "a token of the Kubernetes cluster"},
            },
        },
    })
}

fn operation(route: &'static Route, seen: Option<&Seen<'_>>) -> (String, &'static str, Value) {
    let path = match seen {
        None => route.path.to_owned(),
        Some(seen) => route.path.replace("{app}", seen.doc.app.as_str()).replace("{plural}", seen.plural),
    };
    let mut parameters: Vec<Value> = in_path(&path).map(of_path).collect();
    parameters.extend(route.parameters.iter().map(of_parameter));
    if let (true, Some(seen)) = (route.filters, seen) {
        let fields = seen.doc.columns.iter().enumerate().filter(|(n, _)| seen.rights.sees(*n));
        parameters.extend(fields.map(|(_, column)| {
            of_parameter(&Parameter::query("", "OPERATOR.VALUE, as in eq.1")).named(&column.name)
        }));
    }
    let mut operation = json!({
        "operationId": match seen {
            None => route.name.to_owned(),
            Some(seen) => format!("{}.{}.{}", seen.doc.app, seen.plural, route.name),
        },
        "summary": route.summary,
        "tags": [seen.map_or(route.tag.to_owned(), |seen| format!("{}.{}", seen.doc.app, seen.plural))],
        "responses": {
            route.status.to_string(): answer(route, seen),
            "default": {"$ref": format!("#/components/responses/{}", refusal(&path))},
        },
    });
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if let Some((shape, example)) = route.body {
        let (media, schema) = content(shape, seen);
        let mut body = json!({"schema": schema});
        if let Ok(example) = serde_json::from_str::<Value>(example) {
            body["example"] = example;
        }
        operation["requestBody"] = json!({"required": true, "content": {media: body}});
    }
    match route.access {
        Access::Public => operation["security"] = json!([]),
        Access::Cluster => operation["security"] = json!([{"cluster": []}]),
        Access::User | Access::Admin | Access::Worker => {}
    }
    (path, route.method, operation)
}

fn answer(route: &Route, seen: Option<&Seen<'_>>) -> Value {
    let description = match route.status {
        201 => "made",
        204 => "done",
        _ => "the answer",
    };
    match route.answer {
        Shape::Empty => json!({"description": description}),
        shape => {
            let (media, schema) = content(shape, seen);
            json!({"description": description, "content": {media: {"schema": schema}}})
        }
    }
}

/// The content type of a body, and its schema.
fn content(shape: Shape, seen: Option<&Seen<'_>>) -> (&'static str, Value) {
    const JSON: &str = "application/json";
    let name = seen.map_or_else(|| "document".to_owned(), |seen| component(seen.doc));
    let document = json!({"$ref": format!("#/components/schemas/{name}")});
    match shape {
        Shape::Empty => (JSON, json!({})),
        Shape::Document => (JSON, document),
        Shape::Documents => {
            (JSON, json!({"oneOf": [document.clone(), {"type": "array", "items": document}]}))
        }
        Shape::Fields => {
            let fields = seen.map_or_else(
                || json!({"type": "object"}),
                |seen| {
                    let mut fields = schema::known(&seen.rights);
                    fields["required"] = json!([]);
                    fields["title"] = json!(format!("some fields of {name}"));
                    fields
                },
            );
            (JSON, fields)
        }
        Shape::Page => (
            JSON,
            json!({
                "type": "object",
                "properties": {
                    "items": {"type": "array", "items": document},
                    "next": {"type": ["string", "null"], "description": "goes into `after` for the next page"},
                },
                "required": ["items", "next"],
            }),
        ),
        Shape::Schema(schema) => (JSON, serde_json::from_str(schema).unwrap_or(Value::Null)),
        Shape::Media(media) => (media, json!({})),
    }
}

fn component(doc: &DocModel) -> String {
    format!("{}.{}", doc.app, doc.name)
}

fn in_path(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn of_path(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
}

fn of_parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.about,
        "schema": {"type": parameter.kind},
    })
}

trait Named {
    fn named(self, name: &str) -> Self;
}

impl Named for Value {
    fn named(mut self, name: &str) -> Self {
        self["name"] = json!(name);
        self
    }
}

/// How refusals on a path are written.
fn refusal(path: &str) -> &'static str {
    match path {
        rest if rest.starts_with("/rest/v1/") => "postgrest",
        auth if auth.starts_with("/auth/v1/") => "gotrue",
        _ => "problem",
    }
}

/// An object with these texts; the last ones may be null.
fn members(texts: &[&str], optional: &[&str]) -> Value {
    let of = |names: &[&str], kind: Value| -> Vec<(String, Value)> {
        names.iter().map(|name| ((*name).to_owned(), json!({"type": kind}))).collect()
    };
    let properties: Map<String, Value> =
        of(texts, json!("string")).into_iter().chain(of(optional, json!(["string", "null"]))).collect();
    let required: Vec<_> = texts.iter().chain(optional).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn problem() -> Value {
    let text = || json!({"type": "string"});
    json!({
        "type": "object",
        "properties": {
            "type": text(), "title": text(), "status": {"type": "integer"}, "detail": text(),
            "code": {"type": "string", "description": "stable; for programs"},
            "message": text(), "details": {"type": ["string", "null"]}, "hint": {"type": ["string", "null"]},
            "errors": {"type": "array", "items": {
                "type": "object", "properties": {"pointer": text(), "message": text()}, "required": ["pointer", "message"],
            }},
        },
        "required": ["type", "title", "status", "detail", "code"],
    })
}
