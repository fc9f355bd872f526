use axum::{
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde_json::{Value, json};

use super::{EdgeDialect, gotrue, postgrest};
use crate::error::{ApiError, Code, FieldError, Nuance};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/errors.md");

/// What stands above the table.
const HEAD: &str = "# Codes of errors

What refusals are called: in problem documents of our own API, on `/rest/v1` as PostgREST calls them, and on `/auth/v1` as GoTrue does, with the
status there where it is another. All layers follow it, unknown routes and limits included. What a dialect has no name for keeps ours.

- Problem documents have the code in `code`, beside what [the API](../api/README.md#errors) says.
- `/rest/v1` answers `{\"code\", \"message\", \"details\", \"hint\"}`; some refusals of queries have a more exact code of PostgREST than stands here.
- `/auth/v1` answers `{\"code\", \"message\"}`, and for clients of before 2024 `error_code` and `msg` beside it; every answer has
  `X-Supabase-Api-Version: 2024-01-01`.

The table is made of the source (`controlplane/src/error/code.rs`, `controlplane/src/http/dialect`); a test compares it.

";

/// The cases of codes that dialects tell apart, and when each comes.
const CASES: [(Code, Nuance, &str); 8] = [
    (Code::BadRequest, Nuance::Body, "The body is not JSON."),
    (Code::Unauthenticated, Nuance::NoCredentials, "No credentials were sent."),
    (Code::Unauthenticated, Nuance::Key, "The API key is not accepted."),
    (Code::Unauthenticated, Nuance::Claims, "The token has expired, or another claim does not hold."),
    (Code::Unauthenticated, Nuance::SessionEnded, "The token's session has ended."),
    (Code::Unauthenticated, Nuance::UserGone, "The token's user is gone or was disabled."),
    (Code::TokenExpired, Nuance::Refresh, "The session was not refreshed in time."),
    (Code::NotFound, Nuance::Route, "There is no such route."),
];

/// The page: every code, and what it is called in each dialect.
fn page() -> String {
    let mut table =
        String::from(HEAD) + "| code | status | on `/rest/v1` | on `/auth/v1` | |\n|---|---|---|---|---|\n";
    for (code, about) in Code::ALL {
        let cases =
            CASES.iter().filter(|(of, ..)| of == code).map(|(_, nuance, about)| (Some(*nuance), *about));
        for (nuance, about) in std::iter::once((None, about.trim())).chain(cases) {
            let dialect = |(name, status): (&str, StatusCode)| {
                let other =
                    if status == code.status() { String::new() } else { format!(", {}", status.as_u16()) };
                format!("`{name}`{other}")
            };
            table.push_str(&format!(
                "| `{}` | {} | {} | {} | {about} |\n",
                code.as_str(),
                code.status().as_u16(),
                dialect(postgrest::translated(*code, nuance)),
                dialect(gotrue::translated(*code, nuance)),
            ));
        }
    }
    table
}

#[test]
fn the_page_of_errors_has_every_code_as_each_dialect_calls_it() {
    let page = page();
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(page == written, "docs/reference/errors.md differs; if that is right, run with UPDATE_GOLDENS=1");
}

#[test]
fn a_path_belongs_to_a_dialect_whether_or_not_it_is_a_route() {
    for (path, dialect) in [
        ("/rest/v1", EdgeDialect::PostgRest { function: false }),
        ("/rest/v1/customers", EdgeDialect::PostgRest { function: false }),
        ("/rest/v1/rpc/anything", EdgeDialect::PostgRest { function: true }),
        ("/auth/v1/nothing", EdgeDialect::GoTrue),
        ("/auth/v1", EdgeDialect::GoTrue),
        ("/rest/v10/customers", EdgeDialect::Own),
        ("/auth/v1x", EdgeDialect::Own),
        ("/api/v1/auth/user", EdgeDialect::Own),
        ("/", EdgeDialect::Own),
    ] {
        assert_eq!(EdgeDialect::of(path), dialect, "{path}");
    }
}

async fn told(dialect: EdgeDialect, error: ApiError) -> (u16, Value, Option<String>) {
    let response = dialect.tell(error.into_response());
    let status = response.status().as_u16();
    let challenge = response.headers().get(header::WWW_AUTHENTICATE);
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(response.into_body(), 64 * 1024).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap(), challenge)
}

#[tokio::test]
async fn each_dialect_tells_the_same_refusal_in_its_shape() {
    let wrong = || {
        let errors = vec![FieldError { pointer: "/name".into(), message: "is required".into() }];
        ApiError::invalid(errors).hint("send it")
    };
    let (status, body, _) = told(EdgeDialect::PostgRest { function: false }, wrong()).await;
    assert_eq!(
        (status, body),
        (
            400,
            json!({"code": "23514", "message": "the document does not follow its type",
                "details": "/name: is required", "hint": "send it"})
        )
    );
    let (status, body, _) = told(EdgeDialect::GoTrue, wrong()).await;
    assert_eq!((status, &body["code"], &body["msg"]), (400, &json!("validation_failed"), &body["message"]));
    let (status, body, _) = told(EdgeDialect::Own, wrong()).await;
    assert_eq!((status, &body["errors"][0]["pointer"]), (422, &json!("/name")));
}

#[tokio::test]
async fn postgrest_says_in_its_challenge_what_is_wrong_with_a_token() {
    let rest = EdgeDialect::PostgRest { function: false };
    let none = ApiError::unauthenticated("send a token").nuance(Nuance::NoCredentials);
    assert_eq!(told(rest, none).await.2.as_deref(), Some("Bearer"));
    let (_, body, challenge) = told(rest, ApiError::unauthenticated("it is \"bad\"")).await;
    assert_eq!(body["code"], "PGRST301");
    assert_eq!(
        challenge.as_deref(),
        Some("Bearer error=\"invalid_token\", error_description=\"it is 'bad'\"")
    );
    let (status, _, challenge) = told(EdgeDialect::GoTrue, ApiError::unauthenticated("bad")).await;
    assert_eq!((status, challenge), (403, None));
}
