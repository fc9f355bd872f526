use std::time::Duration;

use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::checkout::apply_crds;
use tenantry_e2e::cluster::{Cluster, condition_of};
use tenantry_e2e::manifests::{customer, search_of, shop};
use tenantry_e2e::program::{Program, ProgramOptions, bootstrap};
use tenantry_rig::proxy::Proxies;
use tenantry_rig::{Stack, eventually};

/// A fault is told after a time limit of the operator, and healed after its backoff.
pub const LIMIT: Duration = Duration::from_secs(60);

/// An operator behind proxies, on a stack of its own.
pub struct World {
    pub operator: Program,
    pub cluster: Cluster,
    pub proxies: Proxies,
    pub stack: Stack,
}

impl World {
    pub async fn new() -> Self {
        let stack = Stack::private("faults are made between it and its operator").await.unwrap();
        let proxies = Proxies::start(&stack).await.unwrap();
        apply_crds(stack.endpoints()).await.unwrap();
        bootstrap(stack.endpoints(), &ProgramOptions::default()).await.unwrap();
        let settings = vec![("TENANTRY__RECONCILE__DEADLINE_SECONDS".to_owned(), "10".to_owned())];
        let options = ProgramOptions {
            settings,
            kubeconfig: Some(proxies.kubeconfig().to_owned()),
            ..ProgramOptions::default()
        };
        let operator = Program::operator(proxies.endpoints(), &options).await.unwrap();
        let cluster = Cluster::of(stack.endpoints()).await;
        cluster.app("shop", shop("1.0.0", customer())).await;
        cluster.search_index("shop", search_of("shop")).await;
        Self { operator, cluster, proxies, stack }
    }

    /// Waits until the tenant says that `condition` fails for a reason that passes.
    pub async fn until_told(&self, tenant: &str, condition: &str) {
        let api: kube::Api<Tenant> = kube::Api::all(self.stack.endpoints().kube_client().await.unwrap());
        eventually(&format!("{tenant} says that {condition} fails"), LIMIT, || async {
            let tenant = api.get(tenant).await.map_err(|error| error.to_string())?;
            let told =
                |kind, status: &str| condition_of(&tenant, kind).is_some_and(|found| found.0 == status);
            let passes = told("Reconciling", "True") && told("Ready", "False");
            if told(condition, "False") && passes { Ok(()) } else { Err(format!("{:?}", tenant.status)) }
        })
        .await
        .unwrap();
    }

    /// Waits until the tenant is Ready, by itself.
    pub async fn until_healed(&self, tenant: &str) {
        let api: kube::Api<Tenant> = kube::Api::all(self.stack.endpoints().kube_client().await.unwrap());
        eventually(&format!("{tenant} is Ready again"), LIMIT, || async {
            let tenant = api.get(tenant).await.map_err(|error| error.to_string())?;
            let observed = tenant.status.as_ref().and_then(|status| status.observed_generation);
            match condition_of(&tenant, "Ready") {
                Some((status, ..)) if status == "True" && observed == tenant.metadata.generation => Ok(()),
                found => Err(format!("{found:?}")),
            }
        })
        .await
        .unwrap();
    }
}
