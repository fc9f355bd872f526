//! Logs, on standard error.

mod gathered;

use std::io::{self, IsTerminal, Stderr};

use tracing::Metadata;
use tracing_subscriber::{
    EnvFilter,
    filter::ParseError,
    fmt::{
        self,
        writer::{EitherWriter, MakeWriter},
    },
};

use self::gathered::Gathered;
use crate::settings::{Log, LogFormat};

/// The target of the line that tells of a request. Such lines wait for each other, 0.1 s at most, and are written together; all
/// others are written at once, so what a process says before it dies is there.
pub const ACCESS: &str = "access";

/// Logs cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum NoLog {
    /// The filter cannot be read.
    #[error("log.filter cannot be read")]
    Filter(#[from] ParseError),
    /// The thread that writes cannot be started.
    #[error("starting the log's thread")]
    Thread(#[from] io::Error),
}

/// Logs are written as long as this is kept; then what waits is.
#[derive(Debug)]
#[must_use = "what waits is written when this is dropped"]
pub struct Logging(Gathered);

impl Drop for Logging {
    fn drop(&mut self) {
        self.0.write_out();
    }
}

/// Starts logging. Call once, first of all.
///
/// # Errors
/// When the filter cannot be read, or the thread that writes cannot be started.
pub fn start(log: &Log) -> Result<Logging, NoLog> {
    let filter = EnvFilter::try_new(&log.filter)?;
    let gathered = Gathered::start()?;
    let events = fmt::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(Output(gathered.clone()));
    // A second start in one process (tests) keeps the first.
    let _kept = match log.format {
        // Without the list of spans: there is one, and each would be read again from its JSON for every line.
        LogFormat::Json => {
            events.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
        LogFormat::Text => events.compact().try_init(),
    };
    Ok(Logging(gathered))
}

struct Output(Gathered);

impl<'a> MakeWriter<'a> for Output {
    type Writer = EitherWriter<Gathered, Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        EitherWriter::B(io::stderr())
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self::Writer {
        if event.target() == ACCESS { EitherWriter::A(self.0.clone()) } else { self.make_writer() }
    }
}
