//! Sessions that go on: refresh tokens over HTTP.

use std::path::PathBuf;

use futures::{StreamExt, TryStreamExt, stream};
use kube::{Api, ResourceExt};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::Client;
use tenantry_e2e::Platform;

use super::Outcome;
use super::credentials::token;
use super::crowd::User;
use super::load::{Effort, PACED, Request, Run, Script, median, write_requests};
use super::report::{Budget, Report};

/// Twice as many as there are connections, so that one always waits for its turn.
const SESSIONS: usize = 2 * PACED;
const RATE: f64 = 2_500.0;
const LATENCY: f64 = 15.0;
/// A password.
pub const PASSWORD: &str = "correct horse battery staple";
/// bcrypt of it, with the least work there is. The first sign-in replaces it.
pub const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG";

/// What the page says of these figures.
pub const METHOD: &str =
    "*Refresh*: `POST /api/v1/auth/token`, sessions of all tenants by turns, each with its newest token.";

/// Measures on a platform with these tenants.
///
/// # Errors
/// When a request fails.
pub async fn refresh(
    platform: &Platform<'_>,
    report: &mut Report,
    effort: &Effort,
    users: &[User],
) -> Outcome<()> {
    let sessions = Sessions::of(platform, users).await?;
    let url = platform.url()?;
    effort.warm_up(url, Script::Refresh, &sessions.fresh().await?).await?;
    let mut runs = Vec::with_capacity(effort.rounds);
    for _ in 0..effort.rounds {
        runs.push(effort.run(url, Script::Refresh, &sessions.fresh().await?).await?);
    }
    let name = format!("{} tenants: refresh", users.len());
    report.add(&name, median(&runs, Run::rate), "requests/s").within(Budget::AtLeast(RATE));
    let paced = effort.paced(url, Script::Refresh, &sessions.fresh().await?, RATE / 2.0).await?;
    report
        .add(format!("{name}, p99 at half of the budget"), paced.latency().1, "ms")
        .within(Budget::AtMost(LATENCY))
        .noted(format!("{:.0}/s", paced.rate()));
    Ok(())
}

/// People who sign in.
pub struct Sessions {
    doors: Vec<Client>,
    tenants: Vec<String>,
    file: PathBuf,
}

impl Sessions {
    /// With an account in each tenant.
    pub async fn of(platform: &Platform<'_>, users: &[User]) -> Outcome<Self> {
        let endpoints = platform.endpoints();
        let api: Api<Tenant> = Api::all(endpoints.kube_client().await?);
        let account = |user: &User| {
            let (api, tenant) = (api.clone(), user.tenant.clone());
            async move {
                let uid = api.get_metadata(&tenant).await?.uid().ok_or("a Tenant without a uid")?;
                let client = Client::new(platform.url()?, &tenant, token(endpoints, &uid, "admin")?)?;
                let body = json!({"email": address(&tenant), "password_hash": HASH});
                client
                    .expect(StatusCode::CREATED, Method::POST, "/api/v1/data/core/users", Some(&body))
                    .await?;
                Outcome::Ok(client)
            }
        };
        let doors = stream::iter(users.iter().map(account)).buffered(4).try_collect().await?;
        let tenants = users.iter().map(|user| user.tenant.clone()).collect();
        Ok(Self { doors, tenants, file: platform.stack().folder()?.join("requests-refresh.tsv") })
    }

    /// A file with a token of each of as many new sessions. Where a run stops, the tokens that were on their way are lost, so each
    /// run has its own.
    pub async fn fresh(&self) -> Outcome<PathBuf> {
        // Every tenant takes part.
        let each = SESSIONS.div_ceil(self.doors.len());
        let tokens = self.doors.iter().zip(&self.tenants).map(|(client, tenant)| async move {
            let body = json!({"grant_type": "password", "email": address(tenant), "password": PASSWORD});
            let mut tokens = Vec::with_capacity(each);
            for _ in 0..each {
                let signed =
                    client.expect(StatusCode::OK, Method::POST, "/api/v1/auth/token", Some(&body)).await?;
                let token = signed["refresh_token"].as_str().ok_or("a sign-in without a refresh token")?;
                tokens.push(Request {
                    method: "POST",
                    path: String::new(),
                    token: token.to_owned(),
                    tenant: tenant.clone(),
                    body: String::new(),
                });
            }
            Outcome::Ok(tokens)
        });
        let tokens: Vec<Vec<Request>> = stream::iter(tokens).buffered(4).try_collect().await?;
        write_requests(&self.file, &tokens.concat())?;
        Ok(self.file.clone())
    }
}

/// The load generator reads the tenant out of it.
fn address(tenant: &str) -> String {
    format!("bench@{tenant}.example")
}
