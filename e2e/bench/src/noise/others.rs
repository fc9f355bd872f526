//! The others: requests at a pace that keeps nobody's time but its own.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};
use kube::{Api, ResourceExt};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::{Client, Platform};
use tenantry_rig::endpoints::http_client_with_connections;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::credentials::token;
use super::super::crowd::{User, by_id, insert, list};
use super::super::load::Request;
use super::super::refresh::{HASH, PASSWORD};
use super::super::report::quantile;
use super::Outcome;

/// Clients that send without a pause to find the peak.
pub const CLIENTS: usize = 64;
/// Sign-ins in a second.
pub const SIGN_INS: u32 = 5;

/// What the others ask for.
pub struct Others {
    http: reqwest::Client,
    documents: Vec<reqwest::Request>,
    sign_ins: Vec<reqwest::Request>,
}

/// What they noticed in a run at a pace.
#[derive(Debug, Default)]
pub struct Paced {
    /// Milliseconds from the moment when each was due.
    requests: Vec<f64>,
    sign_ins: Vec<f64>,
    /// What was not answered as it should be, by what came instead.
    pub errors: BTreeMap<String, u64>,
}

impl Paced {
    /// The `q`-quantile of requests, in milliseconds.
    pub fn requests(&self, q: f64) -> f64 {
        quantile(&self.requests, q)
    }

    /// The `q`-quantile of sign-ins, in milliseconds.
    pub fn sign_ins(&self, q: f64) -> f64 {
        quantile(&self.sign_ins, q)
    }

    /// How many there were.
    pub fn sent(&self) -> usize {
        self.requests.len() + self.sign_ins.len()
    }
}

impl Others {
    /// Users of tenants, each with an account of its own to sign in with.
    pub async fn of(platform: &Platform<'_>, users: &[User]) -> Outcome<Self> {
        let url = platform.url()?;
        let http = http_client_with_connections()?;
        // Neighbours in the list are of different tenants and kinds.
        let mixed = users.iter().map(mix).collect::<Vec<_>>();
        let longest = mixed.iter().map(Vec::len).max().unwrap_or_default();
        let nth = |n: usize| {
            mixed.iter().enumerate().filter_map(move |(at, requests)| requests.iter().cycle().nth(n + at))
        };
        let in_turn = (0..longest).flat_map(nth);
        let documents = in_turn.map(|request| built(&http, url, request)).collect::<Outcome<_>>()?;
        let accounts = stream::iter(users.iter().map(|user| account(platform, user)));
        let accounts: Vec<Request> = accounts.buffered(4).try_collect().await?;
        let sign_ins: Vec<_> =
            accounts.iter().map(|request| built(&http, url, request)).collect::<Outcome<_>>()?;
        let others = Self { http, documents, sign_ins };
        // The first one replaces the hash by one as costly as everybody's.
        for n in 0..users.len() {
            others.ask(&others.sign_ins, n).await.map_err(|error| format!("a sign-in: {error}"))?;
        }
        Ok(others)
    }

    /// Answers in a second, without a pause.
    pub async fn peak(&self, lasting: Duration) -> Outcome<f64> {
        let until = Instant::now() + lasting;
        let client = |first: usize| async move {
            let (mut at, mut count) = (first, 0_u32);
            while Instant::now() < until {
                self.ask(&self.documents, at).await.map_err(|error| format!("at the peak: {error}"))?;
                (at, count) = (at + CLIENTS, count + 1);
            }
            Outcome::Ok(count)
        };
        let counts: Vec<u32> =
            join_all((0..CLIENTS).map(client)).await.into_iter().collect::<Outcome<_>>()?;
        Ok(f64::from(counts.into_iter().sum::<u32>()) / lasting.as_secs_f64())
    }

    /// `rate` requests a second, and sign-ins.
    pub async fn at_pace(&self, rate: f64, lasting: Duration) -> Outcome<Paced> {
        let (documents, sign_ins) = tokio::join!(
            self.each_when_due(&self.documents, rate, lasting),
            self.each_when_due(&self.sign_ins, f64::from(SIGN_INS), lasting)
        );
        let mut paced = Paced::default();
        for (results, millis) in [(documents?, &mut paced.requests), (sign_ins?, &mut paced.sign_ins)] {
            for (took, result) in results {
                millis.push(took.as_secs_f64() * 1000.0);
                if let Err(error) = result {
                    *paced.errors.entry(error).or_default() += 1;
                }
            }
        }
        Ok(paced)
    }

