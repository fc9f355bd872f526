//! The Lease against an API server that keeps one object and its resource version, as the real one does.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, Response, StatusCode},
};
use kube::{Client, client::Body as KubeBody};
use serde_json::{Value, json};
use tenantry_config::settings;
use tokio_util::sync::CancellationToken;

use super::election::{Election, Ended, Held};

#[derive(Clone, Default)]
struct Server(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    lease: Option<Value>,
    version: u64,
    /// The next write is done, but its answer is an error.
    loses_an_answer: bool,
}

impl Server {
    async fn answer(self, request: Request<KubeBody>) -> Result<Response<Body>, Infallible> {
        let method = request.method().clone();
        let body = to_bytes(Body::new(request.into_body()), usize::MAX).await.unwrap();
        let mut stored = self.0.lock().unwrap();
        if method == Method::GET {
            return Ok(stored.lease.as_ref().map_or_else(|| failure(StatusCode::NOT_FOUND), found));
        }
        let mut sent: Value = serde_json::from_slice(&body).unwrap();
        let known = stored.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        let based_on = sent["metadata"].get("resourceVersion").cloned();
        if known != based_on {
            return Ok(failure(StatusCode::CONFLICT));
        }
        stored.version += 1;
        sent["metadata"]["resourceVersion"] = json!(stored.version.to_string());
        stored.lease = Some(sent.clone());
        let lost = std::mem::take(&mut stored.loses_an_answer);
        Ok(if lost { failure(StatusCode::INTERNAL_SERVER_ERROR) } else { found(&sent) })
    }

    fn candidate(&self, me: &str) -> Election {
        let server = self.clone();
        let service = tower::service_fn(move |request| server.clone().answer(request));
        let timings = settings::Leader { duration_seconds: 3, renew_seconds: 1, ..Default::default() };
        Election::new(Client::new(service, "default"), &timings, me.to_owned())
    }

    fn holder(&self) -> String {
        let stored = self.0.lock().unwrap();
        stored.lease.as_ref().unwrap()["spec"]["holderIdentity"].as_str().unwrap().to_owned()
    }
}

fn found(lease: &Value) -> Response<Body> {
    Response::new(Body::from(lease.to_string()))
}

fn failure(code: StatusCode) -> Response<Body> {
    let reason = match code {
        StatusCode::CONFLICT => "Conflict",
        StatusCode::NOT_FOUND => "NotFound",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(), "reason": reason,
        "message": "no",
    });
    let mut response = Response::new(Body::from(status.to_string()));
    *response.status_mut() = code;
    response
}

async fn won(election: &Election) -> Held {
    let never = CancellationToken::new();
    let winning = election.win(|| panic!("nobody has the lease"), &never);
    tokio::time::timeout(Duration::from_secs(60), winning).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_had_at_once_and_a_held_one_is_not() {
    let server = Server::default();
    let (one, two) = (server.candidate("one"), server.candidate("two"));
    let held = won(&one).await;
    let tenure = held.tenure();
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(one.keep(held, stop).await, Ended::Released);
    assert!(tenure.check().is_err());
    assert_eq!(server.holder(), "");

    let _frozen = won(&two).await;
    let shutdown = CancellationToken::new();
    let waiting = one.win(|| shutdown.cancel(), &shutdown).await;
    assert!(waiting.is_none(), "someone else has it");
    assert_eq!(server.holder(), "two");
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_the_lease_taken_has_lost_it() {
    let server = Server::default();
    let held = won(&server.candidate("one")).await;
    let tenure = held.tenure();
    {
        let mut stored = server.0.lock().unwrap();
        stored.version += 1;
        let version = stored.version.to_string();
        let lease = stored.lease.as_mut().unwrap();
        lease["metadata"]["resourceVersion"] = json!(version);
        lease["spec"]["holderIdentity"] = json!("two");
    }
    assert_eq!(server.candidate("one").keep(held, CancellationToken::new()).await, Ended::Lost);
    assert!(tenure.check().is_err());
    assert_eq!(server.holder(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_our_own_renewal_is_not_a_lost_lease() {
    let server = Server::default();
    let held = won(&server.candidate("one")).await;
    server.0.lock().unwrap().loses_an_answer = true;
    let stop = CancellationToken::new();
    let keeper = server.candidate("one");
    let kept = keeper.keep(held, stop.clone());
    let stopped = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        stop.cancel();
    };
    assert_eq!(tokio::join!(kept, stopped).0, Ended::Released);
}
