//! Kill -9 of the control plane, restarts of Postgres, connections that it drops as in a failover, and a Redis and a Kubernetes API
//! that are away, under writers: no acknowledged write is lost, each has its event and its audit row, and what there is in the end
//! is in the search index.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tenantry_e2e::Client;
use tenantry_e2e::Platform;
use tenantry_e2e::checkout::apply_samples;
use tenantry_e2e::program::{ProgramOptions, controlplane, token};
use tenantry_rig::{Stack, StackOptions, eventually};
use tokio::sync::Mutex;

const CUSTOMERS: &str = "/api/v1/data/crm/customers";
const WRITERS: usize = 4;
const FAULTS: usize = 12;
/// Writes that must be acknowledged between two faults, so that each fault meets traffic.
const BETWEEN_FAULTS: usize = 40;

/// What the writers know: their own log, which what is stored is held against.
#[derive(Debug, Default)]
struct Log {
    acknowledged: usize,
    /// By id.
    customers: BTreeMap<String, Fate>,
}

/// What must have become of a customer. Nothing is its name when it is gone.
#[derive(Debug, Default)]
struct Fate {
    /// By the last write that was acknowledged.
    sure: Option<String>,
    /// By the one after it, of which nobody knows. It is the last one.
    perhaps: Option<Option<String>>,
}

impl Fate {
    fn allows(&self, stored: Option<&String>) -> bool {
        self.sure.as_ref() == stored || self.perhaps.as_ref().is_some_and(|name| name.as_ref() == stored)
    }
}

type Shared = Arc<Mutex<Log>>;

