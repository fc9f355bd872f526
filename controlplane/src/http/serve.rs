//! Listens, and drains at shutdown.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, serve::ListenerExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long open requests may take to end after the signal. Longer than any request may take.
const DRAIN: Duration = Duration::from_secs(35);

/// Serves until `shutdown`, then lets open requests end.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(listen: SocketAddr, router: Router, shutdown: CancellationToken) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    tracing::info!(address = %listener.local_addr()?, "API");
    let listener = listener.tap_io(|connection| {
        // Small answers must not wait for the acknowledgement of the one before.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let drained = axum::serve(listener, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = drained.into_future() => ended,
        () = overdue => {
            tracing::warn!("requests were still open when the drain ended");
            Ok(())
        }
    }
}
