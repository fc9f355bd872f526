//! Layers x dialects: every kind of refusal, made on the running platform on each dialect's paths, has that dialect's shape, code,
//! status and headers, whichever layer refuses.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::program::{Program, ProgramOptions};
use tenantry_e2e::world::{Answer, LIMIT, answer, unique};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

use crate::auth::{claims, secret, signed};
use crate::sign_in::place::{Person, Place, Tokens};

const ORIGIN: &str = "https://app.example.com";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Own,
    PostgRest,
    GoTrue,
}

const DIALECTS: [Dialect; 3] = [Dialect::Own, Dialect::PostgRest, Dialect::GoTrue];

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    NoCredentials,
    BadToken,
    BadKey,
    Expired,
    SessionEnded,
    UserGone,
    Forbidden,
    OtherTenant,
    UnknownTenant,
    UnknownRoute,
    Method,
    TooLarge,
    TooLong,
    MediaType,
    NoJson,
    TwoHosts,
    ForeignPage,
    Locked,
    TooSlow,
    TooMany,
    Suspended,
}

/// What each is answered with: ours, PostgREST's, GoTrue's.
const TABLE: [(Kind, [(u16, &str); 3]); 21] = [
    (Kind::NoCredentials, [(401, "unauthenticated"), (401, "PGRST302"), (401, "no_authorization")]),
    (Kind::BadToken, [(401, "unauthenticated"), (401, "PGRST301"), (403, "bad_jwt")]),
    (Kind::BadKey, [(401, "unauthenticated"), (401, "PGRST301"), (401, "no_authorization")]),
    (Kind::Expired, [(401, "unauthenticated"), (401, "PGRST303"), (403, "bad_jwt")]),
    (Kind::SessionEnded, [(401, "unauthenticated"), (401, "PGRST301"), (403, "session_not_found")]),
    (Kind::UserGone, [(401, "unauthenticated"), (401, "PGRST301"), (403, "user_not_found")]),
    (Kind::Forbidden, [(403, "forbidden"), (403, "42501"), (403, "forbidden")]),
    (Kind::OtherTenant, [(403, "tenant_mismatch"), (403, "42501"), (403, "bad_jwt")]),
    (Kind::UnknownTenant, [(404, "not_found"), (404, "PGRST205"), (404, "not_found")]),
    (Kind::UnknownRoute, [(404, "not_found"), (404, "PGRST125"), (404, "not_found")]),
    (Kind::Method, [(405, "method_not_allowed"), (405, "PGRST117"), (405, "method_not_allowed")]),
    (Kind::TooLarge, [(413, "payload_too_large"), (413, "PGRST102"), (413, "payload_too_large")]),
    (Kind::TooLong, [(414, "uri_too_long"), (414, "PGRST100"), (414, "uri_too_long")]),
    (Kind::MediaType, [(415, "unsupported_media_type"), (415, "PGRST102"), (415, "unsupported_media_type")]),
    (Kind::NoJson, [(400, "bad_request"), (400, "PGRST102"), (400, "bad_json")]),
    (Kind::TwoHosts, [(400, "bad_request"), (400, "PGRST100"), (400, "validation_failed")]),
    (Kind::ForeignPage, [(403, "forbidden"), (403, "42501"), (403, "forbidden")]),
    (Kind::Locked, [(503, "unavailable"), (503, "PGRST001"), (503, "unavailable")]),
    (Kind::TooSlow, [(504, "timeout"), (504, "57014"), (504, "request_timeout")]),
    (Kind::TooMany, [(429, "rate_limited"), (429, "rate_limited"), (429, "over_request_rate_limit")]),
    (Kind::Suspended, [(503, "tenant_suspended"), (503, "tenant_suspended"), (503, "tenant_suspended")]),
];

/// A tenant, somebody who signed in there and has a card, two other tenants, of which one has a small quota, and a replica that waits
/// for a second only.
struct Scene {
    place: Place,
    neighbour: String,
    crowded: String,
    crowded_token: String,
    person: Person,
    token: String,
    card: String,
    hasty: Program,
    http: reqwest::Client,
}

