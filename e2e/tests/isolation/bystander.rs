//! The victim: a tenant that is served all the while.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use reqwest::Method;
use serde_json::json;
use tenantry_e2e::world::{World, answer, unique};
use tokio::task::JoinHandle;

/// A tenant with a card, whose user reads and writes until told to stop.
pub struct Bystander {
    /// Its name.
    pub tenant: String,
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    work: JoinHandle<Vec<String>>,
}

/// The schema of a tenant.
pub fn schema(tenant: &str) -> String {
    format!("tenant_{}", tenant.replace('-', "_"))
}

impl Bystander {
    /// Installs the app of `world` in another tenant, and begins.
    pub async fn beside(world: &World) -> Self {
        let tenant = unique("v-");
        world.install(&tenant).await;
        let roles = ["reader", "writer"].map(|role| format!("{}:{role}", world.app));
        let token = world.token_of(&tenant, "vera", &roles.each_ref().map(String::as_str)).await;
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted, host) = (stop.clone(), served.clone(), format!("{tenant}.example.com"));
        let cards = world.cards("data");
        let request = {
            let url = world.url(&cards);
            move |method| {
                let http = tenantry_rig::endpoints::http_client().unwrap();
                http.request(method, &url).header("Host", &host).bearer_auth(&token)
            }
        };
        let first = answer(request(Method::POST).json(&json!({"title": "secret of the victim"}))).await;
        assert_eq!(first.status, 201, "{first:?}");
        let work = tokio::spawn(async move {
            let mut failures = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let wrote = answer(request(Method::POST).json(&json!({"title": "more"}))).await;
                let read = answer(request(Method::GET)).await;
                let mine = read.body.to_string();
                if wrote.status != 201
                    || read.status != 200
                    || mine.contains("forged")
                    || mine.contains("touched")
                {
                    failures.push(format!("{wrote:?} {read:?}"));
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
            failures
        });
        Self { tenant, stop, served, work }
    }

    /// Stops; fails when anything went wrong for it, or when it did nothing.
    pub async fn was_left_alone(self) {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.work.await.unwrap();
        assert!(failures.is_empty(), "{} failures, as {}", failures.len(), failures[0]);
        assert!(self.served.load(Ordering::Relaxed) > 0);
    }
}
