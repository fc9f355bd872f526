//! The routes of documents.

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::Value;
use tenantry_crds::v1alpha1::Action;

use super::{
    collection::{self, Ask, Dialect},
    documents::{Document, Documents},
    idempotency::{Key, REPLAYED},
    precondition,
};
use crate::{
    auth::Scope,
    describe::{Parameter, Route, Shape},
    error::ApiError,
    http::{Content, Json, Path, Query},
    state::AppState,
};

type Parameters = Query<Vec<(String, String)>>;

/// What these routes are.
pub const ROUTES: &[Route] = &[
    Route::get("/api/v1/data/{app}/{plural}", "list", "A page of documents")
        .tagged("documents")
        .expands(Action::Read)
        .filters()
        .takes(&[
            SELECT,
            Parameter::query("order", "as in created_at.desc,name"),
            Parameter::number("limit", "items of a page: 20 unless given, 1,000 at most"),
            Parameter::number("offset", "items left out before the first one"),
            Parameter::query("after", "the `next` of the page before"),
            Parameter::query(
                "or",
                "one of these filters must hold, as in (status.eq.open,total.gt.100); also `and`",
            ),
            PREFER,
        ])
        .answers(200, Shape::Page),
    Route::post("/api/v1/data/{app}/{plural}", "create", "Make a document, or some, all or none")
        .tagged("documents")
        .expands(Action::Create)
        .takes(&[
            SELECT,
            Parameter::query("columns", "the members of the body that count, with commas between them"),
            Parameter::query("on_conflict", "the unique field that says whether a document is there already"),
            PREFER,
            KEY,
        ])
        .body(Shape::Documents, "")
        .answers(201, Shape::Documents),
    Route::patch("/api/v1/data/{app}/{plural}", "changeMatching", "Change the documents that match filters")
        .tagged("documents")
        .expands(Action::Update)
        .filters()
        .takes(&[SELECT, PREFER, KEY])
        .body(Shape::Fields, "")
        .answers(200, Shape::Documents),
    Route::delete("/api/v1/data/{app}/{plural}", "deleteMatching", "Delete the documents that match filters")
        .tagged("documents")
        .expands(Action::Delete)
        .filters()
        .takes(&[SELECT, PREFER, KEY])
        .answers(204, Shape::Empty),
    Route::get("/api/v1/data/{app}/{plural}/{id}", "read", "A document")
        .tagged("documents")
        .expands(Action::Read)
        .takes(&[
            SELECT,
            Parameter::header("If-None-Match", "answered with 304 while the document has this ETag"),
        ])
        .answers(200, Shape::Document),
    Route::patch("/api/v1/data/{app}/{plural}/{id}", "change", "Change some fields of a document")
        .tagged("documents")
        .expands(Action::Update)
        .takes(&[IF_MATCH, KEY])
        .body(Shape::Fields, "")
        .answers(200, Shape::Document),
    Route::put("/api/v1/data/{app}/{plural}/{id}", "replace", "Set all fields of a document")
        .tagged("documents")
        .expands(Action::Update)
        .takes(&[IF_MATCH, KEY])
        .body(Shape::Document, "")
        .answers(200, Shape::Document),
    Route::delete("/api/v1/data/{app}/{plural}/{id}", "delete", "Delete a document")
        .tagged("documents")
        .expands(Action::Delete)
        .takes(&[
            IF_MATCH,
            KEY,
            Parameter::query("purge", "true: for good, also where deleted documents are kept"),
        ])
        .answers(204, Shape::Empty),
    Route::post("/api/v1/data/{app}/{plural}/{id}/restore", "restore", "Bring back a deleted document")
        .tagged("documents")
        .expands(Action::Delete)
        .answers(200, Shape::Document),
];

const SELECT: Parameter =
    Parameter::query("select", "only these fields, with commas between them; customer(name) embeds");
const PREFER: Parameter = Parameter::header(
    "Prefer",
    "return=representation or minimal, count=exact, planned or estimated, resolution=merge-duplicates or ignore-duplicates",
);
const KEY: Parameter =
    Parameter::header("Idempotency-Key", "the same request with the same key is carried out once");
const IF_MATCH: Parameter = Parameter::header("If-Match", "the ETag of the document that is meant");

/// `/api/v1/data/...` and `/rest/v1/...`, to stand inside of the tenant's layers.
pub fn router() -> Router<AppState> {
    Router::new()
        .merge(collection::router())
        .route("/api/v1/data/{app}/{plural}", get(list).post(create).patch(patch_many).delete(remove_many))
        .route("/api/v1/data/{app}/{plural}/{id}", get(read).patch(patch).put(replace).delete(remove))
        .route("/api/v1/data/{app}/{plural}/{id}/restore", post(restore))
}

