//! What the noisy tenant does, all at once.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use tenantry_e2e::Platform;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::Outcome;
use super::others::sign_in;
use super::tenant::{NAME, NOTES, Noisy, email};

/// What a page says of it.
pub const METHOD: &str = "the noisy tenant has four texts of 900 KB, four of 200 KB, 24 with 450,000 quotation marks each, and 64 users whose stored \
     hashes are the costliest that are accepted. 32 times at once it asks for the largest texts that have one of 50 words \
     (`or=(body.wfts(english).zz0,..)`, an analysis of the text for each word), four times for those of 200 KB that match \
     `(?=a*b)(?=a*c)a*d`, and again as soon as it is answered; 12 connections ask for 20 texts of quotation marks, an answer of 18 MB, \
     and read nothing; 50 people, each from an address of its own, sign in with wrong passwords, and again.";

/// A kind of noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
    /// Queries that take as long as they may.
    Queries,
    /// Regular expressions that look ahead.
    Expressions,
    /// Answers that nobody reads.
    Unread,
    /// Sign-ins with costly hashes.
    SignIns,
}

const KINDS: [(Kind, &str, usize); 4] = [
    (Kind::Queries, "queries of five seconds", 32),
    (Kind::Expressions, "expressions that look ahead", 4),
    (Kind::Unread, "connections that read nothing", 12),
    (Kind::SignIns, "sign-ins", 50),
];

/// How often each kind was answered, and how.
pub type Answers = BTreeMap<&'static str, BTreeMap<String, u64>>;

/// Noise that goes on.
pub struct Attack {
    tasks: JoinSet<()>,
    answers: Arc<Mutex<Answers>>,
}

impl Attack {
    /// Starts all kinds, or `only` these.
    pub fn start(platform: &Platform<'_>, noisy: &Noisy, only: &[Kind]) -> Outcome<Self> {
        let (url, token) = (platform.url()?, &noisy.token);
        let address: SocketAddr = url.trim_start_matches("http://").parse()?;
        let words: Vec<String> = (0..50).map(|n| format!("body.wfts(english).zz{n}")).collect();
        let queries = format!("{url}{NOTES}?title=eq.words&or=({})", words.join(","));
        // `(?=a*b)(?=a*c)a*d`
        let expressions =
            format!("{url}{NOTES}?title=eq.letters&body=match.%28%3F%3Da*b%29%28%3F%3Da*c%29a*d");
        let mut attack = Self { tasks: JoinSet::new(), answers: Arc::default() };
        for (kind, name, count) in KINDS {
            if !only.is_empty() && !only.contains(&kind) {
                continue;
            }
            for n in 0..count {
                let answers = Arc::clone(&attack.answers);
                let note = move |answer: String| {
                    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                    *answers.entry(name).or_default().entry(answer).or_default() += 1;
                };
                match kind {
                    Kind::Queries => {
                        let request = client(0)?.get(&queries).bearer_auth(token);
                        attack.tasks.spawn(again(note, move |_| request.try_clone()));
                    }
                    Kind::Expressions => {
                        let request = client(0)?.get(&expressions).bearer_auth(token);
                        attack.tasks.spawn(again(note, move |_| request.try_clone()));
                    }
                    Kind::Unread => {
                        let head = format!(
                            "GET {NOTES}?title=eq.marks HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n"
                        );
                        attack.tasks.spawn(async move {
                            loop {
                                note(unread(address, &head).await);
                            }
                        });
                    }
                    Kind::SignIns => {
                        let (client, url) = (client(n + 1)?, url.to_owned());
                        let next = move |round: usize| {
                            let sign_in = sign_in(NAME, &email(n + round), "wrong, and as long as it takes");
                            let request = client.request(Method::POST, format!("{url}{}", sign_in.path));
                            let request =
                                request.header("X-Tenant", NAME).header("Content-Type", "application/json");
                            Some(request.body(sign_in.body))
                        };
                        attack.tasks.spawn(again(note, next));
                    }
                }
            }
        }
        Ok(attack)
    }

    /// Ends all of it.
    pub fn end(self) -> Answers {
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A client with the `n`-th address of this machine: failed sign-ins are counted by address.
fn client(n: usize) -> Outcome<reqwest::Client> {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 1, u8::try_from(n)?));
    Ok(reqwest::Client::builder().timeout(Duration::from_secs(20)).local_address(address).build()?)
}

/// One request after the other.
async fn again(note: impl Fn(String), next: impl Fn(usize) -> Option<reqwest::RequestBuilder>) {
    let mut round = 0;
    while let Some(request) = next(round) {
        let answer = async {
            let response = request.send().await?;
            let status = response.status();
            response.bytes().await.map(|_| status)
        };
        note(answer.await.map_or_else(|_| "none".to_owned(), |status| status.as_u16().to_string()));
        round += 1;
    }
}

/// Asks, reads nothing, and yields what became of the connection.
async fn unread(address: SocketAddr, head: &str) -> String {
    let asked = async {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(2048)?;
        let mut stream = socket.connect(address).await?;
        stream.write_all(head.as_bytes()).await?;
        Ok::<TcpStream, std::io::Error>(stream)
    };
    match asked.await {
        Ok(stream) => {
            while matches!(stream.take_error(), Ok(None)) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            "reset".to_owned()
        }
        Err(_) => "refused".to_owned(),
    }
}
