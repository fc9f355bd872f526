//! The story: from an empty machine to two tenants that cannot see each other, and back to one.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Connection;
use tenantry_e2e::checkout::apply_samples;
use tenantry_e2e::program::ProgramOptions;
use tenantry_e2e::{Client, Platform, Unexpected, program};
use tenantry_rig::{RigError, Stack, StackOptions, eventually};

use crate::narrator::Narrator;

const CUSTOMERS: &str = "/api/v1/data/crm/customers";
const ORDERS: &str = "/api/v1/data/crm/orders";

/// Tells the story.
///
/// # Errors
/// The first thing that did not go as told.
pub async fn tell<W: Write>(narrator: &mut Narrator<W>) -> Result<(), Box<dyn Error>> {
    narrator.chapter("A cluster, a Postgres, a Redis and a Meilisearch")?;
    let mut stack = None;
    narrator
        .step("start the stack", async {
            stack = Some(Stack::start(StackOptions { durable: true, ..StackOptions::default() }).await?);
            Ok::<_, RigError>("etcd, kube-apiserver, PostgreSQL, Redis, Meilisearch".to_owned())
        })
        .await?;
    let stack = stack.ok_or_else(|| Unexpected("the stack did not start".to_owned()))?;

    narrator.chapter("become a platform")?;
    let mut platform = None;
    narrator
        .step("install the CRDs, the operator and the control plane", async {
            platform = Some(Platform::start(stack).await?);
            Ok::<_, RigError>("run, serve and work are ready".to_owned())
        })
        .await?;
    let platform = platform.ok_or_else(|| Unexpected("the platform did not start".to_owned()))?;
    let told = tell_on(&platform, narrator).await;
    if told.is_err() {
        platform.stack().keep_logs();
    }
    told
}

async fn tell_on<W: Write>(
    platform: &Platform<'_>,
    narrator: &mut Narrator<W>,
) -> Result<(), Box<dyn Error>> {
    narrator.chapter("An App, a SearchIndex and two Tenants")?;
    provision(platform, narrator).await?;

    narrator.chapter("Each tenant works with documents of its own")?;
    let acme = user(platform, "acme", "alice").await?;
    let globex = user(platform, "globex", "gina").await?;
    documents(&acme, &globex, narrator).await?;

    narrator.chapter("and cannot reach the other's")?;
    isolation(&acme, &globex, narrator).await?;

    narrator.chapter("Search forgives")?;
    narrator.step("find \"Wile E. Coyote\" by \"coyotte\"", search(&acme)).await?;
    narrator.step("find nothing of acme's as globex", search_is_isolated(&globex)).await?;

    narrator.chapter("A tenant leaves")?;
    deletion(platform, &acme, &globex, narrator).await?;
    narrator.the_end()?;
    Ok(())
}

async fn provision<W: Write>(
    platform: &Platform<'_>,
    narrator: &mut Narrator<W>,
) -> Result<(), Box<dyn Error>> {
    let endpoints = platform.endpoints();
    narrator
        .step("kubectl apply -f config/samples", async {
            apply_samples(endpoints).await?;
            Ok::<_, RigError>("app/crm, searchindex/crm-customers, tenant/acme, tenant/globex".to_owned())
        })
        .await?;
    for object in ["app/crm", "searchindex/crm-customers", "tenant/acme", "tenant/globex"] {
        narrator
            .step(&format!("kubectl wait --for=condition=Ready {object}"), async {
                endpoints.kubectl(&["wait", "--for=condition=Ready", object, "--timeout=60s"]).await?;
                let column = "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
                endpoints.kubectl(&["get", object, "-o", column]).await
            })
            .await?;
    }
    narrator
        .step("look into Postgres", async {
            let mut database = sqlx::PgConnection::connect(&endpoints.database_url).await?;
            let tables: Vec<String> = sqlx::query_scalar(
                "SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = 'tenant_acme' ORDER BY 1",
            )
            .fetch_all(&mut database)
            .await?;
            database.close().await?;
            Ok::<_, sqlx::Error>(format!("tenant_acme: {}", tables.join(", ")))
        })
        .await
}

