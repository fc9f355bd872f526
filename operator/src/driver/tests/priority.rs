//! A change of a manifest against the standing population, with kube's own Controller and scheduler.

use std::sync::LazyLock;

use futures::{StreamExt, channel::mpsc};
use kube::runtime::{
    Controller,
    controller::Config,
    reflector::ObjectRef,
    watcher::{self, Event},
};
use tokio::sync::Notify;

use super::*;

/// An object whose passes never end, but for those that are [`End::Ready`].
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "test.tenantry.dev",
    version = "v1",
    kind = "Crowd",
    status = "ProbeStatus",
    schema = "disabled"
)]
struct CrowdSpec {
    end: End,
}

const STANDING: usize = 500;
const SHARE: usize = 4;

type Wakes = mpsc::UnboundedReceiver<ObjectRef<Crowd>>;

static LANE: LazyLock<(Lane<Crowd>, Mutex<Option<Wakes>>)> = LazyLock::new(|| {
    let (lane, wakes) = Lane::new(SHARE);
    (lane, Mutex::new(Some(wakes)))
});
static SERVED: Notify = Notify::const_new();

impl Kind for Crowd {
    const NAME: &'static str = "crowd";
    const FINALIZER: Option<&'static str> = None;
    type Status = ProbeStatus;

    fn status(&self) -> Option<&ProbeStatus> {
        self.status.as_ref()
    }

    fn conditions(status: &ProbeStatus) -> &[Condition] {
        &status.conditions
    }

    fn settle(status: &mut ProbeStatus, generation: i64, conditions: Vec<Condition>) {
        (status.observed_generation, status.conditions) = (Some(generation), conditions);
    }

    fn lane(_: &Context) -> &Lane<Self> {
        &LANE.0
    }

    async fn converge(&self, _: &Context, _: &mut Pass<ProbeStatus>) -> Result<Progress, Error> {
        if self.spec.end == End::Ready {
            SERVED.notify_one();
            return Ok(Progress::Ready("done".into()));
        }
        std::future::pending().await
    }

    async fn cleanup(&self, _: &Context, _: &mut Pass<ProbeStatus>) -> Result<Cleanup, Error> {
        Ok(Cleanup::Done)
    }
}

fn crowd(name: &str, end: End, status: Value) -> Crowd {
    serde_json::from_value(json!({
        "apiVersion": "test.tenantry.dev/v1", "kind": "Crowd", "spec": {"end": end}, "status": status,
        "metadata": {"name": name, "uid": name, "generation": 1, "resourceVersion": "1"},
    }))
    .unwrap()
}

#[tokio::test]
async fn a_new_object_passes_five_hundred_that_wait() {
    let ctx = Server::with("any", End::Ready, json!({})).context();
    let (store, mut writer) = reflector::store();
    let (events, changes) = mpsc::unbounded::<watcher::Result<Crowd>>();
    let ready = json!({"observedGeneration": 1, "conditions": [{
        "type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    writer.apply_watcher_event(&Event::Init);
    for n in 0..STANDING {
        let standing = crowd(&format!("standing-{n}"), End::Hang, ready.clone());
        writer.apply_watcher_event(&Event::InitApply(standing.clone()));
        events.unbounded_send(Ok(standing)).unwrap();
    }
    writer.apply_watcher_event(&Event::InitDone);
    let wakes = LANE.1.lock().unwrap().take().unwrap();
    let slots = Config::default().concurrency(u16::try_from(2 * SHARE).unwrap());
    let controller = Controller::for_stream(changes, store)
        .with_config(slots)
        .reconcile_on(wakes)
        .run(reconcile::<Crowd>, |_, error: &Infallible, _| match *error {}, ctx)
        .for_each(|_| std::future::ready(()));
    let controller = tokio::spawn(controller);

    let lane = &LANE.0;
    tokio::time::timeout(Duration::from_secs(20), async {
        while lane.waiting() < STANDING - SHARE {
            tokio::task::yield_now().await;
        }
        let new = crowd("new", End::Ready, Value::Null);
        writer.apply_watcher_event(&Event::Apply(new.clone()));
        events.unbounded_send(Ok(new)).unwrap();
        SERVED.notified().await;
    })
    .await
    .expect("the new object has its pass");
    // A pass of the population ends with its deadline of a second; hardly any has.
    assert!(lane.waiting() > STANDING / 2, "{} wait", lane.waiting());
    controller.abort();
}
