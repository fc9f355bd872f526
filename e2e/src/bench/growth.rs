//! `make bench-fleet`: whether the 5,000th tenant costs what the 100th did.

use std::time::{Duration, Instant};

use super::fleet::{Fleet, names};
use super::report::{Budget, Report};
use super::tenants::install_crm;
use super::{Outcome, durable_platform};

const WINDOW: usize = 100;

/// Runs the benchmark over `count` tenants.
///
/// # Errors
/// When the platform does not start or a tenant is lost.
pub async fn growth(count: usize) -> Outcome<Report> {
    let platform = durable_platform().await?;
    install_crm(&platform).await?;
    let fleet = Fleet::watch(platform.endpoints().kube_client().await?);
    let mut report = Report::new(
        "fleet",
        "A growing fleet",
        format!(
            "`make bench-fleet`. {count} tenants with the `crm` sample app, created by 8 clients in one burst. The rate at a \
             point is that of the {WINDOW} tenants that became Ready up to it. A login that holds many tenants' roles would show \
             here as a rate that falls with the size of the fleet."
        ),
    );
    fleet.create(&names("warm", 10), Duration::from_secs(60)).await?;
    let limit = Duration::from_secs(60) + Duration::from_millis(200) * u32::try_from(count)?;
    let (began, mut ready) = fleet.create(&names("fleet", count), limit).await?;
    ready.sort();
    let rate = |upto: usize| {
        let since = upto.checked_sub(WINDOW + 1).map_or(began, |before| ready[before]);
        WINDOW as f64 / ready[upto - 1].duration_since(since).as_secs_f64()
    };
    let whole = ready.last().copied().unwrap_or_else(Instant::now).duration_since(began);
    report
        .add(format!("{count} tenants, none lost"), count as f64 / whole.as_secs_f64(), "tenants/s")
        .within(Budget::AtLeast(11.0));
    let first = rate(WINDOW.min(count));
    for upto in [WINDOW, 1000, 2500, count].into_iter().filter(|upto| *upto <= count) {
        report.add(format!("rate at the {upto}th"), rate(upto), "tenants/s").against("at the 100th", first);
    }
    report.add("operator's memory", resident(&platform)?, "MB").within(Budget::AtMost(250.0));
    Ok(report)
}

/// Resident memory of the operator, in megabytes.
fn resident(platform: &crate::rig::Platform<'_>) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", platform.operator()?.process().pid()))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the operator has no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
