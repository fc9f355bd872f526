//! `make bench-fleet`: what a standing fleet costs, and whether the 10,000th tenant costs what the 100th did.

use std::time::{Duration, Instant};

use serde_json::Value;
use tenantry_crds::v1alpha1::App;
use tenantry_e2e::Platform;
use tenantry_rig::eventually;

use super::fleet::{Fleet, names};
use super::operator::Operator;
use super::report::{Budget, Report, quantile};
use super::tenants::install_crm;
use super::{Outcome, apiserver::Writes, durable_platform};

/// The rate at a point is that of so many tenants up to it.
const WINDOW: usize = 100;
/// Tenants created one by one.
const SINGLES: usize = 100;
/// Tenants that are rolled out, created or deleted slower than this are taken for lost.
const SLOWEST_PER_TENANT: Duration = Duration::from_millis(300);

/// Runs the benchmark over fleets of these sizes, each grown out of the one before; the last stands for `rest`, the others for
/// a fifth of that.
///
/// # Errors
/// When the platform does not start or a tenant is lost.
pub async fn growth(sizes: &[usize], rest: Duration) -> Outcome<Report> {
    let platform = durable_platform().await?;
    install_crm(&platform).await?;
    let fleet = Fleet::watch(platform.endpoints().kube_client().await?);
    let mut report = Report::new(
        "fleet",
        "A growing fleet",
        format!(
            "`make bench-fleet`. Tenants with the `crm` sample app and no search index, in fleets that grow out of each \
             other. *Created*: by 8 clients in one burst, from the first to the last that became Ready; the rate at the end \
             is that of the last {WINDOW}. A login that holds many tenants' roles, a look at the catalog or a cache that costs \
             more with the size of the fleet would show as a rate that falls. *At rest*: nobody changes anything for {} s \
             ({} s at the smaller sizes), with the drift scan as it is by default; the CPU is the operator's own, of one core; \
             API writes are counted by the API server's `apiserver_request_total`, leases left out. *Restart*: from kill -9 \
             to `tenantry_caught_up`, most of which is the 15 s that the dead leader's Lease lasts. *Single*: {SINGLES} tenants, \
             each created when the one before is Ready. *Rolled out*: the App with one more field, from its apply to the last \
             tenant whose tables are at the new version. *Deleted*: all, from the first request until the last is gone.",
            rest.as_secs(),
            (rest / 5).as_secs(),
        ),
    );
    let mut standing = names("warm", 10);
    fleet.create(&standing, Duration::from_secs(60)).await?;
    let mut first_rate = None;
    for (step, size) in sizes.iter().enumerate() {
        eprintln!("{size} tenants");
        let more = names(&format!("fleet-{size}"), size.saturating_sub(standing.len()));
        let rates = create(&fleet, &more).await?;
        let first = *first_rate.get_or_insert(rates.last);
        report
            .add(format!("{size} created, none lost"), rates.whole, "tenants/s")
            .within(Budget::AtLeast(11.0));
        report
            .add(format!("{size}: rate at the end"), rates.last, "tenants/s")
            .against("of the first fleet", first);
        standing.extend(more);
        let window = if step + 1 == sizes.len() { rest } else { rest / 5 };
        at_rest(&platform, &mut report, *size, window).await?;
        restart(&platform, &mut report, *size).await?;
        let singles = names(&format!("single-{size}"), SINGLES);
        one_by_one(&fleet, &mut report, *size, &singles).await?;
        fleet.delete(&singles, Duration::from_secs(300)).await?;
        roll_out(&platform, &mut report, *size, step + 1, standing.len()).await?;
    }
    let limit = Duration::from_secs(60) + SLOWEST_PER_TENANT * u32::try_from(standing.len())?;
    let took = fleet.delete(&standing, limit).await?;
    report
        .add(
            format!("{} deleted (Delete)", standing.len()),
            standing.len() as f64 / took.as_secs_f64(),
            "tenants/s",
        )
        .within(Budget::AtLeast(20.0));
    let left: i64 =
        scalar(&platform, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenant\\_%'").await?;
    report.add("schemas left", left as f64, "schemas").within(Budget::AtMost(0.0));
    Ok(report)
}

struct Rates {
    whole: f64,
    last: f64,
}

async fn create(fleet: &Fleet, names: &[String]) -> Outcome<Rates> {
    let limit = Duration::from_secs(60) + SLOWEST_PER_TENANT * u32::try_from(names.len())?;
    let (began, mut ready) = fleet.create(names, limit).await?;
    ready.sort();
    let last = ready.last().copied().ok_or("a fleet has to grow")?;
    let before = ready.len().checked_sub(WINDOW + 1).map_or(began, |before| ready[before]);
    Ok(Rates {
        whole: ready.len() as f64 / last.duration_since(began).as_secs_f64(),
        last: WINDOW.min(ready.len()) as f64 / last.duration_since(before).as_secs_f64(),
    })
}

async fn at_rest(platform: &Platform<'_>, report: &mut Report, size: usize, window: Duration) -> Outcome<()> {
    let operator = Operator::of(platform)?;
    operator.until_quiet().await?;
    let client = platform.endpoints().kube_client().await?;
    let (before, cpu) = (Writes::read(&client).await?, operator.cpu()?);
    tokio::time::sleep(window).await;
    let (after, cpu) = (Writes::read(&client).await?, operator.cpu()? - cpu);
    report
        .add(format!("{size} at rest: operator's CPU"), 100.0 * cpu.as_secs_f64() / window.as_secs_f64(), "%")
        .within(Budget::AtMost(1.0));
    report
        .add(format!("{size} at rest: operator's memory"), operator.resident()?, "MB")
        .within(Budget::AtMost(250.0));
    report
        .add(format!("{size} at rest: API writes"), after.since(&before, &["leases"]), "writes")
        .within(Budget::AtMost(0.0));
    eprintln!("  {}", after.table(&before));
    Ok(())
}

async fn restart(platform: &Platform<'_>, report: &mut Report, size: usize) -> Outcome<()> {
    let operator = Operator::of(platform)?;
    let began = Instant::now();
    platform.operator()?.server().kill().await?;
    platform.operator()?.server().start().await?;
    operator.until_caught_up(Duration::from_secs(600)).await?;
    report
        .add(format!("{size}: restart to caught up"), began.elapsed().as_secs_f64(), "s")
        .within(Budget::AtMost(60.0));
    let passes = operator.metric("controller_runtime_reconcile_total{controller=\"tenant\"").await?;
    report.add(format!("{size}: passes that the restart cost"), passes, "passes");
    Ok(())
}

async fn one_by_one(fleet: &Fleet, report: &mut Report, size: usize, names: &[String]) -> Outcome<()> {
    let mut times = Vec::with_capacity(names.len());
    for name in names {
        times.push(fleet.create_one(name).await?.as_secs_f64() * 1000.0);
    }
    report.add(format!("{size} standing: a single one to Ready, p50"), quantile(&times, 0.5), "ms");
    report
        .add(format!("{size} standing: a single one to Ready, p99"), quantile(&times, 0.99), "ms")
        .within(Budget::AtMost(1000.0));
    Ok(())
}

/// Publishes the App with one more field in the customer.
async fn roll_out(
    platform: &Platform<'_>,
    report: &mut Report,
    size: usize,
    step: usize,
    tenants: usize,
) -> Outcome<()> {
    let api: kube::Api<App> = kube::Api::all(platform.endpoints().kube_client().await?);
    let version = format!("1.{step}.0");
    let app = api.get("crm").await?;
    let mut patch = serde_json::to_value(&app)?;
    patch["metadata"] = serde_json::json!({"name": "crm"});
    patch["spec"]["version"] = Value::from(version.clone());
    let fields = patch["spec"]["docTypes"][0]["fields"].as_array_mut().ok_or("the crm has no fields")?;
    fields.push(serde_json::json!({"name": format!("added_{step}"), "type": "String"}));
    let began = Instant::now();
    api.patch("crm", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(patch)).await?;
    let count = format!(
        "SELECT count(*) FROM tenantry.tenant_app WHERE app = 'crm' AND version = '{version}' AND state = 'Installed'"
    );
    let limit = Duration::from_secs(60) + SLOWEST_PER_TENANT * u32::try_from(tenants)?;
    eventually("all tenants are at the new version", limit, || async {
        let there: i64 = scalar(platform, &count).await.map_err(|error| error.to_string())?;
        if there == i64::try_from(tenants).unwrap_or(i64::MAX) { Ok(()) } else { Err(format!("{there} are")) }
    })
    .await?;
    report.add(
        format!("{size}: one column rolled out"),
        tenants as f64 / began.elapsed().as_secs_f64(),
        "tenants/s",
    );
    Ok(())
}

async fn scalar(platform: &Platform<'_>, sql: &str) -> Outcome<i64> {
    use sqlx::Connection;
    let mut database = sqlx::PgConnection::connect(&platform.endpoints().database_url).await?;
    let value = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&mut database).await?;
    database.close().await?;
    Ok(value)
}
