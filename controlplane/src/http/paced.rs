//! A connection that ends when nobody reads from its other end.
//!
//! The answers that such a client does not take stay in memory, and hyper has no limit of time for writing.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

/// Bytes a second that a client has to take of a large answer, on the average. A byte now and then would hold it for ever.
const LEAST_RATE: u64 = 32 * 1024;

/// How long a client may take nothing, and how many took too long.
#[derive(Debug, Clone)]
pub struct Pace {
    patience: Duration,
    ended: Arc<AtomicU64>,
}

impl Pace {
    /// Ends connections whose client takes nothing for `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { patience, ended: Arc::default() }
    }

    /// Registers the metric.
    ///
    /// # Errors
    /// When it is registered already.
    pub fn register(&self, registry: &prometheus::Registry) -> prometheus::Result<()> {
        let ended = Arc::clone(&self.ended);
        registry.register(Box::new(prometheus::PullingGauge::new(
            "tenantry_http_slow_readers",
            "Connections since the start that were closed since their clients did not read",
            Box::new(move || ended.load(Ordering::Relaxed) as f64),
        )?))
    }

    /// How many took too long.
    #[cfg(test)]
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }
}

/// How the client takes what waits to be written: from the first byte that waits until nothing waits any more. Pure.
#[derive(Debug, Clone, Copy)]
struct Backlog {
    since: Instant,
    progress: Instant,
    taken: u64,
}

impl Backlog {
    const fn new(now: Instant) -> Self {
        Self { since: now, progress: now, taken: 0 }
    }

    fn took(&mut self, bytes: usize, now: Instant) {
        self.taken = self.taken.saturating_add(bytes as u64);
        self.progress = now;
    }

    /// When it ends the connection, unless the client takes more.
    fn deadline(&self, patience: Duration) -> Instant {
        let earned = Duration::from_millis(self.taken.saturating_mul(1000) / LEAST_RATE);
        (self.progress + patience).min(self.since + patience + earned)
    }
}

/// A connection that ends when its client does not read.
pub(super) struct Paced {
    stream: TcpStream,
    pace: Pace,
    backlog: Option<Backlog>,
    /// Made with the first backlog: most connections never have one.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub fn new(stream: TcpStream, pace: Pace) -> Self {
        Self { stream, pace, backlog: None, alarm: None }
    }

    /// What a write came to: progress, or waiting for as long as there is time.
    fn paced(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match (&written, &mut self.backlog) {
            (Poll::Ready(Ok(_)), None) | (Poll::Ready(Err(_)), _) => return written,
            (Poll::Ready(Ok(bytes)), Some(backlog)) => {
                let now = Instant::now();
                backlog.took(*bytes, now);
                if backlog.deadline(self.pace.patience) > now {
                    return written;
                }
            }
            (Poll::Pending, backlog) => {
                let backlog = backlog.get_or_insert_with(|| Backlog::new(Instant::now()));
                let deadline = backlog.deadline(self.pace.patience);
                let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
                if alarm.deadline() != deadline {
                    alarm.as_mut().reset(deadline);
                }
                if alarm.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
        }
        self.pace.ended.fetch_add(1, Ordering::Relaxed);
        // The system throws away what it holds for the client, too: it would keep offering it for minutes.
        if let Err(error) = self.stream.set_zero_linger() {
            tracing::debug!(%error, "SO_LINGER");
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.paced(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.paced(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when all that was to be written has been taken by the system.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.backlog = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    #[test]
    fn a_client_that_takes_nothing_has_its_time_and_no_more() {
        let start = Instant::now();
        let mut backlog = Backlog::new(start);
        assert_eq!(backlog.deadline(PATIENCE), start + PATIENCE);
        // What it took before does not let it be silent for longer.
        let later = start + Duration::from_secs(3);
        backlog.took(8 * 1024 * 1024, later);
        assert_eq!(backlog.deadline(PATIENCE), later + PATIENCE);
    }

    #[test]
    fn a_byte_a_second_does_not_hold_an_answer_and_a_slow_line_does() {
        let lasts = |bytes: usize| {
            let start = Instant::now();
            let (mut backlog, mut now) = (Backlog::new(start), start);
            while backlog.deadline(PATIENCE) > now && now < start + Duration::from_secs(3600) {
                now += Duration::from_secs(1);
                backlog.took(bytes, now);
            }
            now - start
        };
        assert!(lasts(1) <= Duration::from_secs(16));
        assert!(lasts(16 * 1024) <= Duration::from_secs(31), "half of the rate");
        assert_eq!(lasts(40 * 1024), Duration::from_secs(3600));
    }
}
