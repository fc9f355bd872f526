use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::RigError;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// What a [`Wire`] does with bytes. A change holds for connections that are open, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Carries them.
    Pass,
    /// Nobody listens, and open connections are reset.
    Refuse,
    /// Connections open and stay, and nothing comes through. What was sent arrives when it ends.
    Hang,
    /// Connections that are open stay, and nothing comes through; new ones are carried. What was sent arrives when it ends.
    Abandon,
    /// Each connection is reset after it has carried so many bytes of answers.
    Reset {
        /// That many bytes arrive.
        after: usize,
    },
    /// Carries them late and little by little.
    Slow {
        /// How late a piece is.
        latency: Duration,
        /// The most bytes of a piece.
        piece: usize,
    },
}

/// A TCP proxy on a loopback port. It ends when it is dropped.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    accepted: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Wire {
    /// Carries bytes to `upstream` and back, from now on.
    pub fn to(upstream: SocketAddr) -> Result<Self, RigError> {
        let failed = || RigError::io("binding a proxy to", Path::new("127.0.0.1:0"));
        let socket = bound(0).map_err(failed())?;
        let address = socket.local_addr().map_err(failed())?;
        let listener = socket.listen(BACKLOG).map_err(failed())?;
        let (mode, receiver) = watch::channel(Mode::Pass);
        let accepted = Arc::new(AtomicUsize::new(0));
        let serving = tokio::spawn(serve(listener, upstream, receiver, Arc::clone(&accepted)));
        Ok(Self { address, mode, accepted, serving })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does, at once.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Connections that were accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A socket that is bound and does not listen refuses connections and keeps its port.
fn bound(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    Ok(socket)
}

async fn serve(
    mut listener: TcpListener,
    upstream: SocketAddr,
    mut mode: watch::Receiver<Mode>,
    accepted: Arc<AtomicUsize>,
) {
    let (Ok(address), current) = (listener.local_addr(), mode.clone()) else { return };
    // Dropped with this, and all connections with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            biased;
            refused = mode.wait_for(|mode| *mode == Mode::Refuse) => {
                if refused.is_err() {
                    return;
                }
            }
            Ok((client, _)) = listener.accept() => {
                accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(carry(client, upstream, current.clone()));
                continue;
            }
            Some(_) = connections.join_next() => continue,
        }
        drop(listener);
        let Ok(socket) = bound(address.port()) else { return };
        if mode.wait_for(|mode| *mode != Mode::Refuse).await.is_err() {
            return;
        }
        let Ok(again) = socket.listen(BACKLOG) else { return };
        listener = again;
    }
}

