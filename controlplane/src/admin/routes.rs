//! `/api/v1/admin/tenants`.

use axum::{
    Router,
    extract::State,
    http::{self, HeaderMap, StatusCode, Uri},
    routing::get,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, DynamicObject, ListParams},
    core::ApiResource,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tenantry_crds::{labels::API_FIELD_MANAGER, names::TenantName, v1alpha1::Tenant};

use super::{
    access::{Verb, authorize},
    refusal::refused,
};
use crate::{
    describe::{Access, Parameter, Route, Shape},
    error::{ApiError, FieldError},
    http::{Json, Path, Query},
    state::AppState,
};

const LIST_USUAL: u32 = 100;
const LIST_MAX: u32 = 500;

/// What these routes are.
pub const ROUTES: &[Route] = &[
    admin_route(Route::get("/api/v1/admin/tenants", "listTenants", "Tenants of the cluster")).takes(&[
        Parameter::number("limit", "tenants of a page: 100 unless given, 500 at most"),
        Parameter::query("continue", "the `next` of the page before"),
        Parameter::query("labelSelector", "as kubectl has it"),
    ]),
    admin_route(Route::post("/api/v1/admin/tenants", "createTenant", "Make a Tenant"))
        .body(Shape::Schema(r#"{"type": "object"}"#), r#"{"metadata": {"name": "acme"}, "spec": {}}"#)
        .answers(201, Shape::Schema(r#"{"type": "object"}"#)),
    admin_route(Route::get("/api/v1/admin/tenants/{name}", "readTenant", "A Tenant")),
    admin_route(Route::delete("/api/v1/admin/tenants/{name}", "deleteTenant", "Delete a Tenant")),
];

const fn admin_route(route: Route) -> Route {
    route.tagged("administration").access(Access::Cluster)
}

/// The routes.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/api/v1/admin/tenants", get(list).post(create))
        .route("/api/v1/admin/tenants/{name}", get(read).delete(delete))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<u32>,
    #[serde(rename = "continue")]
    continue_token: Option<String>,
    #[serde(rename = "labelSelector")]
    label_selector: Option<String>,
}

/// Tenants, `limit` at a time; `next` goes into `continue`.
async fn list(
    State(state): State<AppState>,
    headers: HeaderMap,
    uri: Uri,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<Value>, ApiError> {
    let limit = query.limit.unwrap_or(LIST_USUAL);
    if !(1..=LIST_MAX).contains(&limit) {
        return Err(ApiError::bad_request("limit must be from 1 to 500"));
    }
    let client = state.cluster.client().await?;
    authorize(client, &headers, &uri, Verb::List, None).await?;
    let params = ListParams {
        limit: Some(limit),
        continue_token: query.continue_token,
        label_selector: query.label_selector,
        ..ListParams::default()
    };
    let page = tenants(client).list(&params).await.map_err(refused)?;
    let next = page.metadata.continue_.filter(|token| !token.is_empty());
    let items = page.items.into_iter().map(shown).collect::<Result<Vec<_>, _>>()?;
    Ok(axum::Json(json!({"items": items, "next": next})))
}

/// Makes a Tenant from a manifest: `metadata` and `spec`, as `kubectl apply` takes them.
async fn create(
    State(state): State<AppState>,
    headers: HeaderMap,
    uri: Uri,
    Json(mut manifest): Json<Value>,
) -> Result<(StatusCode, axum::Json<Value>), ApiError> {
    let name = manifest.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned);
    check_kind(&mut manifest)?;
    let client = state.cluster.client().await?;
    let caller = authorize(client, &headers, &uri, Verb::Create, name.as_deref()).await?;
    let body = serde_json::to_vec(&manifest).map_err(ApiError::internal)?;
    // Strict: a misspelt field is an error here, and not silently another tenant than the caller meant.
    let path =
        format!("{}?fieldManager={API_FIELD_MANAGER}&fieldValidation=Strict", Tenant::url_path(&(), None));
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(ApiError::internal)?;
    let created: DynamicObject = client.request(request).await.map_err(refused)?;
    tracing::info!(tenant = created.metadata.name, caller, "Tenant created");
    Ok((StatusCode::CREATED, axum::Json(shown(created)?)))
}

/// One Tenant, with its status.
async fn read(
    State(state): State<AppState>,
    headers: HeaderMap,
    uri: Uri,
    Path(name): Path<String>,
) -> Result<axum::Json<Value>, ApiError> {
    let name = possible(&name)?;
    let client = state.cluster.client().await?;
    authorize(client, &headers, &uri, Verb::Get, Some(name.as_str())).await?;
    Ok(axum::Json(shown(tenants(client).get(name.as_str()).await.map_err(refused)?)?))
}

/// Deletes a Tenant, by the policy in its spec: 202, since the operator carries it out.
async fn delete(
    State(state): State<AppState>,
    headers: HeaderMap,
    uri: Uri,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let name = possible(&name)?;
    let client = state.cluster.client().await?;
    let caller = authorize(client, &headers, &uri, Verb::Delete, Some(name.as_str())).await?;
    tenants(client).delete(name.as_str(), &DeleteParams::default()).await.map_err(refused)?;
    tracing::info!(tenant = %name, caller, "Tenant deleted");
    Ok(StatusCode::ACCEPTED)
}

/// The name becomes a part of the cluster's URL: one that no tenant can have must not get there.
fn possible(name: &str) -> Result<TenantName, ApiError> {
    TenantName::new(name).map_err(|_| ApiError::not_found("there is no such tenant"))
}

/// Untyped, so that a field which this release does not know passes through whole.
fn tenants(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ApiResource::erase::<Tenant>(&()))
}

fn shown(mut tenant: DynamicObject) -> Result<Value, ApiError> {
    tenant.metadata.managed_fields = None;
    serde_json::to_value(tenant).map_err(ApiError::internal)
}

/// The kind is a Tenant's, or left out.
fn check_kind(manifest: &mut Value) -> Result<(), ApiError> {
    let Some(object) = manifest.as_object_mut() else {
        return Err(ApiError::invalid(vec![wrong("", "must be an object with metadata and spec")]));
    };
    let mut errors = Vec::new();
    for (key, expected) in
        [("apiVersion", Tenant::api_version(&()).into_owned()), ("kind", Tenant::kind(&()).into_owned())]
    {
        let given = object.entry(key).or_insert_with(|| expected.clone().into());
        if given.as_str() != Some(&expected) {
            errors.push(wrong(&format!("/{key}"), &format!("must be {expected}")));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(errors)) }
}

fn wrong(pointer: &str, message: &str) -> FieldError {
    FieldError { pointer: pointer.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_may_be_left_out_but_not_be_another() {
        let mut manifest = json!({"metadata": {"name": "acme"}, "spec": {}});
        assert!(check_kind(&mut manifest).is_ok());
        assert_eq!(manifest["apiVersion"], "tenantry.dev/v1alpha1");
        assert!(check_kind(&mut json!({"kind": "App", "spec": {}})).is_err());
        assert!(check_kind(&mut json!([])).is_err());
    }
}
