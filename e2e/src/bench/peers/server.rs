//! A peer as a process of its own.

use std::path::PathBuf;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::super::Outcome;
use super::super::crowd::Ask;
use crate::rig::eventually;

/// What there is to say of a peer.
#[derive(Clone)]
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
    _process: Child,
}

impl Peer {
    /// Starts `command`, which is told the port by `listen`, and waits until it answers.
    ///
    /// # Errors
    /// When it does not within half a minute; what it said is in `log`.
    pub async fn start(about: About, log: PathBuf, command: impl FnOnce(u16) -> Command) -> Outcome<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let output = std::fs::File::create(&log)?;
        let process = command(port)
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()?;
        eventually(&format!("{} answers", about.name), Duration::from_secs(30), || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(|_| ())
        })
        .await
        .map_err(|error| {
            format!("{error}; it said: {}", std::fs::read_to_string(&log).unwrap_or_default())
        })?;
        Ok(Self { about, url: format!("http://127.0.0.1:{port}"), _process: process })
    }
}