async fn user(platform: &Platform<'_>, tenant: &str, name: &str) -> Result<Client, RigError> {
    let args = ["--tenant", tenant, "--user", name, "--role", "crm:sales"];
    let token = program::token(platform.endpoints(), &ProgramOptions::default(), &args).await?;
    Client::new(platform.url()?, tenant, token)
}

async fn documents<W: Write>(
    acme: &Client,
    globex: &Client,
    narrator: &mut Narrator<W>,
) -> Result<(), Box<dyn Error>> {
    let mut customer = String::new();
    narrator
        .step("acme: create a customer", async {
            let body = json!({"name": "Wile E. Coyote", "email": "wile@acme.example", "credit": "1000.00"});
            let created = acme.expect(StatusCode::CREATED, Method::POST, CUSTOMERS, Some(&body)).await?;
            customer = text(&created, "id")?;
            Ok::<_, Unexpected>(format!("{} {} {}", customer, created["status"], created["credit"]))
        })
        .await?;
    narrator
        .step("acme: create an order, numbered by its series", async {
            let body = json!({"customer": customer, "total": "99.90", "items": [{"sku": "rocket-skates", "qty": 2}]});
            let created = acme.expect(StatusCode::CREATED, Method::POST, ORDERS, Some(&body)).await?;
            text(&created, "id")
        })
        .await?;
    narrator
        .step("acme: change the customer to active", async {
            let path = format!("{CUSTOMERS}/{customer}");
            let changed =
                acme.expect(StatusCode::OK, Method::PATCH, &path, Some(&json!({"status": "active"}))).await?;
            Ok::<_, Unexpected>(format!("version {}", changed["version"]))
        })
        .await?;
    narrator
        .step("acme: list ?status=eq.active&order=created_at.desc", async {
            let path = format!("{CUSTOMERS}?status=eq.active&order=created_at.desc");
            names(&acme.expect(StatusCode::OK, Method::GET, &path, None).await?, "Wile E. Coyote")
        })
        .await?;
    narrator
        .step("acme: a wrong document is refused, field by field", async {
            let body = json!({"email": "not an address", "status": "gone", "nme": "?"});
            let refused =
                acme.expect(StatusCode::UNPROCESSABLE_ENTITY, Method::POST, CUSTOMERS, Some(&body)).await?;
            let pointers: Vec<_> = refused["errors"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|e| e["pointer"].as_str().unwrap_or("?"))
                .collect();
            Ok::<_, Unexpected>(format!("422 {}", pointers.join(" ")))
        })
        .await?;
    narrator
        .step("globex: create a customer with the same address", async {
            let body = json!({"name": "Hank Scorpio", "email": "wile@acme.example"});
            let created = globex.expect(StatusCode::CREATED, Method::POST, CUSTOMERS, Some(&body)).await?;
            text(&created, "id")
        })
        .await?;
    narrator
        .step("globex: list", async {
            names(&globex.expect(StatusCode::OK, Method::GET, CUSTOMERS, None).await?, "Hank Scorpio")
        })
        .await
}

async fn isolation<W: Write>(
    acme: &Client,
    globex: &Client,
    narrator: &mut Narrator<W>,
) -> Result<(), Box<dyn Error>> {
    narrator
        .step("acme's token at globex's door", async {
            let refused =
                acme.at("globex").expect(StatusCode::FORBIDDEN, Method::GET, CUSTOMERS, None).await?;
            Ok::<_, Unexpected>(format!("403 {}", refused["code"]))
        })
        .await?;
    narrator
        .step("acme's customer by its id, as globex", async {
            let own = acme.expect(StatusCode::OK, Method::GET, CUSTOMERS, None).await?;
            let path = format!("{CUSTOMERS}/{}", text(&own["items"][0], "id")?);
            let refused = globex.expect(StatusCode::NOT_FOUND, Method::GET, &path, None).await?;
            Ok::<_, Unexpected>(format!("404 {}", refused["code"]))
        })
        .await
}

