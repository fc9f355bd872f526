//! `make bench-documents`: documents over HTTP, with tokens and permissions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::fleet::{Fleet, names};
use super::load::{CLIENTS, Request, Run, run, write_requests};
use super::report::{Budget, Report, quantile};
use super::tenants::install_crm;
use super::{Outcome, durable_platform};
use crate::demo::Client;
use crate::rig::{Platform, eventually, program, program::ProgramOptions};

const TENANTS: usize = 200;
const DOCUMENTS: usize = 60;
const CUSTOMERS: &str = "/api/v1/data/crm/customers";
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(8);
const WARM_UP: Duration = Duration::from_secs(3);

/// Someone who sends requests to one tenant.
struct User {
    tenant: String,
    token: String,
    documents: Vec<String>,
}

/// Runs the benchmark.
///
/// # Errors
/// When the platform does not start, or any request fails.
pub async fn documents() -> Outcome<Report> {
    let platform = durable_platform().await?;
    install_crm(&platform).await?;
    let fleet = Fleet::watch(platform.endpoints().kube_client().await?);
    let tenants = names("bench", TENANTS);
    fleet.create(&tenants, Duration::from_secs(120)).await?;
    let users: Vec<User> = stream::iter(tenants.into_iter().map(|tenant| user(&platform, tenant)))
        .buffered(4)
        .try_collect()
        .await?;
    let baseline = Baseline::start(&platform).await?;

    let mut report = Report::new(
        "documents",
        "Documents over HTTP",
        format!(
            "`make bench-documents`. {TENANTS} tenants with {DOCUMENTS} customers each, chosen at random for each request; {CLIENTS} \
             connections of `wrk` with one thread on the same cores as Postgres and the control plane. Each request has a token \
             of its tenant (HS256), checked, with the permissions of role `sales`. Each figure is the median of {ROUNDS} rounds of \
             {} s after a warm-up, ours and the baseline's by turns. The baseline is the usual way: axum and a pool of 16 \
             connections, BEGIN, SET LOCAL ROLE, the query and COMMIT as round trips of their own, the same row, outbox and audit \
             rows, but no token, no permission and no validation. Latencies are taken at about half of the budgeted \
             rate, and at about half of the rate reached: each connection pauses between two requests (a closed loop: the pause \
             does not shrink when an answer is late).",
            ROUND.as_secs()
        ),
    );
    let folder = platform.stack().folder()?.to_owned();
    let url = platform.url()?.to_owned();
    for (name, budget, ours, theirs) in [
        ("GET by id", 10_000.0, requests(&users, by_id), requests(&users, baseline_by_id)),
        ("list of 20", 6_000.0, requests(&users, list), requests(&users, baseline_list)),
        (
            "insert with outbox and audit",
            4_000.0,
            requests(&users, insert),
            requests(&users, baseline_insert),
        ),
    ] {
        let (ours, theirs) = (ours.written(&folder, "ours")?, theirs.written(&folder, "theirs")?);
        run(&url, &ours, WARM_UP, Duration::ZERO).await?;
        run(&baseline.url, &theirs, WARM_UP, Duration::ZERO).await?;
        let (mut full, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            full.push(run(&url, &ours, ROUND, Duration::ZERO).await?);
            peer.push(run(&baseline.url, &theirs, ROUND, Duration::ZERO).await?);
        }
        let rate = median(&full, Run::rate);
        report
            .add(name, rate, "requests/s")
            .within(Budget::AtLeast(budget))
            .against("the usual way", median(&peer, Run::rate));
        for (load, budget) in [(budget / 2.0, Some(15.0)), (rate / 2.0, None)] {
            let think = 1000.0 * CLIENTS as f64 / load - median(&full, |run| run.latency().0) / 4.0;
            let at_load = run(&url, &ours, ROUND, Duration::from_secs_f64(think.max(0.0) / 1000.0)).await?;
            let figure =
                report.add(format!("{name}, p99 at {:.0}/s", at_load.rate()), at_load.latency().1, "ms");
            if let Some(most) = budget {
                figure.within(Budget::AtMost(most));
            }
        }
    }
    Ok(report)
}

fn median(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    quantile(&runs.iter().map(of).collect::<Vec<_>>(), 0.5)
}

async fn user(platform: &Platform<'_>, tenant: String) -> Outcome<User> {
    let args = ["--tenant", &tenant, "--user", "bench", "--role", "crm:sales", "--ttl", "4h"];
    let token = program::token(platform.endpoints(), &ProgramOptions::default(), &args).await?;
    let client = Client::new(platform.url()?, &tenant, token.clone())?;
    let customers: Vec<_> = (0..DOCUMENTS)
        .map(|n| json!({"name": format!("Customer {n}"), "email": format!("c{n}@{tenant}.example"), "credit": "12.50"}))
        .collect();
    // The registry reaches the control plane a moment after the Tenant is Ready.
    let created = eventually("the tenant is served", Duration::from_secs(10), || async {
        client.expect(StatusCode::CREATED, Method::POST, CUSTOMERS, Some(&json!(customers))).await
    })
    .await?;
    let ids = created.as_array().into_iter().flatten().filter_map(|document| document["id"].as_str());
    Ok(User { documents: ids.map(str::to_owned).collect(), tenant, token })
}

/// Ready-made requests.
struct Requests(Vec<Request>);

impl Requests {
    fn written(&self, folder: &Path, name: &str) -> Outcome<PathBuf> {
        let path = folder.join(format!("requests-{name}.tsv"));
        write_requests(&path, &self.0)?;
        Ok(path)
    }
}

fn requests(users: &[User], of: impl Fn(&User) -> Vec<Request>) -> Requests {
    Requests(users.iter().flat_map(of).collect())
}

fn get(user: &User, path: String) -> Request {
    Request {
        method: "GET",
        path,
        token: user.token.clone(),
        tenant: user.tenant.clone(),
        body: String::new(),
    }
}

fn by_id(user: &User) -> Vec<Request> {
    user.documents.iter().map(|id| get(user, format!("{CUSTOMERS}/{id}"))).collect()
}

fn list(user: &User) -> Vec<Request> {
    vec![get(user, CUSTOMERS.to_owned())]
}

fn insert(user: &User) -> Vec<Request> {
    let body = json!({"name": "Customer", "status": "active", "credit": "99.50"}).to_string();
    vec![Request { method: "POST", body, ..get(user, CUSTOMERS.to_owned()) }]
}

fn baseline_by_id(user: &User) -> Vec<Request> {
    user.documents.iter().map(|id| get(user, format!("/customers/{id}"))).collect()
}

fn baseline_list(user: &User) -> Vec<Request> {
    vec![get(user, "/customers".to_owned())]
}

fn baseline_insert(user: &User) -> Vec<Request> {
    insert(user).into_iter().map(|request| Request { path: "/customers".to_owned(), ..request }).collect()
}

/// The baseline server, a process of its own as ours is.
struct Baseline {
    url: String,
    _process: tokio::process::Child,
}

impl Baseline {
    async fn start(platform: &Platform<'_>) -> Outcome<Self> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = tokio::process::Command::new(std::env::current_exe()?)
            .args(["baseline", &address.to_string()])
            .env("DATABASE_URL", &platform.endpoints().database_url)
            .kill_on_drop(true)
            .spawn()?;
        let url = format!("http://{address}");
        eventually("the baseline answers", Duration::from_secs(10), || async {
            tokio::net::TcpStream::connect(address).await.map(|_| ())
        })
        .await?;
        Ok(Self { url, _process: process })
    }
}