/// Waits until so many more writes are acknowledged.
async fn more(log: &Shared) {
    let target = log.lock().await.acknowledged + BETWEEN_FAULTS;
    eventually("writes are acknowledged", Duration::from_secs(60), || async {
        let so_far = log.lock().await.acknowledged;
        if so_far >= target { Ok(()) } else { Err(format!("{so_far} of {target}")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn no_acknowledged_write_is_lost() {
    let stack = Stack::private_with(
        "its servers are stopped, and what they store has to last",
        StackOptions { durable: true, ..StackOptions::default() },
    )
    .await
    .unwrap();
    let platform = Platform::start(stack).await.unwrap();
    let endpoints = platform.endpoints();
    apply_samples(endpoints).await.unwrap();
    endpoints.kubectl(&["wait", "--for=condition=Ready", "tenant/acme", "--timeout=60s"]).await.unwrap();
    let args = ["--tenant", "acme", "--user", "w", "--role", "crm:sales", "--ttl", "1h"];
    let token = token(endpoints, &ProgramOptions::default(), &args).await.unwrap();

    let (log, stop) = (Shared::default(), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let client = Client::new(platform.url().unwrap(), "acme", token.clone()).unwrap();
            tokio::spawn(write(writer, client, Arc::clone(&log), Arc::clone(&stop)))
        })
        .collect();

    for fault in 0..FAULTS {
        more(&log).await;
        // Documents need neither Redis nor the Kubernetes API: writes go on while those are away.
        let (victim, needed) = match fault % 6 {
            0 => (platform.serve().unwrap().server(), true),
            1 => (platform.work().unwrap().server(), true),
            2 => (platform.stack().postgres().unwrap(), true),
            3 => (platform.stack().redis().unwrap(), false),
            4 => (platform.stack().kube_apiserver().unwrap(), false),
            _ => {
                let mut admin = PgConnection::connect(&endpoints.database_url).await.unwrap();
                let dropped: i64 = sqlx::query_scalar(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'tenantry-controlplane'",
                )
                .fetch_one(&mut admin)
                .await
                .unwrap();
                assert!(dropped > 0, "there were connections to drop");
                continue;
            }
        };
        victim.kill().await.unwrap();
        if !needed {
            more(&log).await;
        }
        victim.start().await.unwrap();
    }
    more(&log).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }

    let log = Arc::into_inner(log).unwrap().into_inner();
    let mut database = PgConnection::connect(&endpoints.database_url).await.unwrap();
    let stored: BTreeMap<String, String> =
        sqlx::query_as("SELECT id::text, name FROM tenant_acme.crm_customer")
            .fetch_all(&mut database)
            .await
            .unwrap()
            .into_iter()
            .collect();
    let lost: Vec<_> = log.customers.iter().filter(|(id, fate)| !fate.allows(stored.get(*id))).collect();
    assert!(lost.is_empty(), "acknowledged, but not so stored: {lost:?}");
    assert!(log.customers.values().any(|fate| fate.sure.is_none()), "some were deleted");

    let there = "SELECT doc_id FROM tenantry.audit WHERE role = 'tenant_acme' AND doc_type = 'customer' \
        GROUP BY doc_id HAVING bool_and(action <> 'Delete')";
    assert!(
        ids(&mut database, there).await.iter().eq(stored.keys()),
        "what the audit journal says is there, and nothing else is"
    );
    let otherwise = "SELECT c.id::text FROM tenant_acme.crm_customer c WHERE version <> \
        (SELECT count(*) FROM tenantry.audit a WHERE a.role = 'tenant_acme' AND a.doc_id = c.id::text)";
    assert_eq!(ids(&mut database, otherwise).await, BTreeSet::new(), "each write has one audit row");
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM tenantry.audit WHERE role = 'tenant_acme'")
        .fetch_one(&mut database)
        .await
        .unwrap();
    let sealed = format!("tenant_acme: ok, {rows} rows in ");
    eventually("the audit journal is sealed, and whole", Duration::from_secs(60), || async {
        let args = ["audit", "verify", "--tenant", "acme"];
        let printed = controlplane(endpoints, &ProgramOptions::default(), &args).await;
        match printed.map_err(|error| error.to_string())? {
            printed if printed.starts_with(&sealed) => Ok(()),
            printed => Err(printed),
        }
    })
    .await
    .unwrap();
    eventually("the index holds what the table holds", Duration::from_secs(60), || async {
        let url = format!("{}/indexes/acme_crm_customer/documents", endpoints.meili_url);
        let request = tenantry_rig::endpoints::http_client().unwrap().get(url);
        let request = request.query(&[("limit", "1000000"), ("fields", "id,name")]);
        let answer = request
            .bearer_auth(&endpoints.meili_master_key)
            .send()
            .await
            .map_err(|error| error.to_string())?;
        let found: Value = answer.json().await.map_err(|error| error.to_string())?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let found = found["results"].as_array().into_iter().flatten();
        let found: BTreeMap<_, _> = found.map(|found| (text(&found["id"]), text(&found["name"]))).collect();
        if found == stored { Ok(()) } else { Err(format!("{} and not {}", found.len(), stored.len())) }
    })
    .await
    .unwrap();
}

/// Makes one customer after the other, changes each, and deletes every third one.
async fn write(writer: usize, client: Client, log: Shared, stop: Arc<AtomicBool>) {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("Customer {writer}-{n}");
        let body = json!({"name": name, "email": format!("c{writer}-{n}@acme.example")});
        let Some(made) = acknowledged(&client, Method::POST, CUSTOMERS, Some(&body)).await else { continue };
        let id = made["id"].as_str().unwrap().to_owned();
        let path = format!("{CUSTOMERS}/{id}");
        note(&log, &id, Some(name.clone()), true).await;
        let changed = format!("{name} changed");
        let body = json!({"name": changed});
        let sure = acknowledged(&client, Method::PATCH, &path, Some(&body)).await.is_some();
        note(&log, &id, Some(changed), sure).await;
        if sure && n % 3 == 0 {
            let sure = acknowledged(&client, Method::DELETE, &path, None).await.is_some();
            note(&log, &id, None, sure).await;
        }
    }
}

/// What a write was answered with. A refused connection or a 503 says nothing of it.
async fn acknowledged(client: &Client, method: Method, path: &str, body: Option<&Value>) -> Option<Value> {
    match client.send(method, path, body).await {
        Ok((status, document)) if status.is_success() => return Some(document),
        Ok((status, problem)) => {
            assert!(
                status.is_server_error() && status != StatusCode::INTERNAL_SERVER_ERROR,
                "{status}: {problem}"
            );
        }
        Err(_) => {}
    }
    // Not as fast as they come while nobody answers.
    tokio::time::sleep(Duration::from_millis(20)).await;
    None
}

async fn note(log: &Shared, id: &str, name: Option<String>, sure: bool) {
    let mut log = log.lock().await;
    let fate = log.customers.entry(id.to_owned()).or_default();
    if sure {
        *fate = Fate { sure: name, perhaps: None };
        log.acknowledged += 1;
    } else {
        fate.perhaps = Some(name);
    }
}

async fn ids(database: &mut PgConnection, sql: &'static str) -> BTreeSet<String> {
    sqlx::query_scalar::<_, String>(sql).fetch_all(database).await.unwrap().into_iter().collect()
}
