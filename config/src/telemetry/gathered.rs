//! Lines that are written together: one `write` for many of them instead of one for each.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// How long a line waits at most.
const PATIENCE: Duration = Duration::from_millis(100);
/// Bytes that wait at most. Whoever brings more writes them: a slow reader slows requests down and costs no memory.
const ROOM: usize = 64 * 1024;

/// Where lines gather for standard error.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathered(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Vec<u8>>,
    some: Condvar,
}

impl Gathered {
    /// Begins to write what gathers, from a thread of its own that sleeps while there is nothing.
    #[allow(clippy::disallowed_methods, reason = "the thread is its own")]
    pub fn start() -> io::Result<Self> {
        let gathered = Self::default();
        let own = gathered.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            loop {
                own.wait();
                thread::sleep(PATIENCE);
                own.write_out();
            }
        })?;
        Ok(gathered)
    }

    /// Writes what has gathered.
    pub fn write_out(&self) {
        empty(&mut self.lines());
    }

    fn wait(&self) {
        let mut lines = self.lines();
        while lines.is_empty() {
            lines = self.0.some.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Gathered {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = self.lines();
        if lines.is_empty() {
            self.0.some.notify_one();
        }
        lines.extend_from_slice(line);
        if lines.len() >= ROOM {
            empty(&mut lines);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn empty(lines: &mut Vec<u8>) {
    // Nobody could be told that the log cannot be written.
    let _lost = io::stderr().write_all(lines);
    lines.clear();
}
