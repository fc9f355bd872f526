//! `make bench-tenants`: how fast one tenant is Ready, and how fast five hundred are.

use std::time::Duration;

use tenantry_crds::v1alpha1::SearchIndex;

use super::apiserver::Writes;
use super::fleet::{Fleet, names};
use super::report::{Budget, Report, quantile};
use super::{Outcome, durable_platform};

const SEQUENTIAL: usize = 200;
const BURST: usize = 500;

/// Runs the benchmark.
///
/// # Errors
/// When the platform does not start or a tenant does not become Ready.
pub async fn tenants() -> Outcome<Report> {
    let platform = durable_platform().await?;
    let endpoints = platform.endpoints();
    let client = endpoints.kube_client().await?;
    install_crm(&platform).await?;
    let fleet = Fleet::watch(client.clone());
    let mut report = Report::new(
        "tenants",
        "Provisioning tenants",
        format!(
            "`make bench-tenants`. The `crm` sample app (2 document types and the 5 of `core`), no search index unless said. \
             *Sequential*: {SEQUENTIAL} tenants, each created when the one before is Ready; the time is from sending the \
             create request to seeing Ready on a watch. *Burst*: {BURST} tenants created by 8 clients at once. API writes \
             are counted by the API server's own `apiserver_request_total`, leases left out. The baseline is the SQL \
             by hand: one superuser connection that makes two roles, a schema and the same tables with their indexes, a \
             transaction each, and nothing else."
        ),
    );
    fleet.create(&names("warm", 10), Duration::from_secs(60)).await?;

    let mut times = Vec::with_capacity(SEQUENTIAL);
    for name in names("one", SEQUENTIAL) {
        times.push(fleet.create_one(&name).await?.as_secs_f64() * 1000.0);
    }
    let by_hand = by_hand(&endpoints.database_url, "tenant_one_00000", 100).await?;
    report
        .add("create to Ready, p50", quantile(&times, 0.5), "ms")
        .within(Budget::AtMost(150.0))
        .against("the SQL by hand", 1000.0 / by_hand);
    report.add("create to Ready, p99", quantile(&times, 0.99), "ms").within(Budget::AtMost(500.0));

    let burst = names("burst", BURST);
    let before = Writes::read(&client).await?;
    let (began, ready) = fleet.create(&burst, Duration::from_secs(300)).await?;
    let writes = Writes::read(&client).await?;
    let last = ready.iter().max().map_or(Duration::ZERO, |last| last.duration_since(began));
    report
        .add("burst of 500", BURST as f64 / last.as_secs_f64(), "tenants/s")
        .within(Budget::AtLeast(25.0))
        .against("the SQL by hand", by_hand);
    let ours = writes.since(&before, &["leases", "tenants POST"]) / BURST as f64;
    report.add("API writes per tenant by us", ours, "writes").within(Budget::AtMost(4.0));
    eprintln!("  {}", writes.table(&before));
    let removed = fleet.delete(&burst, Duration::from_secs(300)).await?;
    report
        .add("deletion of 500 (Delete)", BURST as f64 / removed.as_secs_f64(), "tenants/s")
        .within(Budget::AtLeast(20.0));

    let _: SearchIndex = apply_search_index(&platform).await?;
    let mut times = Vec::with_capacity(50);
    for name in names("indexed", 50) {
        times.push(fleet.create_one(&name).await?.as_secs_f64() * 1000.0);
    }
    report.add("create to Ready with a search index, p50", quantile(&times, 0.5), "ms");
    report
        .add("create to Ready with a search index, p99", quantile(&times, 0.99), "ms")
        .within(Budget::AtMost(1000.0));
    Ok(report)
}

/// Installs the `crm` sample and waits until it is published.
pub async fn install_crm(platform: &tenantry_e2e::Platform<'_>) -> Outcome<()> {
    let endpoints = platform.endpoints();
    endpoints.kubectl(&["apply", "--server-side", "-f", &sample("app-crm.yaml")]).await?;
    endpoints.kubectl(&["wait", "--for=condition=Ready", "app/crm", "--timeout=60s"]).await?;
    Ok(())
}

async fn apply_search_index(platform: &tenantry_e2e::Platform<'_>) -> Outcome<SearchIndex> {
    let endpoints = platform.endpoints();
    let text = std::fs::read_to_string(sample("searchindex-crm-customers.yaml"))?;
    let mut index: SearchIndex = serde_yaml::from_str(&text)?;
    // Only for tenants yet to come: the standing ones would be converged meanwhile and disturb the figure.
    index.spec.tenants.names = names("indexed", 50);
    let api: kube::Api<SearchIndex> = kube::Api::all(endpoints.kube_client().await?);
    Ok(api.create(&kube::api::PostParams::default(), &index).await?)
}

fn sample(file: &str) -> String {
    format!("{}/../../config/samples/{file}", env!("CARGO_MANIFEST_DIR"))
}

/// Tenants a second as one superuser connection makes them by hand: two roles, a schema and the tables of `like`, which
/// takes one message and one transaction each. No ownership mark, grant, registry row, stream or status.
async fn by_hand(database_url: &str, like: &str, count: usize) -> Outcome<f64> {
    use sqlx::Connection;
    let mut database = sqlx::PgConnection::connect(database_url).await?;
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = $1")
            .bind(like)
            .fetch_all(&mut database)
            .await?;
    let began = std::time::Instant::now();
    for n in 0..count {
        let copies: String = tables
            .iter()
            .map(|table| format!("CREATE TABLE hand_{n}.{table} (LIKE {like}.{table} INCLUDING ALL);"))
            .collect();
        let script = format!(
            "BEGIN; CREATE ROLE hand_{n}_owner NOLOGIN; CREATE ROLE hand_{n} NOLOGIN; \
             CREATE SCHEMA hand_{n} AUTHORIZATION hand_{n}_owner; {copies} COMMIT"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut database).await?;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    for n in 0..count {
        let script = format!("DROP SCHEMA hand_{n} CASCADE; DROP ROLE hand_{n}, hand_{n}_owner");
        sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut database).await?;
    }
    Ok(rate)
}
