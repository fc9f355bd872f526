//! PostGraphile: an API out of the tables of a schema.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenantry_e2e::Platform;
use tenantry_rig::process::Launch;
use tenantry_rig::toolchain::{POSTGRAPHILE_VERSION, Peers};

use super::super::Outcome;
use super::super::crowd::{User, new_customer, post};
use super::super::load::Request;
use super::server::{About, Peer};

const SETUP: &str = "two cluster workers with 8 connections each, query log and GraphiQL off, production mode; it serves one \
                         schema with one tenant's rows, so its caches hold a single tenant, and it knows neither tokens nor \
                         permissions";

/// Starts it over a copy of the first tenant's customers.
pub async fn start(installed: &Peers, platform: &Platform<'_>, first: &User) -> Outcome<Peer> {
    let database = platform.endpoints().database_url.clone();
    copy(&database, first).await?;
    let about = About {
        name: format!("PostGraphile {POSTGRAPHILE_VERSION}"),
        setup: SETUP,
        requests: [by_id, list, insert],
        tenants: 1,
    };
    Peer::start(about, first, |port| {
        Launch::new("postgraphile", &installed.node)
            .args([&installed.postgraphile])
            .args(["--connection", &database, "--schema", "peer"])
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--cluster-workers", "2", "--max-pool-size", "8"])
            .args(["--disable-query-log", "--disable-graphiql"])
            .args(["--no-ignore-rbac", "--no-setof-functions-contain-nulls"])
            .env("NODE_ENV", "production")
            .env("GRAPHILE_ENV", "production")
    })
    .await
}

async fn copy(database: &str, first: &User) -> Outcome<()> {
    let schema = format!("tenant_{}", first.tenant.replace('-', "_"));
    let sql = format!(
        "CREATE SCHEMA peer;
         CREATE TABLE peer.customer (LIKE \"{schema}\".crm_customer INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES);
         ALTER TABLE peer.customer ALTER id SET DEFAULT gen_random_uuid(),
            ALTER created_by SET DEFAULT 'bench', ALTER updated_by SET DEFAULT 'bench';
         INSERT INTO peer.customer TABLE \"{schema}\".crm_customer;
         ANALYZE peer.customer"
    );
    let mut database = PgConnection::connect(database).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut database).await?;
    Ok(database.close().await?)
}

const FIELDS: &str = "id name email status credit version createdAt";

fn ask(user: &User, query: &str, variables: serde_json::Value) -> Request {
    post(user, "/graphql", &json!({"query": query, "variables": variables}))
}

fn by_id(user: &User) -> Vec<Request> {
    let query = format!("query($id: UUID!) {{ customerById(id: $id) {{ {FIELDS} }} }}");
    user.documents.iter().map(|id| ask(user, &query, json!({"id": id}))).collect()
}

fn list(user: &User) -> Vec<Request> {
    let query = format!(
        "query($status: String!) {{ allCustomers(first: 20, orderBy: ID_DESC, condition: {{status: $status}}) {{ nodes {{ {FIELDS} }} }} }}"
    );
    vec![ask(user, &query, json!({"status": "active"}))]
}

fn insert(user: &User) -> Vec<Request> {
    let query = format!(
        "mutation($customer: CustomerInput!) {{ createCustomer(input: {{customer: $customer}}) {{ customer {{ {FIELDS} }} }} }}"
    );
    vec![ask(user, &query, json!({"customer": new_customer()}))]
}
