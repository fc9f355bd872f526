//! `/api/v1/search/{app}/{plural}`.

use axum::{Router, routing::get};
use serde_json::{Map, Value};
use tenantry_crds::v1alpha1::Action;

use super::{
    engine::Fault,
    filter::{self, Wanted},
    indexed,
};
use crate::{
    auth::Scope,
    data::{Allowed, Rights},
    describe::{Parameter, Route, Shape},
    error::ApiError,
    http::{Path, Query},
    state::AppState,
};

/// What these routes are.
pub const ROUTES: &[Route] = &[Route::get(
    "/api/v1/search/{app}/{plural}",
    "search",
    "Documents in which a text is found, of types with a SearchIndex",
)
.tagged("search")
.takes(&[
    Parameter::query("q", "the text; typos are forgiven"),
    Parameter::query("facets", "fields whose values are counted, with commas between them"),
    Parameter::query("order", "as in created_at.desc"),
    Parameter::number("limit", "items of a page: 20 unless given"),
    Parameter::number("offset", "items before the page"),
])
.answers(200, Shape::Schema(r#"{"type": "object", "required": ["items", "estimatedTotal"], "properties": {
    "items": {"type": "array", "items": {"type": "object"}}, "estimatedTotal": {"type": "integer"}, "facets": {"type": "object"}}}"#))];

/// The routes.
pub fn router() -> Router<AppState> {
    Router::new().route("/api/v1/search/{app}/{plural}", get(search))
}

/// What a search found.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    items: Vec<Map<String, Value>>,
    /// How many documents there are in all, about.
    estimated_total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    facets: Option<Value>,
}

/// Documents in which `q` is found, as far as the caller may read them.
async fn search(
    scope: Scope,
    Path((app, plural)): Path<(String, String)>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<axum::Json<Answer>, ApiError> {
    let unknown = || ApiError::not_found("there is no such document type");
    let model = scope.tenant.apps.catalog().doc_type(&app, &plural).ok_or_else(unknown)?;
    let definition = scope.tenant.apps.get(&app).and_then(|app| app.doc_type(&model.name));
    let doc_type = definition.ok_or_else(unknown)?;
    let rights = Rights::of(model, &scope.caller);
    let allowed = rights.allowed(Action::Read);
    if allowed == Allowed::Denied {
        return Err(ApiError::forbidden(format!("you may not read {plural}")));
    }
    let key = (model.app.clone(), model.name.clone());
    let binding = scope.tenant.search.get(&key).ok_or_else(|| {
        ApiError::not_found(format!("{plural} cannot be searched"))
            .hint(format!("apply a SearchIndex for {}.{}", model.app, model.name))
    })?;
    let hidden = |field: &str| model.column(field).is_none_or(|(n, _)| !rights.sees(n));
    let wanted = Wanted::parse(&parameters, &binding.settings, hidden)?;
    let engine = scope.tenant.home.search().ok_or_else(|| ApiError::unavailable("search"))?;
    // An index that cannot filter by what permissions compare has settings of another moment.
    let filters = |column: &str| binding.settings.filterable.iter().any(|field| field == column);
    if !binding.live || !filter::compared(&allowed).into_iter().all(filters) {
        return Err(ApiError::unavailable("search").hint("the index is still being built"));
    }
    let found = engine
        .engine
        .search(&binding.index_uid, &wanted.query(&allowed), scope.request.trace.as_deref())
        .await?;
    scope.request.seen.add_rows(found.hits.len());
    let items: Vec<_> = found
        .hits
        .into_iter()
        .filter_map(|hit| indexed::document(doc_type, hit))
        .filter(|document| filter::may_read(&allowed, document))
        .map(|document| filter::shown(&rights, document))
        .collect();
    Ok(axum::Json(Answer { items, estimated_total: found.estimated_total, facets: found.facets }))
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        Self::unavailable("search").caused_by(fault)
    }
}
