//! The skeleton against a Kubernetes API that only records what it is asked.

mod priority;

use std::{
    convert::Infallible,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    http::{Request, Response},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Client, CustomResource, client::Body as KubeBody, runtime::controller::Action, runtime::reflector,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenantry_crds::{conditions::ConditionType, reason::Reason};
use tokio_util::sync::CancellationToken;

use super::{
    kind::{Cleanup, Kind, Pass, Progress},
    lane::Lane,
    reconcile::reconcile,
};
use crate::{
    backend::Backends,
    catalog::Catalog,
    context::{Context, Lanes, Stores},
    error::Error,
    events::Events,
    leader::{Leadership, Tenure},
    metrics::Metrics,
    placement::Directory,
    rollout::Rollouts,
    triggers::Touched,
};

/// An object whose passes end as its spec says.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "test.tenantry.dev",
    version = "v1",
    kind = "Probe",
    status = "ProbeStatus",
    schema = "disabled"
)]
struct ProbeSpec {
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum End {
    Ready,
    Blocked,
    Panic,
    /// Panics where the status is made.
    PanicInStatus,
    Hang,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProbeStatus {
    observed_generation: Option<i64>,
    conditions: Vec<Condition>,
}

const FINALIZER: &str = "tenantry.dev/probe";

/// What [`Probe::settle`] panics at.
const POISON: Option<i64> = Some(-7);

/// Shared by all tests, so each takes its own names.
static LANE: LazyLock<Lane<Probe>> = LazyLock::new(|| Lane::new(1).0);

impl Kind for Probe {
    const NAME: &'static str = "probe";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);
    type Status = ProbeStatus;

    fn status(&self) -> Option<&ProbeStatus> {
        self.status.as_ref()
    }

    fn conditions(status: &ProbeStatus) -> &[Condition] {
        &status.conditions
    }

    fn settle(status: &mut ProbeStatus, generation: i64, conditions: Vec<Condition>) {
        assert_ne!(status.observed_generation, POISON, "a fault of ours");
        (status.observed_generation, status.conditions) = (Some(generation), conditions);
    }

    fn lane(_: &Context) -> &Lane<Self> {
        &LANE
    }

    async fn converge(&self, _: &Context, pass: &mut Pass<ProbeStatus>) -> Result<Progress, Error> {
        pass.holds(ConditionType::DatabaseReady, Reason::Succeeded, "there");
        match self.spec.end {
            End::Ready => Ok(Progress::Ready("done".into())),
            End::Blocked => Err(Error::blocked(Reason::AppNotFound, "no app")),
            End::Panic => panic!("a fault of ours"),
            End::PanicInStatus => {
                pass.status.observed_generation = POISON;
                Ok(Progress::Ready("done".into()))
            }
            End::Hang => std::future::pending().await,
        }
    }

    async fn cleanup(&self, _: &Context, _: &mut Pass<ProbeStatus>) -> Result<Cleanup, Error> {
        match self.spec.end {
            End::Ready => Ok(Cleanup::Done),
            _ => Ok(Cleanup::Waiting {
                reason: Reason::DependentsExist,
                message: "one left".into(),
                after: Duration::from_secs(9),
            }),
        }
    }
}

/// An API server with one object, and the writes to it.
#[derive(Clone)]
struct Server {
    object: Arc<Mutex<Probe>>,
    writes: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn with(name: &str, end: End, meta: Value) -> Self {
        let mut all = json!({"name": name, "uid": name, "generation": 3, "resourceVersion": "1"});
        all.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
        let object = json!({
            "apiVersion": "test.tenantry.dev/v1", "kind": "Probe", "metadata": all, "spec": {"end": end},
        });
        Self { object: Arc::new(Mutex::new(serde_json::from_value(object).unwrap())), writes: Arc::default() }
    }

    async fn answer(self, request: Request<KubeBody>) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path().to_owned();
        let body = to_bytes(Body::new(request.into_body()), usize::MAX).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let mut object = self.object.lock().unwrap();
        if path.contains("/events") {
            return Ok(Response::new(Body::from(body.to_string())));
        }
        let version: u64 = object.metadata.resource_version.as_deref().unwrap().parse().unwrap();
        object.metadata.resource_version = Some((version + 1).to_string());
        let what = if path.ends_with("/status") {
            object.status = serde_json::from_value(body["status"].clone()).unwrap();
            "status"
        } else if body.is_array() {
            object.metadata.finalizers = None;
            "finalizer removed"
        } else {
            object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
            "finalizer added"
        };
        self.writes.lock().unwrap().push(what.to_owned());
        Ok(Response::new(Body::from(serde_json::to_vec(&*object).unwrap())))
    }

    /// A pass over the object as it is now, and the writes it made.
    async fn pass(&self, ctx: &Arc<Context>) -> (Action, Vec<String>) {
        let object = Arc::new(self.object.lock().unwrap().clone());
        let Ok(action) = reconcile(object, ctx.clone()).await;
        (action, std::mem::take(&mut *self.writes.lock().unwrap()))
    }

    /// `Ready=True Succeeded`, for each condition.
    fn conditions(&self) -> Vec<String> {
        let status = self.object.lock().unwrap().status.clone().unwrap();
        assert_eq!(status.observed_generation, Some(3));
        status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
    }

    fn context(&self) -> Arc<Context> {
        let server = self.clone();
        let service = tower::service_fn(move |request| server.clone().answer(request));
        let client = Client::new(service, "default");
        let key = "k".repeat(32);
        let settings = serde_json::from_value(json!({
            "database": {"url": "postgres://u:p@127.0.0.1:1/d", "provisionerKey": key, "trafficKey": key},
            "redis": {"url": "redis://127.0.0.1:1"}, "reconcile": {"deadlineSeconds": 1},
        }));
        let settings: Arc<tenantry_config::settings::Operator> = Arc::new(settings.unwrap());
        let metrics = Metrics::new().unwrap();
        let filled = [(); 3].map(|()| CancellationToken::new());
        filled.iter().for_each(CancellationToken::cancel);
        let (tenants, apps, search_indexes) =
            (reflector::store().0, reflector::store().0, reflector::store().0);
        let catalog = Arc::new(Catalog::new(reflector::store().0));
        Arc::new(Context {
            evolutions: Default::default(),
            events: Events::start(client.clone(), "test".into()),
            client,
            leadership: Leadership::new(Tenure::lasting(Duration::from_secs(3600))),
            backends: Arc::new(Backends::new(&settings, &metrics).unwrap()),
            directory: Arc::new(Directory::new([])),
            rollouts: Arc::new(Rollouts::new(catalog.clone(), tenants.clone())),
            catalog,
            touched: Touched::default(),
            metrics,
            stores: Stores { tenants, apps, search_indexes, filled },
            lanes: Lanes { tenants: Lane::new(1).0, apps: Lane::new(1).0, search_indexes: Lane::new(1).0 },
            snapshots: crate::snapshot::Jobs::new(None).unwrap(),
            settings,
        })
    }
}

#[tokio::test]
async fn a_new_object_costs_two_writes_and_a_resync_none() {
    let server = Server::with("new", End::Ready, json!({}));
    let ctx = server.context();
    assert_eq!(server.pass(&ctx).await.1, ["finalizer added", "status"]);
    assert_eq!(server.conditions(), ["Ready=True Succeeded", "DatabaseReady=True Succeeded"]);
    // The watch events of our own two writes.
    assert!(server.pass(&ctx).await.1.is_empty());
    LANE.wake("new");
    assert!(server.pass(&ctx).await.1.is_empty());
}

#[tokio::test]
async fn every_bad_end_reaches_the_status_with_what_was_found_before() {
    for (end, ready, abnormal) in [
        (End::Blocked, "Ready=False AppNotFound", "Stalled=True AppNotFound"),
        (End::Panic, "Ready=False InternalError", "Stalled=True InternalError"),
        (End::Hang, "Ready=False ProgressingWithRetry", "Reconciling=True ProgressingWithRetry"),
    ] {
        let server = Server::with(&format!("bad-{end:?}"), end, json!({"finalizers": [FINALIZER]}));
        let ctx = server.context();
        let (action, writes) = server.pass(&ctx).await;
        assert_eq!(writes, ["status"], "{end:?}");
        assert_eq!(server.conditions(), [ready, abnormal, "DatabaseReady=True Succeeded"]);
        assert_ne!(action, Action::await_change());
        // Its own status write does not wake it before its time.
        assert!(server.pass(&ctx).await.1.is_empty());
    }
}

#[tokio::test]
async fn a_panic_where_the_status_is_written_costs_one_pass_and_not_the_controller() {
    let server = Server::with("poisoned", End::PanicInStatus, json!({"finalizers": [FINALIZER]}));
    let ctx = server.context();
    let (action, writes) = server.pass(&ctx).await;
    assert!(writes.is_empty());
    assert_ne!(action, Action::await_change(), "it is tried again");
    let text = prometheus::TextEncoder::new().encode_to_string(&ctx.metrics.registry().gather()).unwrap();
    let ended = r#"tenantry_reconcile_ends_total{controller="probe",end="fatal"} 1"#;
    assert!(text.contains(ended), "{text}");
    assert!(text.contains(r#"controller_runtime_active_workers{controller="probe"} 0"#), "{text}");
}

#[tokio::test]
async fn a_deletion_waits_visibly_and_then_lets_go() {
    let meta = json!({"finalizers": [FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let server = Server::with("waits", End::Blocked, meta.clone());
    assert_eq!(server.pass(&server.context()).await.1, ["status"]);
    assert_eq!(server.conditions(), ["Ready=False DependentsExist", "Reconciling=True Deleting"]);
    let server = Server::with("goes", End::Ready, meta);
    let (action, writes) = server.pass(&server.context()).await;
    assert_eq!((action, writes), (Action::await_change(), vec!["finalizer removed".to_owned()]));
}

#[tokio::test]
async fn a_paused_object_is_left_alone_and_says_so() {
    let paused = json!({"annotations": {"tenantry.dev/paused": "true"}});
    let server = Server::with("paused", End::Panic, paused);
    assert_eq!(server.pass(&server.context()).await.1, ["status"]);
    assert_eq!(server.conditions(), ["Ready=Unknown Paused"]);
}

#[tokio::test]
async fn whoever_does_not_lead_writes_nothing_and_asks_again_for_a_renewal_may_only_be_late() {
    let server = Server::with("fenced", End::Ready, json!({}));
    let mut ctx = server.context();
    Arc::get_mut(&mut ctx).unwrap().leadership = Leadership::new(Tenure::lasting(Duration::ZERO));
    let (action, writes) = server.pass(&ctx).await;
    assert!(writes.is_empty());
    assert_ne!(action, Action::await_change(), "nobody else would ask for it");
    Arc::get_mut(&mut ctx).unwrap().leadership = Leadership::new(Tenure::lasting(Duration::from_secs(60)));
    assert_eq!(server.pass(&ctx).await.1, ["finalizer added", "status"]);
}