/// One connection. An error resets both ends; a close in good order is passed on as one.
async fn carry(mut client: TcpStream, upstream: SocketAddr, mode: watch::Receiver<Mode>) {
    let came_later = *mode.borrow() == Mode::Abandon;
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let carried = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::try_join!(
            pump(from_client, to_server, mode.clone(), (Bytes::OfRequests, came_later)),
            pump(from_server, to_client, mode, (Bytes::OfAnswers, came_later)),
        )
    };
    if carried.is_err() {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bytes {
    OfRequests,
    OfAnswers,
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut mode: watch::Receiver<Mode>,
    (what, came_later): (Bytes, bool),
) -> io::Result<()> {
    let mut cut = mode.clone();
    let mut buffer = vec![0; 16 * 1024];
    let mut carried = 0;
    let carrying = async {
        loop {
            let length = from.read(&mut buffer).await?;
            let mut rest = &buffer[..length];
            while !rest.is_empty() || length == 0 {
                let now = *mode.borrow_and_update();
                let piece = match now {
                    Mode::Refuse => return Err(reset()),
                    Mode::Abandon if came_later => rest.len(),
                    Mode::Hang | Mode::Abandon => {
                        mode.changed().await.map_err(|_ended| reset())?;
                        continue;
                    }
                    Mode::Reset { after } if what == Bytes::OfAnswers => {
                        let left = after.saturating_sub(carried);
                        if left == 0 {
                            return Err(reset());
                        }
                        left.min(rest.len())
                    }
                    Mode::Slow { latency, piece } => {
                        tokio::time::sleep(latency).await;
                        piece.clamp(1, rest.len().max(1)).min(rest.len())
                    }
                    Mode::Pass | Mode::Reset { .. } => rest.len(),
                };
                if length == 0 {
                    return to.shutdown().await;
                }
                to.write_all(&rest[..piece]).await?;
                carried += piece;
                rest = &rest[piece..];
            }
        }
    };
    tokio::select! {
        biased;
        // An idle connection ends, too.
        _refused = cut.wait_for(|mode| *mode == Mode::Refuse) => Err(reset()),
        carried = carrying => carried,
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    /// Answers every byte with the same byte.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        address
    }

    async fn ask(connection: &mut TcpStream, text: &str) -> io::Result<String> {
        connection.write_all(text.as_bytes()).await?;
        let mut answer = vec![0; text.len()];
        tokio::time::timeout(LIMIT, connection.read_exact(&mut answer))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(String::from_utf8(answer).unwrap())
    }

    #[tokio::test]
    async fn carries_and_counts() {
        let wire = Wire::to(echo().await).unwrap();
        let mut connection = TcpStream::connect(wire.address()).await.unwrap();
        assert_eq!(ask(&mut connection, "hello").await.unwrap(), "hello");
        assert_eq!(wire.accepted(), 1);
    }

    #[tokio::test]
    async fn refuses_resets_what_is_open_and_heals_on_the_same_port() {
        let wire = Wire::to(echo().await).unwrap();
        let mut open = TcpStream::connect(wire.address()).await.unwrap();
        ask(&mut open, "hello").await.unwrap();
        wire.set(Mode::Refuse);
        let ended = ask(&mut open, "hello").await.unwrap_err();
        assert_ne!(ended.kind(), io::ErrorKind::TimedOut, "{ended}");
        let refused = TcpStream::connect(wire.address()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        wire.set(Mode::Pass);
        crate::eventually("healed", Duration::from_secs(5), || async {
            let mut again = TcpStream::connect(wire.address()).await?;
            ask(&mut again, "hello").await
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn hangs_and_then_delivers() {
        let wire = Wire::to(echo().await).unwrap();
        wire.set(Mode::Hang);
        let mut connection = TcpStream::connect(wire.address()).await.unwrap();
        assert_eq!(ask(&mut connection, "hello").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        wire.set(Mode::Pass);
        let mut answer = [0; 5];
        connection.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hello");
    }

    #[tokio::test]
    async fn abandons_what_is_open_and_carries_what_comes() {
        let wire = Wire::to(echo().await).unwrap();
        let mut open = TcpStream::connect(wire.address()).await.unwrap();
        assert_eq!(ask(&mut open, "hello").await.unwrap(), "hello");
        wire.set(Mode::Abandon);
        assert_eq!(ask(&mut open, "hello").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let mut new = TcpStream::connect(wire.address()).await.unwrap();
        assert_eq!(ask(&mut new, "hello").await.unwrap(), "hello");
    }

    #[tokio::test]
    async fn resets_in_the_middle_of_an_answer() {
        let wire = Wire::to(echo().await).unwrap();
        wire.set(Mode::Reset { after: 3 });
        let mut connection = TcpStream::connect(wire.address()).await.unwrap();
        assert_eq!(ask(&mut connection, "abc").await.unwrap(), "abc");
        let ended = ask(&mut connection, "d").await.unwrap_err();
        assert_ne!(ended.kind(), io::ErrorKind::TimedOut, "{ended}");
    }

    #[tokio::test]
    async fn is_slow() {
        let wire = Wire::to(echo().await).unwrap();
        wire.set(Mode::Slow { latency: Duration::from_millis(5), piece: 2 });
        let mut connection = TcpStream::connect(wire.address()).await.unwrap();
        let started = std::time::Instant::now();
        assert_eq!(ask(&mut connection, "abcdefgh").await.unwrap(), "abcdefgh");
        assert!(started.elapsed() >= Duration::from_millis(25), "{:?}", started.elapsed());
    }
}