async fn search(acme: &Client) -> Result<String, RigError> {
    eventually("the customer in the search index", Duration::from_secs(20), || async {
        let found =
            acme.expect(StatusCode::OK, Method::GET, "/api/v1/search/crm/customers?q=coyotte", None).await?;
        names(&found, "Wile E. Coyote")
    })
    .await
}

async fn search_is_isolated(globex: &Client) -> Result<String, RigError> {
    eventually("globex's index", Duration::from_secs(20), || async {
        let own = globex
            .expect(StatusCode::OK, Method::GET, "/api/v1/search/crm/customers?q=scorpio", None)
            .await?;
        names(&own, "Hank Scorpio")?;
        let other =
            globex.expect(StatusCode::OK, Method::GET, "/api/v1/search/crm/customers?q=coyote", None).await?;
        match other["items"].as_array() {
            Some(items) if items.is_empty() => Ok("no hits".to_owned()),
            _ => Err(Unexpected(format!("globex found {other}"))),
        }
    })
    .await
}

async fn deletion<W: Write>(
    platform: &Platform<'_>,
    acme: &Client,
    globex: &Client,
    narrator: &mut Narrator<W>,
) -> Result<(), Box<dyn Error>> {
    let endpoints = platform.endpoints();
    narrator
        .step("kubectl delete tenant acme", async {
            endpoints
                .kubectl(&["delete", "tenant", "acme", "--timeout=60s"])
                .await
                .map(|_| "deletionPolicy: Delete".to_owned())
        })
        .await?;
    narrator
        .step("acme is not served any more", async {
            eventually("acme refused", Duration::from_secs(5), || async {
                match acme.send(Method::GET, CUSTOMERS, None).await {
                    Ok((status, _)) if status.is_client_error() => Ok(status.as_u16().to_string()),
                    Ok((status, body)) => Err(Unexpected(format!("{status} {body}"))),
                    Err(error) => Err(Unexpected(error.to_string())),
                }
            })
            .await
        })
        .await?;
    narrator
        .step("nothing of acme is left in Postgres", async {
            let mut database = sqlx::PgConnection::connect(&endpoints.database_url).await?;
            let left: i64 = sqlx::query_scalar(
                "SELECT (SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = 'tenant_acme') \
                      + (SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname IN ('tenant_acme', 'tenant_acme_owner')) \
                      + (SELECT count(*) FROM tenantry.tenant WHERE name = 'acme') \
                      + (SELECT count(*) FROM tenantry.outbox WHERE role = 'tenant_acme') \
                      + (SELECT count(*) FROM tenantry.audit WHERE role = 'tenant_acme')",
            )
            .fetch_one(&mut database)
            .await?;
            database.close().await?;
            if left == 0 { Ok("no schema, role, registry or journal row".to_owned()) } else { Err(residue(left)) }
        })
        .await?;
    narrator
        .step("globex is as it was", async {
            names(&globex.expect(StatusCode::OK, Method::GET, CUSTOMERS, None).await?, "Hank Scorpio")
        })
        .await
}

fn residue(left: i64) -> Box<dyn Error> {
    Box::new(Unexpected(format!("{left} objects or rows of acme are left")))
}

fn text(document: &Value, field: &str) -> Result<String, Unexpected> {
    document[field]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Unexpected(format!("{field} is missing in {document}")))
}

/// The names in a list, of which `expected` must be the only one.
fn names(list: &Value, expected: &str) -> Result<String, Unexpected> {
    let names: Vec<_> =
        list["items"].as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect();
    if names == [expected] {
        Ok(expected.to_owned())
    } else {
        Err(Unexpected(format!("expected {expected}, got {list}")))
    }
}
