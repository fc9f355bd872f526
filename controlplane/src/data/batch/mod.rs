//! `POST /api/v1/batch`: several writes that all happen, or none.
//!
//! They go to the database as one group, so one transaction and one trip. An operation can refer to the document that one before
//! it wrote: `{"$ref": "0.id"}` stands for the id of the first one's.

mod asked;
mod carry;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::post,
};
use serde_json::Value;
use tenantry_crds::core_app;

use super::{idempotency::Key, routes};
use crate::{
    auth::Scope,
    describe::{Parameter, Route, Shape},
    error::{ApiError, FieldError},
    http::Json,
    state::AppState,
};
use asked::Asked;

/// Operations in one batch.
const MOST: usize = 100;

/// What these routes are.
pub const ROUTES: &[Route] = &[Route::post("/api/v1/batch", "batch", "Several writes, all or none")
    .tagged("documents")
    .takes(&[Parameter::header("Idempotency-Key", "the same request with the same key is carried out once")])
    .body(
        Shape::Schema(
            r#"{"type": "object", "required": ["operations"], "properties": {"operations": {"type": "array", "maxItems": 100,
                "items": {"type": "object", "required": ["op", "type"], "properties": {
                    "op": {"enum": ["create", "update", "replace", "delete"]},
                    "type": {"type": "string", "description": "APP/PLURAL"},
                    "id": {"description": "an id, or {\"$ref\": \"N.id\"}"},
                    "ifMatch": {"type": "integer", "description": "the version that is meant"},
                    "body": {"type": "object"}}}}}}"#,
        ),
        "",
    )
    .answers(200, Shape::Schema(r#"{"type": "object"}"#))];

/// The route, to stand inside of the tenant's layers.
pub fn router() -> Router<AppState> {
    Router::new().route("/api/v1/batch", post(batch))
}

async fn batch(
    State(state): State<AppState>,
    scope: Scope,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, ApiError> {
    let key = Key::of(&headers, &scope, "POST batch", body.to_string().as_bytes())?;
    let asked = Asked::read(body)?;
    if asked.operations.is_empty() || asked.operations.len() > MOST {
        return Err(ApiError::invalid(vec![FieldError {
            pointer: "/operations".into(),
            message: format!("must have 1 to {MOST} operations"),
        }]));
    }
    let mut documents = Vec::with_capacity(asked.operations.len());
    for (n, operation) in asked.operations.iter().enumerate() {
        let (app, plural) = operation.doc_type.split_once('/').unwrap_or((&operation.doc_type, ""));
        let of = routes::documents(&state, &scope, app, plural);
        documents.push(of.map_err(|error| error.within(&format!("/operations/{n}")))?);
    }
    let done = carry::out(&asked, &documents, key.as_ref()).await?;
    let of_core =
        |doc_type: &str| doc_type.split_once('/').is_some_and(|(app, _)| app == core_app::name().as_str());
    if asked.operations.iter().any(|operation| of_core(&operation.doc_type)) {
        scope.users_changed().await;
    }
    Ok(routes::replay(routes::json(StatusCode::OK, done.body), done.replayed))
}
