//! `/api/v1/audit`: what administrators of a tenant read, newest first.
//!
//! The tenant's own role reads, so row level security keeps the rows of others away, whatever this statement says.

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::Response,
    routing::get,
};

use crate::{
    auth::Scope,
    data::{CursorKey, ListIdentity},
    describe::{Access, Parameter, Route, Shape},
    error::{ApiError, FieldError},
    http::Query,
    postgres::{Bound, Group, Params, Row, TemplateBuilder},
    registry::TenantEntry,
    state::AppState,
};

const USUAL: u16 = 50;
const MOST: u16 = 500;
/// Characters that a filter's value may have.
const VALUE_CHARS: usize = 400;

/// Columns that may be compared, by the parameter that does.
const FILTERS: [(&str, &str); 8] = [
    ("actor", "actor = $N::text"),
    ("action", "action = $N::text"),
    ("app", "app = $N::text"),
    ("doc_type", "doc_type = $N::text"),
    ("doc_id", "doc_id = $N::text"),
    ("request_id", "request_id = $N::text"),
    ("since", "occurred_at >= $N::timestamptz"),
    ("until", "occurred_at < $N::timestamptz"),
];

/// What this route is.
pub const ROUTES: &[Route] = &[Route::get("/api/v1/audit", "readAudit", "The audit journal, newest first")
    .tagged("audit")
    .access(Access::Admin)
    .takes(&[
        Parameter::query("actor", "rows of this user"),
        Parameter::query("action", "Create, Update or Delete"),
        Parameter::query("app", "rows of this app"),
        Parameter::query("doc_type", "rows of this document type"),
        Parameter::query("doc_id", "rows of this document"),
        Parameter::query("request_id", "rows of this request"),
        Parameter::query("since", "from this time on"),
        Parameter::query("until", "before this time"),
        Parameter::number("limit", "rows of a page: 50 unless given, 500 at most"),
        Parameter::query("after", "the `next` of the page before"),
    ])
    .answers(
        200,
        Shape::Schema(
            r#"{"type": "object", "required": ["items", "next"], "properties": {
        "next": {"type": ["string", "null"]}, "items": {"type": "array", "items": {"type": "object"}}}}"#,
        ),
    )];

/// The route, to stand inside of the tenant's layers.
pub fn router() -> Router<AppState> {
    Router::new().route("/api/v1/audit", get(list))
}

/// Rows of the journal; `next` goes into `after`.
async fn list(
    State(state): State<AppState>,
    scope: Scope,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    if !scope.caller.admin {
        return Err(ApiError::forbidden("only administrators of the tenant read its audit journal"));
    }
    let wanted = Wanted::parse(&scope.tenant, &parameters, &state.cursors)?;
    let group = Group::read(wanted.statement()).charged_to(&scope.request.load);
    let reply = scope.tenant.home.database()?.run(&scope.tenant, group).await?;
    scope.request.seen.add_rows(reply.rows.len());
    let bytes: usize = reply.rows.iter().map(Row::len).sum();
    // For the body.
    scope.request.load.hold(bytes)?;
    let limit = usize::from(wanted.limit);
    let rows = reply.rows.get(..limit).unwrap_or(&reply.rows);
    let last = rows.last().filter(|_| reply.rows.len() > limit);
    let next = match last.and_then(|row| row.text(0)) {
        Some(id) => format!("\"{}\"", state.cursors.seal(&wanted.identity, &[Some(id)])),
        None => "null".to_owned(),
    };
    let mut body = String::with_capacity(bytes + next.len() + 32);
    body.push_str("{\"items\":[");
    for (n, item) in rows.iter().filter_map(|row| row.text(1)).enumerate() {
        body.push_str(if n > 0 { "," } else { "" });
        body.push_str(item);
    }
    body.push_str("],\"next\":");
    body.push_str(&next);
    body.push('}');
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// What was asked for.
#[derive(Debug)]
struct Wanted<'a> {
    /// Conditions with the values that they compare to.
    filters: Vec<(&'static str, &'a str)>,
    limit: u16,
    /// The id of the last row of the page before.
    before: Option<String>,
    identity: ListIdentity,
}

impl<'a> Wanted<'a> {
    fn parse(
        tenant: &TenantEntry,
        parameters: &'a [(String, String)],
        key: &CursorKey,
    ) -> Result<Self, ApiError> {
        let mut identity = ListIdentity::default();
        identity.add(b"audit");
        identity.add(tenant.uid.as_bytes());
        let (mut filters, mut limit, mut after, mut errors) = (Vec::new(), USUAL, None, Vec::new());
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in parameters {
            if seen.contains(&name.as_str()) {
                errors.push(wrong(name, "is given twice"));
                continue;
            }
            seen.push(name);
            match (name.as_str(), FILTERS.iter().find(|(known, _)| known == name)) {
                ("limit", _) => match value.parse() {
                    Ok(number @ 1..=MOST) => limit = number,
                    _ => errors.push(wrong(name, &format!("use a number from 1 to {MOST}"))),
                },
                ("after", _) => after = Some(value),
                (_, Some(_)) if value.len() > VALUE_CHARS => errors.push(wrong(name, "is too long")),
                ("since" | "until", Some(_)) if value.parse::<jiff::Timestamp>().is_err() => {
                    errors.push(wrong(name, "use a time as in 2026-01-31T08:00:00Z"));
                }
                (_, Some((_, condition))) => {
                    identity.add(name.as_bytes());
                    identity.add(value.as_bytes());
                    filters.push((*condition, value.as_str()));
                }
                _ => errors.push(wrong(name, "is not a parameter of this list")),
            }
        }
        let before = after.and_then(|cursor| {
            let opened = key.open(&identity, cursor).and_then(|values| values.into_iter().next().flatten());
            if opened.is_none() {
                errors.push(wrong("after", "is no cursor of this list; take `next` of the page before"));
            }
            opened
        });
        if errors.is_empty() {
            Ok(Self { filters, limit, before, identity })
        } else {
            Err(ApiError::bad_request("the query cannot be read").with_errors(errors))
        }
    }

    fn statement(&self) -> Bound {
        let mut params = Params::default();
        let mut sql = TemplateBuilder::new(
            "SELECT id::text, row_to_json(shown)::text FROM (SELECT id, actor, action, app, doc_type, doc_id, doc_version, \
             request_id, client, changes, replace(replace(occurred_at::text, ' ', 'T'), '+00', 'Z') AS occurred_at \
             FROM tenantry.audit WHERE role = current_user",
        );
        let before = self.before.as_deref().map(|before| ("id < $N::bigint", before));
        for (condition, value) in self.filters.iter().copied().chain(before) {
            let n = params.push(Some(value));
            sql.push(" AND ").push(&condition.replace("$N", &format!("${n}")));
        }
        let n = params.push(Some(&(self.limit + 1).to_string()));
        sql.push(&format!(" ORDER BY id DESC LIMIT ${n}::bigint) AS shown"));
        Bound { template: sql.build(), params, by_value: true }
    }
}

fn wrong(name: &str, message: &str) -> FieldError {
    FieldError { pointer: name.chars().take(100).collect(), message: message.to_owned() }
}
