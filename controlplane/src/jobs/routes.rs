//! `/api/v1/jobs/{app}/{queue}`.
//!
//! Jobs are for the tenant's administrators and for workers: tokens with the role `{app}:worker`.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use tenantry_crds::names::{AppName, QueueName};
use tokio::time::Instant;
use uuid::Uuid;

use super::queues::{Counts, Failed, Leased, QueueError};
use crate::{
    auth::{Scope, still_served},
    describe::{Access, Route, Shape},
    error::{ApiError, Code, FieldError},
    http::{Json, Path},
    registry::StreamBinding,
    state::AppState,
};

/// The longest that a lease call may wait for jobs.
pub const MAX_WAIT: Duration = Duration::from_secs(20);
/// The role, besides administrators, that may put jobs in and take them out.
pub const WORKER_ROLE: &str = "worker";

const MAX_LEASE: usize = 100;
const MAX_TYPE_CHARS: usize = 100;
const MAX_ID_CHARS: usize = 128;
/// Redis holds payloads in memory; larger things belong into a document.
const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
const MAX_ERROR_CHARS: usize = 2000;
const MAX_RETRY_SECONDS: u64 = 7 * 24 * 3600;
/// Between two looks at an empty queue.
const LOOK_AGAIN: Duration = Duration::from_millis(150);

