//! Kill -9 of the control plane, restarts of Postgres, and connections that it drops as in a failover, under writers: no acknowledged document is lost, each has its
//! event and its audit row, and every one of them ends up in the search index.
#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tenantry_e2e::demo::Client;
use tenantry_e2e::rig::program::{ProgramOptions, controlplane, token};
use tenantry_e2e::rig::{Platform, Stack, StackOptions, eventually};

const CUSTOMERS: &str = "/api/v1/data/crm/customers";
const WRITERS: usize = 4;
const FAULTS: usize = 8;
/// Documents that must be acknowledged between two faults, so that each fault meets traffic.
const BETWEEN_FAULTS: usize = 40;

#[tokio::test]
async fn no_acknowledged_document_is_lost() {
    let stack = Stack::start(StackOptions { durable: true, ..StackOptions::default() }).await.unwrap();
    let platform = Platform::start(stack).await.unwrap();
    let endpoints = platform.endpoints();
    endpoints.apply_samples().await.unwrap();
    endpoints.kubectl(&["wait", "--for=condition=Ready", "tenant/acme", "--timeout=60s"]).await.unwrap();
    let args = ["--tenant", "acme", "--user", "w", "--role", "crm:sales", "--ttl", "1h"];
    let token = token(endpoints, &ProgramOptions::default(), &args).await.unwrap();

    let acknowledged = Arc::new(tokio::sync::Mutex::new(BTreeSet::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let client = Client::new(platform.url().unwrap(), "acme", token.clone()).unwrap();
            tokio::spawn(write(writer, client, acknowledged.clone(), stop.clone()))
        })
        .collect();

    for fault in 0..FAULTS {
        let target = acknowledged.lock().await.len() + BETWEEN_FAULTS;
        eventually("documents are acknowledged", Duration::from_secs(30), || async {
            let so_far = acknowledged.lock().await.len();
            if so_far >= target { Ok(()) } else { Err(format!("{so_far} of {target}")) }
        })
        .await
        .unwrap();
        let victim = match fault % 4 {
            0 => platform.serve().unwrap().server(),
            1 => platform.work().unwrap().server(),
            2 => platform.stack().postgres().unwrap(),
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
        victim.start().await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }

    let acknowledged = Arc::into_inner(acknowledged).unwrap().into_inner();
    let mut database = PgConnection::connect(&endpoints.database_url).await.unwrap();
    let stored = ids(&mut database, "SELECT id::text FROM tenant_acme.crm_customer").await;
    assert_eq!(acknowledged.difference(&stored).count(), 0, "acknowledged, but not stored");
    let audited = "SELECT doc_id FROM tenantry.audit WHERE role = 'tenant_acme' AND action = 'Create'";
    assert_eq!(
        ids(&mut database, audited).await,
        stored,
        "each document has its audit row, and no other has one"
    );
    let sealed = format!("tenant_acme: ok, {} rows in ", stored.len());
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
        let url = format!("{}/indexes/acme_crm_customer/stats", endpoints.meili_url);
        let request = tenantry_e2e::rig::endpoints::http_client().unwrap().get(url);
        let answer = request
            .bearer_auth(&endpoints.meili_master_key)
            .send()
            .await
            .map_err(|error| error.to_string())?;
        let stats: serde_json::Value = answer.json().await.map_err(|error| error.to_string())?;
        let indexed = stats["numberOfDocuments"].as_u64().unwrap_or_default();
        if indexed == stored.len() as u64 { Ok(()) } else { Err(format!("{indexed} of {}", stored.len())) }
    })
    .await
    .unwrap();
}

/// Writes one document after the other, and notes those that were acknowledged.
async fn write(
    writer: usize,
    client: Client,
    acknowledged: Arc<tokio::sync::Mutex<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
) {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let body =
            json!({"name": format!("Customer {writer}-{n}"), "email": format!("c{writer}-{n}@acme.example")});
        // A refused connection or a 503 says nothing about the document; the next one is written all the same.
        match client.send(Method::POST, CUSTOMERS, Some(&body)).await {
            Ok((StatusCode::CREATED, document)) => {
                acknowledged.lock().await.insert(document["id"].as_str().unwrap().to_owned());
            }
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn ids(database: &mut PgConnection, sql: &'static str) -> BTreeSet<String> {
    sqlx::query_scalar::<_, String>(sql).fetch_all(database).await.unwrap().into_iter().collect()
}
