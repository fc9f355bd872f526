//! `/rest/v1/{plural}`: the routes that clients of PostgREST and Supabase call. The app is named by `Accept-Profile` when reading
//! and by `Content-Profile` when writing; it may be left out where the tenant has one app.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, Method},
    response::Response,
    routing::get,
};

use super::{Ask, Dialect};
use crate::{
    auth::Scope,
    data::documents::Documents,
    describe::{Parameter, Route, Shape},
    error::{ApiError, Code},
    http::{Content, Path, Query},
    state::AppState,
};

/// What clients of Supabase call the schema when nobody told them.
const USUAL_PROFILE: &str = "public";

/// What these routes are.
pub const ROUTES: &[Route] = &[
    Route::get(PATH, "restRead", "Documents, as PostgREST gives them")
        .tagged("rest")
        .takes(READS)
        .answers(200, ARRAY),
    Route::post(PATH, "restStore", "Store documents, as with PostgREST")
        .tagged("rest")
        .takes(WRITES)
        .body(ARRAY, "")
        .answers(201, ARRAY),
    Route::patch(PATH, "restChange", "Change the documents that match filters, as with PostgREST")
        .tagged("rest")
        .takes(WRITES)
        .body(Shape::Schema(r#"{"type": "object"}"#), "")
        .answers(204, Shape::Empty),
    Route::delete(PATH, "restDelete", "Delete the documents that match filters, as with PostgREST")
        .tagged("rest")
        .takes(WRITES)
        .answers(204, Shape::Empty),
];

const PATH: &str = "/rest/v1/{plural}";
const ARRAY: Shape = Shape::Schema(r#"{"type": "array", "items": {"type": "object"}}"#);
const READS: &[Parameter] = &[Parameter::header("Accept-Profile", "the app")];
const WRITES: &[Parameter] = &[Parameter::header("Content-Profile", "the app")];

/// `/rest/v1/...`, to stand inside of the tenant's layers.
pub fn router() -> Router<AppState> {
    Router::new().route("/rest/v1/{plural}", get(serve).post(serve).patch(serve).delete(serve))
}

async fn serve(
    State(state): State<AppState>,
    scope: Scope,
    Path(plural): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
    method: Method,
    headers: HeaderMap,
    Content(content): Content,
) -> Result<Response, ApiError> {
    let reads = matches!(method, Method::GET | Method::HEAD);
    let app = profile(&scope, &headers, if reads { "accept-profile" } else { "content-profile" })?;
    let doc = scope.tenant.apps.catalog().doc_type(app, &plural).ok_or_else(|| {
        ApiError::not_found(format!(
            "Could not find the table '{app}.{}' in the schema cache",
            shown(&plural)
        ))
        .known_as("PGRST205")
    })?;
    let database = scope.tenant.home.database()?;
    let documents = Documents { database, cursors: &state.cursors, scope: &scope, doc };
    let ask = Ask { documents, dialect: Dialect::Rest, parameters: &parameters, headers: &headers };
    let mut response = match method {
        Method::POST => ask.store(&content).await?,
        Method::PATCH => ask.change(&content).await?,
        Method::DELETE => ask.remove().await?,
        _ => ask.read().await?,
    };
    if let Ok(app) = HeaderValue::from_str(app) {
        response.headers_mut().insert("content-profile", app);
    }
    Ok(response)
}

/// The app that the request is for.
fn profile<'a>(scope: &'a Scope, headers: &'a HeaderMap, name: &str) -> Result<&'a str, ApiError> {
    let named = headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let apps = &scope.tenant.apps;
    match named {
        Some(app) if apps.get(app).is_some() => Ok(app),
        Some(app) if app != USUAL_PROFILE => {
            Err(ApiError::new(Code::NotAcceptable, format!("Invalid schema: {}", shown(app)))
                .hint("name an installed app")
                .known_as("PGRST106"))
        }
        _ => apps.only().ok_or_else(|| {
            ApiError::new(Code::NotAcceptable, format!("{name} must name the app, since there are several"))
                .hint("clients of Supabase call it the schema: createClient(url, key, {db: {schema: 'APP'}})")
                .known_as("PGRST106")
        }),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}