    async fn each_when_due(
        &self,
        requests: &[reqwest::Request],
        rate: f64,
        lasting: Duration,
    ) -> Outcome<Vec<(Duration, Result<(), String>)>> {
        let began = Instant::now();
        let count = (rate * lasting.as_secs_f64()) as usize;
        let mut sent = JoinSet::new();
        for n in 0..count {
            let due = began + Duration::from_secs_f64(n as f64 / rate);
            tokio::time::sleep_until(due).await;
            let (http, request) = (self.http.clone(), nth(requests, n)?);
            sent.spawn(async move {
                let result = answered(&http, request).await;
                (due.elapsed(), result)
            });
        }
        let mut results = Vec::with_capacity(count);
        while let Some(result) = sent.join_next().await {
            results.push(result?);
        }
        Ok(results)
    }

    async fn ask(&self, requests: &[reqwest::Request], n: usize) -> Result<(), String> {
        let request = nth(requests, n).map_err(|error| error.to_string())?;
        answered(&self.http, request).await
    }
}

fn nth(requests: &[reqwest::Request], n: usize) -> Outcome<reqwest::Request> {
    let request = requests.get(n % requests.len().max(1)).and_then(reqwest::Request::try_clone);
    request.ok_or_else(|| "no request to send".into())
}

async fn answered(http: &reqwest::Client, request: reqwest::Request) -> Result<(), String> {
    let kind =
        |error: reqwest::Error| if error.is_timeout() { "no answer" } else { "disconnected" }.to_owned();
    let response = http.execute(request).await.map_err(kind)?;
    let status = response.status();
    response.bytes().await.map_err(kind)?;
    if matches!(status, StatusCode::OK | StatusCode::CREATED) {
        Ok(())
    } else {
        Err(status.as_u16().to_string())
    }
}

/// Of ten requests seven read by id, two list, one inserts.
fn mix(user: &User) -> Vec<Request> {
    let reads = by_id(user);
    let of_ten = |ten: &[Request]| [ten.to_vec(), list(user), list(user), insert(user)].concat();
    reads.chunks(7).flat_map(of_ten).collect()
}

fn built(http: &reqwest::Client, url: &str, request: &Request) -> Outcome<reqwest::Request> {
    let Request { method, path, token, tenant, body } = request;
    let mut built = http.request(Method::from_bytes(method.as_bytes())?, format!("{url}{path}"));
    built = built.header("X-Tenant", tenant);
    if !token.is_empty() {
        built = built.bearer_auth(token);
    }
    if !body.is_empty() {
        built = built.header("Content-Type", "application/json").body(body.clone());
    }
    Ok(built.build()?)
}

/// Makes an account in the user's tenant; yields a sign-in.
async fn account(platform: &Platform<'_>, user: &User) -> Outcome<Request> {
    let endpoints = platform.endpoints();
    let api: Api<Tenant> = Api::all(endpoints.kube_client().await?);
    let uid = api.get_metadata(&user.tenant).await?.uid().ok_or("a Tenant without a uid")?;
    let admin = Client::new(platform.url()?, &user.tenant, token(endpoints, &uid, "admin")?)?;
    let email = format!("bench@{}.example", user.tenant);
    let body = json!({"email": email, "password_hash": HASH});
    admin.expect(StatusCode::CREATED, Method::POST, "/api/v1/data/core/users", Some(&body)).await?;
    Ok(sign_in(&user.tenant, &email, PASSWORD))
}

/// A sign-in with a password.
pub fn sign_in(tenant: &str, email: &str, password: &str) -> Request {
    Request {
        method: "POST",
        path: "/api/v1/auth/token".to_owned(),
        token: String::new(),
        tenant: tenant.to_owned(),
        body: json!({"grant_type": "password", "email": email, "password": password}).to_string(),
    }
}