async fn list(
    State(state): State<AppState>,
    scope: Scope,
    Path((app, plural)): Path<(String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let documents = documents(&state, &scope, &app, &plural)?;
    Ask { documents, dialect: Dialect::Native, parameters: &parameters, headers: &headers }.read().await
}

async fn read(
    State(state): State<AppState>,
    scope: Scope,
    Path((app, plural, id)): Path<(String, String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let documents = documents(&state, &scope, &app, &plural)?;
    let select = match parameters.as_slice() {
        [] => None,
        [(name, fields)] if name == "select" => Some(fields.as_str()),
        _ => return Err(ApiError::bad_request("select is the only parameter here, and only once")),
    };
    let document = documents.get(&id, select).await?;
    if precondition::is_known(&headers, &document.version)? {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        tag(&mut response, &document);
        return Ok(response);
    }
    Ok(one(StatusCode::OK, document))
}

async fn create(
    State(state): State<AppState>,
    scope: Scope,
    Path((app, plural)): Path<(String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    Content(content): Content,
) -> Result<Response, ApiError> {
    let documents = documents(&state, &scope, &app, &plural)?;
    let ask = Ask { documents, dialect: Dialect::Native, parameters: &parameters, headers: &headers };
    ask.store(&content).await
}

async fn patch_many(
    State(state): State<AppState>,
    scope: Scope,
    Path((app, plural)): Path<(String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    Content(content): Content,
) -> Result<Response, ApiError> {
    let documents = documents(&state, &scope, &app, &plural)?;
    let ask = Ask { documents, dialect: Dialect::Native, parameters: &parameters, headers: &headers };
    ask.change(&content).await
}

async fn remove_many(
    State(state): State<AppState>,
    scope: Scope,
    Path((app, plural)): Path<(String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let documents = documents(&state, &scope, &app, &plural)?;
    Ask { documents, dialect: Dialect::Native, parameters: &parameters, headers: &headers }.remove().await
}

async fn patch(
    state: State<AppState>,
    scope: Scope,
    path: Path<(String, String, String)>,
    headers: HeaderMap,
    body: Json<Value>,
) -> Result<Response, ApiError> {
    update(&state, &scope, path, &headers, body, false).await
}

async fn replace(
    state: State<AppState>,
    scope: Scope,
    path: Path<(String, String, String)>,
    headers: HeaderMap,
    body: Json<Value>,
) -> Result<Response, ApiError> {
    update(&state, &scope, path, &headers, body, true).await
}

async fn update(
    state: &AppState,
    scope: &Scope,
    Path((app, plural, id)): Path<(String, String, String)>,
    headers: &HeaderMap,
    Json(body): Json<Value>,
    whole: bool,
) -> Result<Response, ApiError> {
    let version = precondition::if_match(headers)?;
    let documents = documents(state, scope, &app, &plural)?;
    let verb = if whole { "PUT" } else { "PATCH" };
    let route = format!("{verb} {app}/{plural}/{id}");
    let key = Key::of(headers, scope, &route, body.to_string().as_bytes())?;
    let (document, replayed) = documents.update(&id, whole, &body, &version, key.as_ref()).await?;
    Ok(replay(one(StatusCode::OK, document), replayed))
}

async fn remove(
    State(state): State<AppState>,
    scope: Scope,
    Path((app, plural, id)): Path<(String, String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let purge = match parameters.as_slice() {
        [] => false,
        [(name, value)] if name == "purge" && value == "true" => true,
        _ => return Err(ApiError::bad_request("purge=true is the only parameter here, and only once")),
    };
    let version = precondition::if_match(&headers)?;
    let key = Key::of(&headers, &scope, &format!("DELETE {app}/{plural}/{id}"), &[u8::from(purge)])?;
    let documents = documents(&state, &scope, &app, &plural)?;
    let replayed = documents.delete(&id, &version, purge, key.as_ref()).await?;
    Ok(replay(StatusCode::NO_CONTENT.into_response(), replayed))
}

/// Brings back a document that was only marked as deleted.
async fn restore(
    State(state): State<AppState>,
    scope: Scope,
    Path((app, plural, id)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    Ok(one(StatusCode::OK, documents(&state, &scope, &app, &plural)?.restore(&id).await?))
}

/// Says of an answer that it was given before.
pub(super) fn replay(mut response: Response, replayed: bool) -> Response {
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

pub(super) fn documents<'a>(
    state: &'a AppState,
    scope: &'a Scope,
    app: &str,
    plural: &str,
) -> Result<Documents<'a>, ApiError> {
    let doc = scope.tenant.apps.catalog().doc_type(app, plural).ok_or_else(no_type)?;
    let database = scope.tenant.home.database()?;
    Ok(Documents { database, cursors: &state.cursors, scope, doc })
}

pub(super) fn no_type() -> ApiError {
    ApiError::not_found("this tenant has no such document type")
}

pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn one(status: StatusCode, document: Document) -> Response {
    let mut response = json(status, Vec::new());
    tag(&mut response, &document);
    *response.body_mut() = Body::from(document.json);
    response
}

fn tag(response: &mut Response, document: &Document) {
    if let Some(tag) = precondition::entity_tag(&document.version) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}

/// `id` as one segment of a path.
pub(super) fn path_segment(id: &str) -> String {
    let mut segment = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                segment.push(char::from(byte))
            }
            other => segment.push_str(&format!("%{other:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_id_is_one_segment() {
        assert_eq!(super::path_segment("SO-00001"), "SO-00001");
        assert_eq!(super::path_segment("a/b é?"), "a%2Fb%20%C3%A9%3F");
    }
}
