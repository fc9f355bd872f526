//! `/livez`, `/readyz` (also `/healthz`) and `/metrics`, on an address of their own and without a tenant.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What a program waits for before it takes work. Each part reports for itself; the program is ready when all are.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<RwLock<BTreeMap<&'static str, Result<(), String>>>>);

impl Readiness {
    /// Not ready before each of `parts` has said so.
    pub fn of(parts: &[&'static str]) -> Self {
        let waiting = parts.iter().map(|part| (*part, Err("not started".to_owned()))).collect();
        Self(Arc::new(RwLock::new(waiting)))
    }

    /// `part` is ready.
    pub fn ready(&self, part: &'static str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(part, Ok(()));
    }

    /// `part` is not ready, and why. Never a secret: the answer is public.
    pub fn not_ready(&self, part: &'static str, why: impl Into<String>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(part, Err(why.into()));
    }

    fn report(&self) -> (StatusCode, String) {
        let parts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let lines = parts.iter().map(|(part, state)| match state {
            Ok(()) => format!("{part}: ok\n"),
            Err(why) => format!("{part}: {why}\n"),
        });
        let text = lines.collect();
        let status =
            if parts.values().all(Result::is_ok) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, text)
    }
}

/// The probe routes without the metrics, for an address that everybody reaches.
pub fn health(readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/healthz", get(ready))
        .with_state(readiness)
}

fn router(readiness: Readiness, registry: Registry) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(registry).merge(health(readiness))
}

/// Serves the probes until `shutdown`.
///
/// # Errors
/// When the address cannot be listened on.
#[allow(clippy::disallowed_methods, reason = "only the cluster asks here")]
pub async fn serve(
    listen: SocketAddr,
    readiness: Readiness,
    registry: Registry,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    tracing::info!(address = %listener.local_addr()?, "probes and metrics");
    axum::serve(listener, router(readiness, registry))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}

async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    readiness.report()
}

async fn metrics(State(registry): State<Registry>) -> Result<Vec<u8>, StatusCode> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text).map_err(|error| {
        tracing::error!(%error, "metrics cannot be written");
        StatusCode::INTERNAL_SERVER_ERROR
    })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_part_is() {
        let readiness = Readiness::of(&["database", "leader"]);
        readiness.ready("database");
        let (status, text) = readiness.report();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("leader: not started"));
        readiness.ready("leader");
        assert_eq!(readiness.report().0, StatusCode::OK);
        readiness.not_ready("database", "refused");
        assert_eq!(readiness.report().0, StatusCode::SERVICE_UNAVAILABLE);
    }
}
