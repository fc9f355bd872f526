//! From the operator's word to the control plane's: how soon a new tenant is served, and a suspended one is not.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::Client;
use tenantry_e2e::Platform;
use tenantry_rig::RigError;

use super::Outcome;
use super::credentials::token;
use super::fleet::{Fleet, names};
use super::report::{Budget, Report, quantile};

const MILLISECONDS: f64 = 1000.0;
const LIMIT: Duration = Duration::from_secs(10);
const BETWEEN_REQUESTS: Duration = Duration::from_millis(1);

/// What the page says of these figures.
pub const METHOD: &str = "*New and suspended tenants*, one after the other, beside the standing ones: from seeing Ready on a watch \
                          to the first list that is answered with 200; from sending `state: Suspended`, or `Active`, to the \
                          first answer that accords with it. Requests follow each other at 1 ms.";

/// Measures with `count` tenants.
///
/// # Errors
/// When a tenant is not made, not served or not refused.
pub async fn switch(platform: &Platform<'_>, report: &mut Report, count: usize) -> Outcome<()> {
    let client = platform.endpoints().kube_client().await?;
    let (fleet, api) = (Fleet::watch(client.clone()), Api::<Tenant>::all(client));
    let [mut served, mut refused, mut again] = [const { Vec::new() }; 3];
    for name in names("switch", count) {
        let (tenant, ready) = fleet.create_ready(&name).await?;
        let uid = tenant.uid().ok_or("a Tenant without a uid")?;
        let user = Client::new(platform.url()?, &name, token(platform.endpoints(), &uid, "crm:sales")?)?;
        served.push(until(&user, ready, |(status, _)| *status == StatusCode::OK).await?);
        let suspended = |(_, body): &Answer| body["code"] == "tenant_suspended";
        refused.push(set(&api, &name, "Suspended", &user, suspended).await?);
        again.push(set(&api, &name, "Active", &user, |(status, _)| *status == StatusCode::OK).await?);
    }
    for (what, times) in [
        ("Ready to the first 200", served),
        ("suspended to the first refusal", refused),
        ("active again to the first 200", again),
    ] {
        report.add(format!("{what}, p50 of {count}"), quantile(&times, 0.5), "ms");
        report
            .add(format!("{what}, the longest of {count}"), quantile(&times, 1.0), "ms")
            .within(Budget::AtMost(MILLISECONDS));
    }
    Ok(())
}

type Answer = (StatusCode, Value);

async fn set(
    api: &Api<Tenant>,
    name: &str,
    state: &str,
    user: &Client,
    is: impl Fn(&Answer) -> bool,
) -> Outcome<f64> {
    let began = Instant::now();
    api.patch(name, &PatchParams::default(), &Patch::Merge(json!({"spec": {"state": state}}))).await?;
    until(user, began, is).await
}

/// Milliseconds since `began` at the first answer that `is` so.
async fn until(user: &Client, began: Instant, is: impl Fn(&Answer) -> bool) -> Outcome<f64> {
    let polling = async {
        loop {
            let answer = user.send(Method::GET, "/api/v1/data/crm/customers", None).await?;
            if is(&answer) {
                return Ok::<_, RigError>(began.elapsed());
            }
            tokio::time::sleep(BETWEEN_REQUESTS).await;
        }
    };
    let elapsed =
        tokio::time::timeout(LIMIT, polling).await.map_err(|_| "the tenant's state does not arrive")??;
    Ok(elapsed.as_secs_f64() * 1000.0)
}
