//! The versions of documents, of types that keep them: `/api/v1/data/{app}/{plural}/{id}/versions`.
//!
//! Whoever may read a document may read what it was before, and sees as much of it. The versions of a document that is not there
//! any more are for those who may read every document of its type.

mod changes;

use axum::{Router, extract::State, routing::get};
use serde_json::{Map, Value, json};
use tenantry_crds::v1alpha1::Action;

use self::changes::changes;
use super::{
    documents::Documents,
    permit::{Allowed, Rights, Visible},
    refusal::Request,
    routes, sql,
};
use crate::{
    auth::Scope,
    describe::{Parameter, Route, Shape},
    error::{ApiError, FieldError},
    http::{Path, Query},
    postgres::{Group, Row},
    state::AppState,
};

/// Versions in one answer.
const PAGE: u16 = 100;

/// What these routes are.
pub const ROUTES: &[Route] = &[
    Route::get(
        "/api/v1/data/{app}/{plural}/{id}/versions",
        "versions",
        "The versions of a document, newest first",
    )
    .tagged("documents")
    .takes(&[Parameter::number("before", "only versions before this one")])
    .answers(200, Shape::Schema(r#"{"type": "object"}"#)),
    Route::get("/api/v1/data/{app}/{plural}/{id}/versions/{version}", "version", "A document as it was")
        .tagged("documents")
        .takes(&[Parameter::number("compare", "the version that this one is compared with")])
        .answers(200, Shape::Schema(r#"{"type": "object"}"#)),
];

type Parameters = Query<Vec<(String, String)>>;

/// The routes, to stand inside of the tenant's layers.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/api/v1/data/{app}/{plural}/{id}/versions", get(list))
        .route("/api/v1/data/{app}/{plural}/{id}/versions/{version}", get(one))
}

async fn list(
    State(state): State<AppState>,
    scope: Scope,
    Path((app, plural, id)): Path<(String, String, String)>,
    Query(parameters): Parameters,
) -> Result<axum::Json<Value>, ApiError> {
    let documents = routes::documents(&state, &scope, &app, &plural)?;
    let before = number(&parameters, "before")?;
    let rights = documents.rights();
    let visible = visible(documents, &rights)?;
    let statement = sql::versions(documents.doc, &documents.id(&id)?, before, PAGE, &visible);
    let reply = documents.run(Request::Read, Group::read(statement)).await?;
    if reply.rows.is_empty() {
        return Err(unknown());
    }
    let next = reply.rows.get(usize::from(PAGE) - 1).map(version_of);
    let items: Vec<Value> = reply.rows.iter().map(told).collect();
    Ok(axum::Json(json!({"items": items, "next": next})))
}

async fn one(
    State(state): State<AppState>,
    scope: Scope,
    Path((app, plural, id, version)): Path<(String, String, String, String)>,
    Query(parameters): Parameters,
) -> Result<axum::Json<Value>, ApiError> {
    let documents = routes::documents(&state, &scope, &app, &plural)?;
    let version: i64 = version.parse().map_err(|_| unknown())?;
    let other = number(&parameters, "compare")?;
    let rights = documents.rights();
    let visible = visible(documents, &rights)?;
    let wanted = [Some(version), other];
    let statement = sql::version(documents.doc, &documents.id(&id)?, wanted.into_iter().flatten(), &visible);
    let reply = documents.run(Request::Read, Group::read(statement)).await?;
    // Read as JSON, and the parts that the caller sees once more.
    let bytes: usize = reply.rows.iter().map(Row::len).sum();
    scope.request.load.hold(bytes.saturating_mul(4))?;
    // The newest first: a document that was made again under its id has some versions twice.
    let find = |version: i64| reply.rows.iter().find(|row| version_of(row) == version).ok_or_else(unknown);
    let found = find(version)?;
    let document = body(&rights, found)?;
    let Some(other) = other else {
        let mut told = told(found);
        told["document"] = Value::Object(document);
        return Ok(axum::Json(told));
    };
    let changes = changes(&body(&rights, find(other)?)?, &document);
    Ok(axum::Json(json!({"from": other, "to": version, "changes": changes})))
}

/// Which documents the caller must see to see their versions; `All` when the document need not be there any more.
fn visible(documents: Documents<'_>, rights: &Rights<'_>) -> Result<Allowed, ApiError> {
    if documents.doc.side.history.is_none() {
        return Err(ApiError::not_found("versions of documents of this type are not kept"));
    }
    if rights.reads_every() {
        return Ok(Allowed::All);
    }
    match rights.allowed(Action::Read) {
        Allowed::Denied => Err(unknown()),
        allowed => Ok(allowed),
    }
}

fn told(row: &Row) -> Value {
    let text = |n| row.text(n).unwrap_or_default();
    json!({"version": version_of(row), "action": text(1), "by": text(2), "at": text(3)})
}

fn version_of(row: &Row) -> i64 {
    row.text(0).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// As much of the document in `row` as the caller sees, by today's fields and rights.
fn body(rights: &Rights<'_>, row: &Row) -> Result<Map<String, Value>, ApiError> {
    let text = row.text(4).unwrap_or("{}");
    let whole: Map<String, Value> = serde_json::from_str(text).map_err(ApiError::internal)?;
    let seen = rights.doc().columns.iter().enumerate().filter_map(|(n, column)| {
        let value = whole.get(&column.name)?;
        match rights.visible(n) {
            Visible::Yes => Some((column.name.clone(), value.clone())),
            Visible::Where(condition) if condition.holds(&whole) => {
                Some((column.name.clone(), value.clone()))
            }
            Visible::Where(_) => Some((column.name.clone(), Value::Null)),
            Visible::No => None,
        }
    });
    Ok(seen.collect())
}

fn number(parameters: &[(String, String)], wanted: &str) -> Result<Option<i64>, ApiError> {
    let wrong = |name: &str, message: &str| {
        let pointer = name.chars().take(100).collect();
        let errors = vec![FieldError { pointer, message: message.to_owned() }];
        ApiError::bad_request("the query cannot be read").with_errors(errors)
    };
    match parameters {
        [] => Ok(None),
        [(name, value)] if name == wanted => {
            value.parse().map(Some).map_err(|_| wrong(name, "write the number of a version"))
        }
        [(name, _), ..] => Err(wrong(name, &format!("is no parameter here; {wanted} is, and only once"))),
    }
}

fn unknown() -> ApiError {
    ApiError::not_found("there is no such version")
}
