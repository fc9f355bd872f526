//! Logs, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

use crate::settings::{Log, LogFormat};

/// A log filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("log.filter cannot be read")]
pub struct InvalidFilter(#[from] ParseError);

/// Starts logging. Call once, first of all.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(log: &Log) -> Result<(), InvalidFilter> {
    let events = fmt()
        .with_env_filter(EnvFilter::try_new(&log.filter)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first.
    let _kept = match log.format {
        // Without the list of spans: there is one, and each would be read again from its JSON for every line.
        LogFormat::Json => {
            events.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
        LogFormat::Text => events.compact().try_init(),
    };
    Ok(())
}
