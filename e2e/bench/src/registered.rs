//! What the control plane holds in memory of a large fleet.

use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, StatusCode};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenantry_e2e::Client;
use tenantry_e2e::Platform;

use super::Outcome;
use super::crowd::{User, by_id};
use super::operator::resident;
use super::report::{Budget, Report};

/// Tenants that are asked for a document each.
const ASKED: usize = 500;
const MEGABYTES: f64 = 300.0;

/// What the page says of these figures.
pub const METHOD: &str = "*Memory*: resident, of a `serve` that has just started. The tenants above stand; the others are in the \
                          registry only, as copies of their rows with names, uids, roles, streams and a host of their own, \
                          written by SQL with the operator stopped.";

/// Measures with `count` tenants in the registry. The operator is stopped for good.
///
/// # Errors
/// When a program does not start or a request fails.
pub async fn registered(
    platform: &Platform<'_>,
    report: &mut Report,
    count: usize,
    users: &[User],
) -> Outcome<()> {
    // It would take the rows for those of tenants that are gone.
    platform.operator()?.server().stop().await?;
    let serve = platform.serve()?;
    serve.server().stop().await?;
    let there = fill(platform, count).await?;
    serve.server().start().await?;
    report.add(format!("memory with {there} tenants in the registry"), resident(serve)?, "MB");
    let asked = &users[..users.len().min(ASKED)];
    let url = platform.url()?;
    let first = asked.iter().map(|user| async move {
        let client = Client::new(url, &user.tenant, user.token.clone())?;
        let request = by_id(user).into_iter().next().ok_or("a tenant without documents")?;
        Outcome::Ok(client.expect(StatusCode::OK, Method::GET, &request.path, None).await?)
    });
    stream::iter(first).buffer_unordered(8).try_collect::<Vec<_>>().await?;
    report
        .add(
            format!("memory with {there} tenants, after a request to each of {}", asked.len()),
            resident(serve)?,
            "MB",
        )
        .within(Budget::AtMost(MEGABYTES));
    Ok(())
}

/// Registers copies of the tenants until there are `count`; how many there are.
async fn fill(platform: &Platform<'_>, count: usize) -> Outcome<i64> {
    let sql = format!(
        "BEGIN;
         CREATE TEMP TABLE copy ON COMMIT DROP AS
            SELECT origin.*, 'registered-' || lpad(n::text, 5, '0') AS copied
            FROM (SELECT t.*, row_number() OVER (ORDER BY name) AS place, count(*) OVER () AS standing
                FROM tenantry.tenant t) origin
            JOIN generate_series(1, {count}) n ON origin.place = 1 + n % origin.standing AND n <= {count} - origin.standing;
         INSERT INTO tenantry.tenant (name, uid, state, schema_name, tenant_role, login_shard, placement, quotas, auth, cors,
                generation, ready)
            SELECT copied, gen_random_uuid(), state, 'tenant_' || replace(copied, '-', '_'),
                'tenant_' || replace(copied, '-', '_'), login_shard, placement, quotas, auth, cors, generation, ready
            FROM copy;
         INSERT INTO tenantry.tenant_host (host, tenant) SELECT copied || '.example.com', copied FROM copy;
         INSERT INTO tenantry.tenant_app (tenant, app, version, state)
            SELECT copied, app, version, a.state FROM copy JOIN tenantry.tenant_app a ON a.tenant = name;
         INSERT INTO tenantry.stream_binding (tenant, app, queue, class, stream_key, max_attempts, lease_seconds, max_length)
            SELECT copied, app, queue, class, replace(stream_key, name, copied), max_attempts, lease_seconds, max_length
            FROM copy JOIN tenantry.stream_binding s ON s.tenant = name;
         COMMIT"
    );
    let mut database = PgConnection::connect(&platform.endpoints().database_url).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut database).await?;
    let there = sqlx::query_scalar("SELECT count(*) FROM tenantry.tenant").fetch_one(&mut database).await?;
    database.close().await?;
    Ok(there)
}
