//! Listens, and drains at shutdown.
//!
//! Not `axum::serve`: that waits for the head of a request for as long as the client likes, and a few thousand connections that
//! send a byte a minute would be all there are. Nor does it bound for how long a client leaves an answer unread: [`Paced`] does.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::paced::{Pace, Paced};

/// How long open requests may take to end after the signal. Longer than any request may take.
const DRAIN: Duration = Duration::from_secs(35);
/// After a failure to accept: there are too many open files, most likely.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Bytes that a connection keeps of what it has read: the head of a request at most.
const MAX_HEAD: usize = 64 * 1024;
/// Headers that a request may have.
const MAX_HEADERS: usize = 100;

/// Serves until `shutdown`, then lets open requests end.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    listen: SocketAddr,
    router: Router,
    header_timeout: Duration,
    pace: Pace,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    tracing::info!(address = %listener.local_addr()?, "API");
    let open = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Small answers must not wait for the acknowledgement of the one before.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY");
                }
                connection(Paced::new(stream, pace.clone()), peer, router.clone(), header_timeout, &open);
            }
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    // Nobody may think that somebody listens.
    drop(listener);
    if tokio::time::timeout(DRAIN, open.shutdown()).await.is_err() {
        tracing::warn!("requests were still open when the drain ended");
    }
    Ok(())
}

fn connection(
    stream: Paced,
    peer: SocketAddr,
    router: Router,
    header_timeout: Duration,
    open: &GracefulShutdown,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let served = open.watch(served);
    tokio::spawn(async move {
        if let Err(error) = served.await {
            tracing::trace!(%error, "a connection ended");
        }
    });
}

/// A client that went away between its first packet and ours.
fn is_of_the_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use axum::{extract::Path, routing::get};
    use tenantry_config::settings;
    use tenantry_rig::eventually;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpSocket, TcpStream},
    };

    use uuid::Uuid;

    use super::{super::Limits, *};
    use crate::{auth::RequestInfo, error::ApiError, load::Capacity};

    fn unused_address() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// A connection, once the server listens; of a client that takes in so many bytes without reading them.
    async fn connect(address: SocketAddr, receives: Option<u32>) -> TcpStream {
        loop {
            let socket = TcpSocket::new_v4().unwrap();
            receives.into_iter().for_each(|bytes| socket.set_recv_buffer_size(bytes).unwrap());
            match socket.connect(address).await {
                Ok(stream) => return stream,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_ends_the_connection_and_open_requests_end_at_shutdown() {
        let address = unused_address();
        let shutdown = CancellationToken::new();
        let router = Router::new().route(
            "/slow",
            get(async || {
                tokio::time::sleep(Duration::from_millis(300)).await;
                "done"
            }),
        );
        let server = tokio::spawn(serve(
            address,
            router,
            Duration::from_millis(200),
            Pace::new(Duration::from_secs(15)),
            shutdown.clone(),
        ));
        let mut trickle = connect(address, None).await;
        trickle.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\nX-").await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(5), trickle.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "the server closes it");

        let mut whole = connect(address, None).await;
        whole.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        shutdown.cancel();
        let mut answer = String::new();
        whole.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
        server.await.unwrap().unwrap();
    }

    const ANSWER: usize = 4 * 1024 * 1024;
    const MEMORY: usize = 16 * 1024 * 1024;

    /// A large answer of the tenant that the path names.
    async fn large(Path(tenant): Path<u128>, info: RequestInfo) -> Result<Vec<u8>, ApiError> {
        info.load.of_tenant(Uuid::from_u128(tenant))?;
        info.load.hold(ANSWER)?;
        Ok(vec![b'x'; ANSWER])
    }

    #[tokio::test]
    async fn clients_that_do_not_read_lose_their_connections_and_others_are_served_meanwhile() {
        let (address, shutdown) = (unused_address(), CancellationToken::new());
        let capacity = Capacity::new(MEMORY, 1000);
        let limits = Limits::new(&settings::Http::default(), &capacity);
        let router = limits.apply(Router::new().route("/{tenant}", get(large)));
        let pace = Pace::new(Duration::from_millis(500));
        let long = Duration::from_secs(60);
        let server = tokio::spawn(serve(address, router, long, pace.clone(), shutdown.clone()));
        let ask = async |tenant: u8, receives| {
            let mut client = connect(address, receives).await;
            let request = format!("GET /{tenant} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            client
        };
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(ask(1, Some(2048)).await);
        }
        let held = || async {
            let held = capacity.held_bytes();
            if held == 2 * ANSWER as u64 { Ok(()) } else { Err(held) }
        };
        eventually("two answers wait, for half of the memory", long, held).await.unwrap();
        let mut answer = Vec::new();
        ask(2, None).await.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200") && answer.len() > ANSWER, "another tenant is served");
        let ended = || async {
            let (held, ended) = (capacity.held_bytes(), pace.ended());
            if (held, ended) == (0, 2) { Ok(()) } else { Err(format!("{held} {ended}")) }
        };
        eventually("both connections are closed and their memory is free", long, ended).await.unwrap();
        let mut served = 0;
        for mut client in silent {
            let mut answer = Vec::new();
            // What the system had taken in, or that the connection is gone.
            let _ended = client.read_to_end(&mut answer).await;
            served += usize::from(!answer.starts_with(b"HTTP/1.1 503"));
            assert!(answer.len() < ANSWER);
        }
        assert_eq!(served, 2, "the others were told to come back");
        shutdown.cancel();
        server.await.unwrap().unwrap();
    }
}
