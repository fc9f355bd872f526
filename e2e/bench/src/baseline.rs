//! The usual way to serve the same rows: axum, a pool of connections, and a transaction of four round trips for each
//! request. No token is checked, no permission, nothing is validated; it is the least that a hand-written service does.

use std::net::SocketAddr;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgConnection};

use super::Outcome;

/// Serves `/customers` and `/customers/{id}` of the tenant that `X-Tenant` names, until the process ends.
///
/// # Errors
/// When the database or the address cannot be used.
#[allow(clippy::disallowed_methods, reason = "what axum is by itself is what is measured")]
pub async fn serve(listen: SocketAddr, database_url: &str) -> Outcome<()> {
    let pool = PgPoolOptions::new().max_connections(16).connect(database_url).await?;
    let routes = Router::new()
        .route("/customers", get(list).post(insert))
        .route("/customers/{id}", get(by_id))
        .with_state(pool);
    let listener = tokio::net::TcpListener::bind(listen).await?;
    Ok(axum::serve(listener, routes).await?)
}

const COLUMNS: &str = "json_build_object('id', id, 'name', name, 'email', email, 'status', status, 'credit', credit::text, \
                       'version', version, 'created_at', created_at)";

async fn by_id(
    State(pool): State<PgPool>,
    Path(id): Path<uuid::Uuid>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let schema = schema(&headers)?;
    let mut transaction = pool.begin().await?;
    assume(&mut transaction, &schema).await?;
    let sql = format!("SELECT ({COLUMNS})::text FROM \"{schema}\".crm_customer WHERE id = $1");
    let row: Option<String> =
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(id).fetch_optional(&mut *transaction).await?;
    transaction.commit().await?;
    row.map(json).ok_or(Failure(StatusCode::NOT_FOUND))
}

#[derive(Deserialize)]
struct Filter {
    status: String,
}

async fn list(
    State(pool): State<PgPool>,
    Query(Filter { status }): Query<Filter>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let schema = schema(&headers)?;
    let mut transaction = pool.begin().await?;
    assume(&mut transaction, &schema).await?;
    let sql = format!(
        "SELECT coalesce(json_agg({COLUMNS}), '[]')::text FROM \
         (SELECT * FROM \"{schema}\".crm_customer WHERE status = $1 ORDER BY id DESC LIMIT 20) rows"
    );
    let rows: String =
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(status).fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(json(rows))
}

async fn insert(
    State(pool): State<PgPool>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, Failure> {
    let schema = schema(&headers)?;
    let mut transaction = pool.begin().await?;
    assume(&mut transaction, &schema).await?;
    let sql = format!(
        "WITH new AS (INSERT INTO \"{schema}\".crm_customer (id, name, status, credit, created_by, updated_by) \
           VALUES ($1, $2, $3, $4::numeric, 'bench', 'bench') RETURNING id, version), \
         event AS (INSERT INTO tenantry.outbox (app, doc_type, doc_id, doc_version, operation) \
           SELECT 'crm', 'customer', id::text, version, 'Put' FROM new), \
         history AS (INSERT INTO tenantry.audit (actor, action, app, doc_type, doc_id, doc_version, request_id) \
           SELECT 'bench', 'Create', 'crm', 'customer', id::text, version, '' FROM new) \
         SELECT id::text FROM new"
    );
    let id: String = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(uuid::Uuid::now_v7())
        .bind(body["name"].as_str())
        .bind(body["status"].as_str())
        .bind(body["credit"].as_str())
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, json(format!("{{\"id\":\"{id}\"}}"))).into_response())
}

async fn assume(connection: &mut PgConnection, schema: &str) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(format!("SET LOCAL ROLE \"{schema}\""))).execute(connection).await.map(|_| ())
}

fn schema(headers: &HeaderMap) -> Result<String, Failure> {
    let tenant = headers
        .get("x-tenant")
        .and_then(|value| value.to_str().ok())
        .ok_or(Failure(StatusCode::BAD_REQUEST))?;
    let shaped = tenant.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if shaped {
        Ok(format!("tenant_{}", tenant.replace('-', "_")))
    } else {
        Err(Failure(StatusCode::BAD_REQUEST))
    }
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

struct Failure(StatusCode);

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        eprintln!("baseline: {error}");
        Self(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
