//! `/openapi.json`, `/docs` and `/api/v1/meta`.

use std::sync::LazyLock;

use axum::{
    Json, Router,
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    openapi::allowed_actions,
    route::{Access, Route, Shape},
    schema,
};
use crate::{auth::Scope, data::Rights, error::ApiError, http::Path, state::AppState};

/// What these routes are.
pub const ROUTES: &[Route] = &[
    Route::get("/openapi.json", "describe", "What the caller may use of this tenant, as OpenAPI 3.1")
        .tagged("self-description"),
    Route::get("/docs", "readDocs", "The same for people")
        .tagged("self-description")
        .access(Access::Public)
        .answers(200, Shape::Media("text/html")),
    Route::get(
        "/api/v1/meta",
        "listTypes",
        "The apps of this tenant and the document types that the caller may use",
    )
    .tagged("self-description")
    .answers(200, Shape::Schema(META)),
    Route::get("/api/v1/meta/{app}/{plural}", "readType", "JSON Schema of a document type")
        .tagged("self-description")
        .answers(200, Shape::Schema(r#"{"type": "object", "description": "JSON Schema 2020-12"}"#)),
];

const META: &str = r#"{"type": "object", "required": ["apps"], "properties": {"apps": {"type": "array", "items": {
    "type": "object", "required": ["name", "version", "docTypes"], "properties": {
        "name": {"type": "string"}, "version": {"type": "string"},
        "docTypes": {"type": "array", "items": {"type": "object", "required": ["name", "plural", "allow", "schema"], "properties": {
            "name": {"type": "string"}, "plural": {"type": "string"}, "schema": {"type": "string"},
            "allow": {"type": "array", "items": {"enum": ["Read", "Create", "Update", "Delete"]}}}}}}}}}}"#;

/// The page, whole: styles and script stand in it.
const PAGE: &str = include_str!("docs.html");

/// The page's own style and script may run, nothing else, and it may call its own origin.
static PAGE_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |tag: &str| {
        let inside = PAGE
            .split_once(&format!("<{tag}>"))
            .and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")))
            .map_or("", |(inside, _)| inside);
        STANDARD.encode(Sha256::digest(inside))
    };
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash("style"),
        hash("script")
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The routes for callers with a token.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/api/v1/meta", get(types))
        .route("/api/v1/meta/{app}/{plural}", get(one_type))
}

/// The route for everybody: the page asks for a token, and holds nothing of any tenant.
pub fn public_router() -> Router<AppState> {
    Router::new().route("/docs", get(docs))
}

async fn openapi(scope: Scope, headers: HeaderMap) -> Response {
    let apps = &scope.tenant.apps;
    let description = apps.described().get(apps.catalog(), &scope.caller);
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|tag| *tag == description.tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(description.json.clone()))
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ETAG, description.tag.clone());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

async fn docs() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, PAGE).into_response()
}

async fn types(scope: Scope) -> Json<Value> {
    let mut apps: Vec<_> = scope.tenant.apps.all().collect();
    apps.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    let apps = apps.into_iter().map(|app| {
        let doc_types: Vec<Value> = scope
            .tenant
            .apps
            .catalog()
            .types()
            .filter(|(_, doc)| doc.app == app.name)
            .filter_map(|(plural, doc)| {
                let allow = allowed_actions(doc, &scope.caller);
                let schema = format!("/api/v1/meta/{}/{plural}", app.name);
                (!allow.is_empty())
                    .then(|| json!({"name": doc.name, "plural": plural, "allow": allow, "schema": schema}))
            })
            .collect();
        json!({"name": app.name, "version": app.version, "docTypes": doc_types})
    });
    let apps: Vec<Value> = apps.collect();
    Json(json!({"apps": apps}))
}

async fn one_type(scope: Scope, Path((app, plural)): Path<(String, String)>) -> Result<Response, ApiError> {
    let doc = scope
        .tenant
        .apps
        .catalog()
        .doc_type(&app, &plural)
        // Whoever may do nothing with it does not learn that it is there.
        .filter(|doc| !allowed_actions(doc, &scope.caller).is_empty())
        .ok_or_else(|| ApiError::not_found("this tenant has no such document type"))?;
    let mut schema = schema::known(&Rights::of(doc, &scope.caller));
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["$id"] = json!(format!("/api/v1/meta/{app}/{plural}"));
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/schema+json"))];
    Ok((kind, schema.to_string()).into_response())
}