/// What these routes are.
pub const ROUTES: &[Route] = &[
    job_route(Route::get("/api/v1/jobs/{app}/{queue}", "countJobs", "How many jobs a queue has"))
        .answers(200, Shape::Schema(r#"{"type": "object", "required": ["waiting", "leased", "delayed", "dead"]}"#)),
    job_route(Route::post("/api/v1/jobs/{app}/{queue}", "enqueueJob", "Put a job into a queue"))
        .body(
            Shape::Schema(r#"{"type": "object", "required": ["type"], "additionalProperties": false, "properties": {
                "id": {"type": "string", "maxLength": 128}, "type": {"type": "string", "maxLength": 100}, "payload": {}}}"#),
            r#"{"type": "invoice", "payload": {"order": "SO-00001"}}"#,
        )
        .answers(201, Shape::Schema(r#"{"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}"#)),
    job_route(Route::post("/api/v1/jobs/{app}/{queue}/lease", "leaseJobs", "Take jobs, waiting for the first"))
        .body(
            Shape::Schema(r#"{"type": "object", "additionalProperties": false, "properties": {
                "max": {"type": "integer", "minimum": 1, "maximum": 100}, "wait_ms": {"type": "integer", "maximum": 20000}}}"#),
            r#"{"max": 1}"#,
        )
        .answers(200, Shape::Schema(r#"{"type": "object", "required": ["jobs"], "properties": {"jobs": {"type": "array"}}}"#)),
    job_route(Route::post("/api/v1/jobs/{app}/{queue}/ack", "ackJob", "A job is done"))
        .body(Shape::Schema(HELD), r#"{"token": "x"}"#)
        .answers(204, Shape::Empty),
    job_route(Route::post("/api/v1/jobs/{app}/{queue}/nack", "nackJob", "An attempt failed"))
        .body(
            Shape::Schema(r#"{"type": "object", "required": ["token"], "additionalProperties": false, "properties": {
                "token": {"type": "string"}, "error": {"type": "string"}, "retry_in_seconds": {"type": "integer"}}}"#),
            r#"{"token": "x", "error": "did not work"}"#,
        )
        .answers(200, Shape::Schema(r#"{"type": "object", "required": ["state"]}"#)),
    job_route(Route::post("/api/v1/jobs/{app}/{queue}/extend", "extendLease", "Begin a lease anew"))
        .body(Shape::Schema(HELD), r#"{"token": "x"}"#)
        .answers(200, Shape::Schema(r#"{"type": "object", "required": ["leaseUntil"]}"#)),
];

const HELD: &str = r#"{"type": "object", "required": ["token"], "additionalProperties": false, "properties": {"token": {"type": "string"}}}"#;

const fn job_route(route: Route) -> Route {
    route.tagged("jobs").access(Access::Worker)
}

/// All routes but [`lease_router`]'s.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/api/v1/jobs/{app}/{queue}", get(counts).post(enqueue))
        .route("/api/v1/jobs/{app}/{queue}/ack", post(ack))
        .route("/api/v1/jobs/{app}/{queue}/nack", post(nack))
        .route("/api/v1/jobs/{app}/{queue}/extend", post(extend))
}

/// The route that may wait up to [`MAX_WAIT`].
pub fn lease_router() -> Router<AppState> {
    Router::new().route("/api/v1/jobs/{app}/{queue}/lease", post(lease))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Enqueue {
    id: Option<String>,
    #[serde(rename = "type")]
    job_type: String,
    payload: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lease {
    #[serde(default = "one")]
    max: usize,
    #[serde(default)]
    wait_ms: u64,
}

const fn one() -> usize {
    1
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    token: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nack {
    token: String,
    #[serde(default)]
    error: String,
    retry_in_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
struct LeasedJob {
    id: String,
    #[serde(rename = "type")]
    job_type: String,
    payload: Box<RawValue>,
    attempt: u32,
    token: String,
    #[serde(rename = "leaseUntil")]
    lease_until: String,
}

/// Puts a job in: 201 with its id, 429 `queue_full` when the queue holds as many as it may.
async fn enqueue(
    scope: Scope,
    Path((app, queue)): Path<(String, String)>,
    Json(job): Json<Enqueue>,
) -> Result<(StatusCode, axum::Json<Value>), ApiError> {
    let queue = binding(&scope, &app, &queue)?;
    let id = job.id.unwrap_or_else(|| Uuid::now_v7().to_string());
    let payload = job.payload.unwrap_or_else(|| RawValue::NULL.to_owned());
    let within = |text: &str, max| (1..=max).contains(&text.chars().count());
    check(&[
        ("/type", within(&job.job_type, MAX_TYPE_CHARS), "must have 1 to 100 characters"),
        ("/id", within(&id, MAX_ID_CHARS), "must have 1 to 128 characters"),
        ("/payload", payload.get().len() <= MAX_PAYLOAD_BYTES, "must not be longer than 64 KiB"),
    ])?;
    scope.tenant.home.queues()?.enqueue(queue, &id, &job.job_type, &payload).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({"id": id}))))
}

/// Gives out up to `max` jobs, waiting up to `wait_ms` for the first.
async fn lease(
    State(state): State<AppState>,
    scope: Scope,
    Path((app, queue)): Path<(String, String)>,
    Json(wanted): Json<Lease>,
) -> Result<axum::Json<Value>, ApiError> {
    let queue = binding(&scope, &app, &queue)?;
    let wait = Duration::from_millis(wanted.wait_ms);
    check(&[
        ("/max", (1..=MAX_LEASE).contains(&wanted.max), "must be from 1 to 100"),
        ("/wait_ms", wait <= MAX_WAIT, "must not be above 20000"),
    ])?;
    let deadline = Instant::now() + wait;
    loop {
        // A tenant that was suspended meanwhile keeps its jobs.
        still_served(&state.registry.snapshot(), &scope.tenant)?;
        let jobs = scope.tenant.home.queues()?.lease(queue, wanted.max).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !jobs.is_empty() || left.is_zero() || state.shutdown.is_cancelled() {
            let jobs: Vec<_> = jobs.into_iter().map(LeasedJob::from).collect();
            return Ok(axum::Json(json!({"jobs": jobs})));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN.mul_f64(rand::random_range(0.7..1.3)).min(left)) => {}
            () = state.shutdown.cancelled() => {}
        }
    }
}

/// Settles a job as done: 204, or 409 `stale_lease`.
async fn ack(
    scope: Scope,
    Path((app, queue)): Path<(String, String)>,
    Json(held): Json<Held>,
) -> Result<StatusCode, ApiError> {
    let queue = binding(&scope, &app, &queue)?;
    scope.tenant.home.queues()?.ack(queue, &held.token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Settles an attempt as failed: answers when the next one is due, or that there is none.
async fn nack(
    scope: Scope,
    Path((app, queue)): Path<(String, String)>,
    Json(failed): Json<Nack>,
) -> Result<axum::Json<Value>, ApiError> {
    let queue = binding(&scope, &app, &queue)?;
    check(&[
        (
            "/error",
            failed.error.chars().count() <= MAX_ERROR_CHARS,
            "must not have more than 2000 characters",
        ),
        (
            "/retry_in_seconds",
            failed.retry_in_seconds.is_none_or(|seconds| seconds <= MAX_RETRY_SECONDS),
            "must not be above 604800, seven days",
        ),
    ])?;
    let retry_in = failed.retry_in_seconds.map(Duration::from_secs);
    let answer = match scope.tenant.home.queues()?.nack(queue, &failed.token, &failed.error, retry_in).await?
    {
        Failed::Retry { due_millis } => json!({"state": "delayed", "due": rfc3339(due_millis)}),
        Failed::Dead => json!({"state": "dead"}),
    };
    Ok(axum::Json(answer))
}

/// Begins a lease anew, for a job that takes longer than it.
async fn extend(
    scope: Scope,
    Path((app, queue)): Path<(String, String)>,
    Json(held): Json<Held>,
) -> Result<axum::Json<Value>, ApiError> {
    let queue = binding(&scope, &app, &queue)?;
    let until = scope.tenant.home.queues()?.extend(queue, &held.token).await?;
    Ok(axum::Json(json!({"leaseUntil": rfc3339(until)})))
}

/// How many jobs wait, are leased, are delayed, are dead.
async fn counts(
    scope: Scope,
    Path((app, queue)): Path<(String, String)>,
) -> Result<axum::Json<Counts>, ApiError> {
    let queue = binding(&scope, &app, &queue)?;
    Ok(axum::Json(scope.tenant.home.queues()?.counts(queue).await?))
}

/// The queue, for those who may use it.
fn binding<'a>(scope: &'a Scope, app: &str, queue: &str) -> Result<&'a StreamBinding, ApiError> {
    let unknown = || ApiError::not_found("there is no such queue");
    let app = AppName::new(app).map_err(|_| unknown())?;
    let queue = QueueName::new(queue).map_err(|_| unknown())?;
    if !scope.caller.admin && !scope.caller.has_role(&app, WORKER_ROLE) {
        return Err(ApiError::forbidden("jobs are for administrators and workers")
            .hint(format!("a token with the role {app}:{WORKER_ROLE} may use the queues of {app}")));
    }
    scope
        .tenant
        .apps
        .get(app.as_str())
        .and_then(|_| scope.tenant.streams.get(&(app, queue)))
        .ok_or_else(unknown)
}

fn check(rules: &[(&str, bool, &str)]) -> Result<(), ApiError> {
    let broken: Vec<_> = rules
        .iter()
        .filter(|(_, holds, _)| !holds)
        .map(|(pointer, _, message)| FieldError {
            pointer: (*pointer).to_owned(),
            message: (*message).to_owned(),
        })
        .collect();
    if broken.is_empty() { Ok(()) } else { Err(ApiError::invalid(broken)) }
}

fn rfc3339(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

impl From<Leased> for LeasedJob {
    fn from(job: Leased) -> Self {
        Self {
            id: job.id,
            job_type: job.job_type,
            payload: job.payload,
            attempt: job.attempt,
            token: job.token,
            lease_until: rfc3339(job.until_millis),
        }
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Full => {
                Self::new(Code::QueueFull, "the queue holds as many jobs as it may; try again later")
                    .retry_after(5)
            }
            QueueError::Stale => Self::new(
                Code::StaleLease,
                "the lease ran out or was settled already; the job may be with another worker",
            ),
            QueueError::Redis(_) | QueueError::TooSlow(_) | QueueError::Evicts(_) => {
                Self::unavailable("the job queue").caused_by(error)
            }
        }
    }
}
