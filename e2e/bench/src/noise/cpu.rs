//! CPU time: what is spent on the platform and its clients, and as much for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tenantry_e2e::Platform;

use super::super::operator::cpu;
use super::Outcome;

/// For how long a thread spins or sleeps between two looks at its clock.
const TURN: Duration = Duration::from_micros(500);

/// CPU time of Postgres, the control plane and this process, which has the clients.
#[derive(Debug, Clone, Copy)]
pub struct Spent(Duration);

impl Spent {
    /// Until now.
    pub fn by(platform: &Platform<'_>) -> Outcome<Self> {
        let postgres = platform.stack().postgres()?.process().pid();
        // Each session is a process of its own; those that have ended are in the figure of their parent.
        let sessions = std::fs::read_to_string(format!("/proc/{postgres}/task/{postgres}/children"))?;
        let sessions = sessions.split_whitespace().filter_map(|pid| pid.parse().ok());
        // One that has ended since has none.
        let sessions: Duration = sessions.filter_map(|pid| cpu(pid).ok()).sum();
        let programs = [
            postgres,
            std::process::id(),
            platform.serve()?.process().pid(),
            platform.work()?.process().pid(),
        ];
        let programs: Vec<Duration> = programs.into_iter().map(cpu).collect::<Outcome<_>>()?;
        Ok(Self(sessions + programs.into_iter().sum::<Duration>()))
    }

    /// Without `other`.
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// In seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0.as_secs_f64()
    }
}

/// Threads that spin.
pub struct Burner {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Duration>>,
}

impl Burner {
    /// Burns as much as `cores` do that are always busy, by one thread for each core of the machine.
    pub fn start(cores: f64) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let part = (cores / threads as f64).min(1.0);
        let thread = |_| {
            let ended = Arc::clone(&ended);
            std::thread::spawn(move || burn(part, &ended))
        };
        Self { threads: (0..threads).map(thread).collect(), ended }
    }

    /// Ends; yields what all of them burnt.
    pub fn end(self) -> Duration {
        self.ended.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
    }
}

/// Has used `part` of the time that went by, at each moment, if it gets it.
#[allow(clippy::disallowed_methods, reason = "a thread of its own, which is there to be busy or not")]
fn burn(part: f64, ended: &AtomicBool) -> Duration {
    let began = Instant::now();
    let mut used = on_core();
    let before = used;
    while !ended.load(Ordering::Relaxed) {
        if (used - before).as_secs_f64() < part * began.elapsed().as_secs_f64() {
            let turn = Instant::now();
            while turn.elapsed() < TURN {
                std::hint::spin_loop();
            }
        } else {
            std::thread::sleep(TURN);
        }
        used = on_core();
    }
    used - before
}

/// CPU time of this thread.
fn on_core() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(
        stat.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default(),
    )
}
