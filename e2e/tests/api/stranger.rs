//! A server of somebody else's, which a tenant's manifest names.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it answers.
pub enum Says {
    Json(Value),
    Text(String),
    /// A status without a body.
    Status(&'static str),
    Redirect(String),
    /// A good beginning, and no end.
    Endless,
    /// Nothing at all, and keeps the connection.
    Nothing,
}

#[derive(Default)]
struct Seen {
    asked: Mutex<Vec<String>>,
    connections: AtomicUsize,
    talking: AtomicUsize,
    most: AtomicUsize,
    sent: AtomicUsize,
}

/// A server that answers each request by its path and its own port.
pub struct Stranger {
    pub port: u16,
    seen: Arc<Seen>,
}

impl Stranger {
    /// Listens on every address of this machine.
    pub async fn open(says: impl Fn(&str, u16) -> Says + Send + Sync + 'static) -> Self {
        let listener = match TcpListener::bind("[::]:0").await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind("0.0.0.0:0").await.unwrap(),
        };
        let port = listener.local_addr().unwrap().port();
        let (seen, says) = (Arc::new(Seen::default()), Arc::new(says));
        let stranger = Self { port, seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                let (seen, says) = (Arc::clone(&seen), Arc::clone(&says));
                tokio::spawn(async move {
                    let talking = seen.talking.fetch_add(1, Ordering::SeqCst) + 1;
                    seen.most.fetch_max(talking, Ordering::SeqCst);
                    // Whoever hangs up has heard enough.
                    let _hung_up = talk(stream, &seen, |path| says(path, port)).await;
                    seen.talking.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        stranger
    }

    pub fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port)
    }

    /// The paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.seen.asked.lock().unwrap().clone()
    }

    /// Connections that were made, whatever came of them.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    pub fn talking(&self) -> usize {
        self.seen.talking.load(Ordering::SeqCst)
    }

    /// The most that were open at once.
    pub fn most(&self) -> usize {
        self.seen.most.load(Ordering::SeqCst)
    }

    /// The bytes of bodies that it got rid of.
    pub fn sent(&self) -> usize {
        self.seen.sent.load(Ordering::SeqCst)
    }
}

async fn talk(mut stream: TcpStream, seen: &Seen, says: impl Fn(&str) -> Says) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    seen.asked.lock().unwrap().push(path.to_owned());
    let whole = |status: &str, more: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
    };
    let answer = match says(path) {
        Says::Json(value) => whole("200 OK", "content-type: application/json\r\n", &value.to_string()),
        Says::Text(text) => whole("200 OK", "content-type: application/json\r\n", &text),
        Says::Status(status) => whole(status, "", ""),
        Says::Redirect(to) => whole("307 Temporary Redirect", &format!("location: {to}\r\n"), ""),
        Says::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n").await?;
            let more = vec![b' '; 64 * 1024];
            loop {
                seen.sent.fetch_add(stream.write(&more).await?, Ordering::SeqCst);
            }
        }
        Says::Nothing => {
            // Until the other side has had enough.
            while stream.read_buf(&mut Vec::new()).await? > 0 {}
            return Ok(());
        }
    };
    stream.write_all(answer.as_bytes()).await?;
    // The rest of the request, so that closing is no reset.
    stream.shutdown().await?;
    while stream.read_buf(&mut Vec::new()).await? > 0 {}
    Ok(())
}
