//! A peer as a process of its own.

use std::sync::Arc;

use tenantry_rig::RigError;
use tenantry_rig::endpoints::http_client;
use tenantry_rig::process::{Launch, Plan, Probe, Sandbox, Server, Signal, ports};

use super::super::Outcome;
use super::super::crowd::{Ask, User};
use super::super::load::Request;
use super::CASES;

/// What there is to say of a peer.
pub struct About {
    /// Its name, with the version.
    pub name: String,
    /// How it is set up.
    pub setup: &'static str,
    /// The requests, in the order of the cases.
    pub requests: [Ask; 3],
    /// Whose rows it has: so many of the tenants.
    pub tenants: usize,
}

/// A server that one might pick instead, which runs.
pub struct Peer {
    /// What there is to say of it.
    pub about: About,
    /// Where it answers.
    pub url: String,
    // Whoever has it started further processes; they end with the sandbox.
    _server: Server,
}

impl Peer {
    /// Starts what `launch` says for a port and waits until it answers `user`.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start(about: About, user: &User, launch: impl Fn(u16) -> Launch) -> Outcome<Self> {
        let sandbox = Arc::new(Sandbox::create("peer", None)?);
        let request = first(about.requests[0], user)?;
        let started = Server::launch(&sandbox, || {
            let [port] = ports::free()?;
            let url = format!("http://127.0.0.1:{port}");
            let (request, at) = (request.clone(), url.clone());
            let probe: Probe = Box::new(move || {
                let (request, at) = (request.clone(), at.clone());
                Box::pin(async move { answers(&at, &request, CASES[0].holds).await })
            });
            Ok((Plan { launch: launch(port), graceful: Signal::TERM, probe }, url))
        })
        .await;
        let (server, url) = started.inspect_err(|_| sandbox.keep())?;
        Ok(Self { about, url, _server: server })
    }
}

/// The first of the requests of a user.
pub fn first(ask: Ask, user: &User) -> Result<Request, RigError> {
    ask(user).into_iter().next().ok_or_else(|| RigError::Refused("a user without requests".to_owned()))
}

/// Whether a request is answered with what it asks for: an error may come as a 200, too.
///
/// # Errors
/// What is wrong with the answer.
pub async fn answers(url: &str, request: &Request, holds: fn(&str) -> bool) -> Result<(), String> {
    let http = http_client().map_err(|error| error.to_string())?;
    let url = format!("{url}{}", request.path);
    let mut sent = if request.method == "POST" {
        http.post(url).header("content-type", "application/json").body(request.body.clone())
    } else {
        http.get(url)
    };
    sent = sent.header("x-tenant", &request.tenant).bearer_auth(&request.token);
    let answer = sent.send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    if status.is_success() && !text.contains("\"errors\"") && holds(&text) {
        Ok(())
    } else {
        Err(format!("{status}: {text}"))
    }
}