impl Scene {
    async fn new() -> Self {
        let place = Place::new(json!({})).await;
        place.world.with("cors", json!({"allowedOrigins": [ORIGIN]})).await;
        let neighbour = place.neighbour().await;
        let (crowded, world) = (unique("t-"), &place.world);
        let spec = spec(&crowded, &world.app, json!({"quotas": {"requestsPerMinute": 10}}));
        world.apply::<Tenant>("Tenant", &crowded, spec).await;
        world.until_ready(&crowded).await;
        let crowded_token = world.token_of(&crowded, "ann", &[&place.role("reader")]).await;
        let person = place.person(&["reader", "writer"]).await;
        let token = place.sign_in(&person).await.access;
        let card = place.world.post(&place.cards(), &token, json!({"title": "mine"})).await;
        let card = card.body["id"].as_str().unwrap_or_else(|| panic!("{card:?}")).to_owned();
        let options = ProgramOptions {
            settings: vec![("TENANTRY__HTTP__TIMEOUT_SECONDS".into(), "1".into())],
            ..ProgramOptions::default()
        };
        let hasty = Program::serve(place.world.platform.endpoints(), &options).await.unwrap();
        let http = http_client().unwrap();
        let scene = Self { place, neighbour, crowded, crowded_token, person, token, card, hasty, http };
        eventually("the origin is known", LIMIT, || async {
            let asked = scene.preflight(Dialect::Own, ORIGIN);
            let answer = answer(asked).await;
            if answer.status == 204 { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await
        .unwrap();
        scene
    }

    fn request(&self, dialect: Dialect, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.place.world.url(path));
        let request = request.header("origin", ORIGIN);
        match dialect {
            Dialect::PostgRest => {
                let app = &self.place.world.app;
                request.header("accept-profile", app).header("content-profile", app)
            }
            Dialect::Own | Dialect::GoTrue => request,
        }
    }

    /// At the tenant's own host, without which pages of other origins may read nothing.
    fn at_home(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("host", format!("{}.example.com", self.place.world.tenant))
    }

    fn read(&self, dialect: Dialect) -> RequestBuilder {
        let path = match dialect {
            Dialect::Own => self.place.cards(),
            Dialect::PostgRest => "/rest/v1/cards".to_owned(),
            Dialect::GoTrue => "/auth/v1/user".to_owned(),
        };
        self.request(dialect, Method::GET, &path)
    }

    fn write(&self, dialect: Dialect) -> RequestBuilder {
        let (method, path) = match dialect {
            Dialect::Own => (Method::POST, self.place.cards()),
            Dialect::PostgRest => (Method::POST, "/rest/v1/cards".to_owned()),
            Dialect::GoTrue => (Method::PUT, "/auth/v1/user".to_owned()),
        };
        self.at_home(self.request(dialect, method, &path)).bearer_auth(&self.token)
    }

    /// A change of the card, or of the own account.
    fn change(&self, dialect: Dialect, url: &str) -> RequestBuilder {
        let (method, path, body) = match dialect {
            Dialect::Own => {
                let path = format!("{}/{}", self.place.cards(), self.card);
                (Method::PATCH, path, json!({"title": "later"}))
            }
            Dialect::PostgRest => {
                (Method::PATCH, format!("/rest/v1/cards?id=eq.{}", self.card), json!({"title": "later"}))
            }
            Dialect::GoTrue => (Method::PUT, "/auth/v1/user".to_owned(), json!({"data": {"a": 1}})),
        };
        let request = self.http.request(method, format!("{url}{path}")).header("origin", ORIGIN);
        let request = self.at_home(request).header("content-profile", &self.place.world.app);
        request.bearer_auth(&self.token).json(&body)
    }

    fn preflight(&self, dialect: Dialect, origin: &str) -> RequestBuilder {
        let path = match dialect {
            Dialect::Own => self.place.cards(),
            Dialect::PostgRest => "/rest/v1/cards".to_owned(),
            Dialect::GoTrue => "/auth/v1/user".to_owned(),
        };
        let request = self.http.request(Method::OPTIONS, self.place.world.url(&path));
        self.at_home(request).header("origin", origin).header("access-control-request-method", "GET")
    }

    /// A request that is refused for this reason. What has to be so for it is so.
    async fn refused(&self, kind: Kind, dialect: Dialect) -> Answer {
        let token = &self.token;
        let read = || self.at_home(self.read(dialect));
        let url = self.place.world.platform.url().unwrap();
        answer(match kind {
            Kind::NoCredentials => read(),
            Kind::BadToken => read().bearer_auth("x.y.z"),
            Kind::BadKey => read().header("apikey", "tnk_nothing"),
            Kind::Expired => {
                let mut claims = claims(&self.place.world).await;
                let now = claims["iat"].as_u64().unwrap();
                (claims["iat"], claims["exp"]) = (json!(now - 7200), json!(now - 3600));
                let header = json!({"alg": "HS256", "typ": "at+jwt"});
                read().bearer_auth(signed(&header, &claims, secret(&self.place.world)))
            }
            Kind::SessionEnded => {
                let ended = self.place.sign_in(&self.person).await.access;
                let out = self.place.world.post("/api/v1/auth/logout", &ended, json!({})).await;
                assert_eq!(out.status, 204, "{out:?}");
                read().bearer_auth(ended)
            }
            Kind::UserGone => {
                let person = self.place.person(&["reader"]).await;
                let Tokens { access, .. } = self.place.sign_in(&person).await;
                let path = format!("/api/v1/data/core/users/{}", person.id);
                let gone = self.place.world.send(Method::DELETE, &path, &self.place.admin, None).await;
                assert_eq!(gone.status, 204, "{gone:?}");
                read().bearer_auth(access)
            }
            Kind::Forbidden => {
                let nobody = self.place.world.user("nobody", &[]).await;
                let path = match dialect {
                    Dialect::Own => self.place.cards(),
                    Dialect::PostgRest => "/rest/v1/cards".to_owned(),
                    // For those who signed in here.
                    Dialect::GoTrue => return answer(read().bearer_auth(nobody)).await,
                };
                let request = self.at_home(self.request(dialect, Method::POST, &path));
                request.bearer_auth(nobody).json(&json!({"title": "x"}))
            }
            Kind::OtherTenant => self.read(dialect).header("x-tenant", &self.neighbour).bearer_auth(token),
            Kind::UnknownTenant => self.read(dialect).header("x-tenant", "nobody").bearer_auth(token),
            Kind::UnknownRoute => {
                let path = match dialect {
                    Dialect::Own => "/api/v1/nothing",
                    Dialect::PostgRest => "/rest/v1/cards/1",
                    Dialect::GoTrue => "/auth/v1/magiclink",
                };
                self.at_home(self.request(dialect, Method::POST, path)).bearer_auth(token)
            }
            Kind::Method => {
                let path = match dialect {
                    Dialect::Own => self.place.cards(),
                    Dialect::PostgRest => "/rest/v1/cards".to_owned(),
                    Dialect::GoTrue => "/auth/v1/user".to_owned(),
                };
                self.at_home(self.request(dialect, Method::TRACE, &path)).bearer_auth(token)
            }
            Kind::TooLarge => self.write(dialect).json(&json!({"title": "x".repeat(2 << 20)})),
            Kind::TooLong => read().query(&[("select", "x".repeat(17 << 10))]).bearer_auth(token),
            Kind::MediaType => self.write(dialect).header("content-type", "text/html").body("<p>"),
            Kind::NoJson => self.write(dialect).header("content-type", "application/json").body("{"),
            Kind::TwoHosts => read().header("host", "other.example.com").bearer_auth(token),
            Kind::ForeignPage => self.preflight(dialect, "https://evil.example"),
            Kind::Locked => self.change(dialect, url),
            Kind::TooSlow => self.change(dialect, self.hasty.http_url().unwrap()),
            Kind::TooMany => {
                let host = format!("{}.example.com", self.crowded);
                let read = || self.read(dialect).header("host", &host).bearer_auth(&self.crowded_token);
                return until(429, read).await;
            }
            Kind::Suspended => return until(503, || read().bearer_auth(token)).await,
        })
        .await
    }

    /// Holds the rows of the card and of the user.
    async fn lock(&self, admin: &mut PgConnection) {
        let schema = format!("tenant_{}", self.place.world.tenant.replace('-', "_"));
        let sql = format!(
            "BEGIN; SELECT FROM {schema}.{}_card WHERE id = '{}' FOR UPDATE; \
             SELECT FROM {schema}.core_user WHERE id = '{}' FOR UPDATE",
            self.place.world.app, self.card, self.person.id
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(admin).await.unwrap();
    }
}

/// Sends it until that is answered with `status`; the last answer, if it never is.
async fn until(status: u16, request: impl Fn() -> RequestBuilder) -> Answer {
    let refused = eventually("it is refused", LIMIT, || async {
        let answer = answer(request()).await;
        if answer.status == status { Ok(answer) } else { Err(answer.status) }
    });
    match refused.await {
        Ok(answer) => answer,
        Err(_) => answer(request()).await,
    }
}

fn spec(tenant: &str, app: &str, more: Value) -> Value {
    let mut spec = json!({
        "hosts": [format!("{tenant}.example.com")], "apps": [{"name": app}],
        "cors": {"allowedOrigins": [ORIGIN]}, "deletionPolicy": "Delete"
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    spec
}

/// Headers that every page may read, and those that are for browsers and connections.
const NOT_EXPOSED: [&str; 14] = [
    "access-control-allow-origin",
    "access-control-expose-headers",
    "cache-control",
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "cross-origin-resource-policy",
    "date",
    "referrer-policy",
    "transfer-encoding",
    "vary",
    "x-content-type-options",
    "x-frame-options",
];

/// What is wrong with an answer that must be this refusal.
fn wrong(dialect: Dialect, answer: &Answer, (status, code): (u16, &str)) -> Option<String> {
    let header = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap());
    let body = &answer.body;
    let text = |name: &str| body[name].is_string();
    let shaped = match dialect {
        Dialect::Own => {
            header("content-type") == Some("application/problem+json; charset=utf-8")
                && body["status"] == status
                && text("detail")
        }
        Dialect::PostgRest => {
            let names: BTreeSet<_> =
                body.as_object().into_iter().flat_map(|body| body.keys().map(String::as_str)).collect();
            header("content-type") == Some("application/json; charset=utf-8")
                && names == BTreeSet::from(["code", "details", "hint", "message"])
                && text("message")
                && (status == 401) == header("www-authenticate").is_some_and(|it| it.starts_with("Bearer"))
        }
        Dialect::GoTrue => {
            header("content-type") == Some("application/json; charset=utf-8")
                && header("x-supabase-api-version") == Some("2024-01-01")
                && text("message")
                && body["error_code"] == code
        }
    };
    let exposed: BTreeSet<_> =
        header("access-control-expose-headers").into_iter().flat_map(|names| names.split(", ")).collect();
    let hidden: Vec<_> = answer
        .headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| !exposed.is_empty() && !exposed.contains(name) && !NOT_EXPOSED.contains(name))
        .collect();
    let right = answer.status == status && body["code"] == code && shaped && header("x-request-id").is_some();
    if right && hidden.is_empty() { None } else { Some(format!("hidden: {hidden:?}, {answer:?}")) }
}

#[tokio::test]
async fn every_refusal_of_every_layer_has_the_shape_of_its_dialect() {
    let scene = Scene::new().await;
    let mut findings = Vec::new();
    let mut admin =
        PgConnection::connect(&scene.place.world.platform.endpoints().database_url).await.unwrap();
    let mut readable = 0;
    for (kind, expected) in TABLE {
        match kind {
            Kind::Locked => scene.lock(&mut admin).await,
            Kind::TooMany => {
                sqlx::raw_sql("ROLLBACK").execute(&mut admin).await.unwrap();
            }
            Kind::Suspended => {
                let (tenant, app) = (&scene.place.world.tenant, &scene.place.world.app);
                let spec = spec(tenant, app, json!({"state": "Suspended", "suspendedMessage": "unpaid"}));
                scene.place.world.apply::<Tenant>("Tenant", tenant, spec).await;
            }
            _ => {}
        }
        for (dialect, expected) in DIALECTS.into_iter().zip(expected) {
            let refused = tokio::time::timeout(Duration::from_secs(60), scene.refused(kind, dialect));
            let answer = refused.await.unwrap();
            readable += usize::from(answer.headers.contains_key("access-control-expose-headers"));
            if let Some(wrong) = wrong(dialect, &answer, expected) {
                findings.push(format!("{kind:?} in {dialect:?}, {expected:?}: {wrong}"));
            }
        }
    }
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
    assert!(readable > 40, "pages of the listed origin may read {readable} of them");
}

#[tokio::test]
async fn a_function_is_one_that_postgrest_does_not_find() {
    let place = Place::new(json!({})).await;
    let called = place.world.post("/rest/v1/rpc/anything", &place.admin, json!({})).await;
    assert_eq!((called.status, &called.body["code"]), (404, &json!("PGRST202")), "{called:?}");
}
