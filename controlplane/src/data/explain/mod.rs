//! `/api/v1/explain`: why a caller may do something with documents of a type, or with one of them, or why not.
//!
//! Everybody may ask about themselves; an administrator about any user and roles. What a caller may not know of is not there,
//! here as everywhere.

mod answer;
mod rule;

use axum::{Router, extract::State, routing::get};
use tenantry_crds::v1alpha1::Action;

use self::answer::Explanation;
use super::{
    documents::Documents,
    permit::{Allowed, Rights},
    refusal::Request,
    routes, sql,
};
use crate::{
    auth::{AppRole, Caller, Scope},
    describe::{Parameter, Route, Shape},
    error::{ApiError, FieldError},
    http::{Path, Query},
    postgres::Group,
    state::AppState,
};

type Parameters = Query<Vec<(String, String)>>;

/// What these routes are.
pub const ROUTES: &[Route] = &[
    Route::get("/api/v1/explain/{app}/{plural}", "explain", "What one may do with documents, and why")
        .tagged("documents")
        .takes(&[USER, ROLES])
        .answers(200, Shape::Schema(r#"{"type": "object"}"#)),
    Route::get(
        "/api/v1/explain/{app}/{plural}/{id}",
        "explainOne",
        "What one may do with a document, and why",
    )
    .tagged("documents")
    .takes(&[USER, ROLES])
    .answers(200, Shape::Schema(r#"{"type": "object"}"#)),
];

const USER: Parameter =
    Parameter::query("user", "whose rights; the caller's unless given. For administrators");
const ROLES: Parameter = Parameter::query("roles", "the roles of that user, with commas between them");

/// The routes, to stand inside of the tenant's layers.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/api/v1/explain/{app}/{plural}", get(of_type))
        .route("/api/v1/explain/{app}/{plural}/{id}", get(of_document))
}

async fn of_type(
    State(state): State<AppState>,
    scope: Scope,
    Path((app, plural)): Path<(String, String)>,
    Query(parameters): Parameters,
) -> Result<axum::Json<Explanation>, ApiError> {
    let documents = known(&state, &scope, &app, &plural)?;
    let subject = subject(&scope.caller, &parameters)?;
    Ok(axum::Json(answer::explain(&Rights::of(documents.doc, &subject), None)))
}

async fn of_document(
    State(state): State<AppState>,
    scope: Scope,
    Path((app, plural, id)): Path<(String, String, String)>,
    Query(parameters): Parameters,
) -> Result<axum::Json<Explanation>, ApiError> {
    let documents = known(&state, &scope, &app, &plural)?;
    let subject = subject(&scope.caller, &parameters)?;
    let rights = Rights::of(documents.doc, &subject);
    let found = look(documents, &rights, &id).await?;
    Ok(axum::Json(answer::explain(&rights, Some(&found))))
}

/// The documents of a type that the caller may do something with: whoever may do nothing does not learn that it is there.
fn known<'a>(
    state: &'a AppState,
    scope: &'a Scope,
    app: &str,
    plural: &str,
) -> Result<Documents<'a>, ApiError> {
    let documents = routes::documents(state, scope, app, plural)?;
    let rights = documents.rights();
    let actions = [Action::Read, Action::Create, Action::Update, Action::Delete];
    if actions.into_iter().any(|action| rights.may(action)) { Ok(documents) } else { Err(routes::no_type()) }
}

/// Of the document with this id: which permissions hold for it, and at last whether it stands.
async fn look(documents: Documents<'_>, rights: &Rights<'_>, id: &str) -> Result<Vec<bool>, ApiError> {
    let not_found = || ApiError::not_found("there is no such document");
    let visible = documents.rights().allowed(Action::Read);
    if visible == Allowed::Denied {
        return Err(not_found());
    }
    let mut conditions: Vec<_> = rights.each().into_iter().map(|(_, condition)| condition).collect();
    conditions.push(rights.standing());
    let statement = sql::holds(documents.doc, &documents.id(id)?, &visible, &conditions);
    let reply = documents.run(Request::Read, Group::read(statement)).await?;
    let row = reply.rows.first().ok_or_else(not_found)?;
    Ok(row.values().map(|value| value == Some(b"t")).collect())
}

/// About whom it is asked.
fn subject(caller: &Caller, parameters: &[(String, String)]) -> Result<Caller, ApiError> {
    let of =
        |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    if let Some((name, _)) = parameters.iter().find(|(name, _)| name != "user" && name != "roles") {
        let message = "is no parameter here; see user and roles".to_owned();
        return Err(unreadable(name, message));
    }
    if parameters.is_empty() {
        return Ok(caller.clone());
    }
    if !caller.admin {
        return Err(ApiError::forbidden("only administrators may ask about others"));
    }
    let roles: Vec<String> =
        of("roles").into_iter().flat_map(|roles| roles.split(',')).map(str::to_owned).collect();
    if let Some(wrong) = roles.iter().find(|role| *role != Caller::ADMIN && AppRole::parse(role).is_none()) {
        let shown: String = wrong.chars().take(60).collect();
        return Err(unreadable("roles", format!("{shown:?} is not admin and not APP:ROLE")));
    }
    Ok(Caller::new(of("user").unwrap_or_default(), &roles))
}

fn unreadable(name: &str, message: String) -> ApiError {
    let pointer = name.chars().take(100).collect();
    ApiError::bad_request("the query cannot be read").with_errors(vec![FieldError { pointer, message }])
}
