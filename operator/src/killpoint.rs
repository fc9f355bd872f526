//! Points before and after every side effect at which a test lets the process die. Every debug build has them, and a build
//! without debug assertions (every release) has nothing of them.
//!
//! `TENANTRY_KILL_POINT=NAME[:N]` ends the process by SIGKILL when it comes past `NAME` for the N-th time (the first by
//! default), or freezes it where `TENANTRY_KILL_SIGNAL=STOP` says so. `TENANTRY_KILL_TRACE=FILE` gets the name of every point
//! that is passed, one in a line: so a test knows which points a scenario meets, and how often.

/// `killpoint!("postgres.apply", effect)` is the effect, with the points `postgres.apply.before` and `postgres.apply.after`
/// around it. A name stands at one place only, and a side effect without one is not tested.
macro_rules! killpoint {
    ($name:literal, $effect:expr) => {{
        #[cfg(debug_assertions)]
        $crate::killpoint::pass(concat!($name, ".before"));
        let outcome = $effect;
        #[cfg(debug_assertions)]
        $crate::killpoint::pass(concat!($name, ".after"));
        outcome
    }};
}
pub(crate) use killpoint;

#[cfg(debug_assertions)]
pub use armed::pass;

#[cfg(debug_assertions)]
mod armed {
    use std::{
        fs::File,
        io::Write,
        sync::{
            LazyLock, Mutex, PoisonError,
            atomic::{AtomicU32, Ordering},
        },
        time::Duration,
    };

    use rustix::process::{Signal, getpid, kill_process};

    /// Far longer than a signal takes to stop all threads; it goes by while they are stopped.
    const TO_STOP: Duration = Duration::from_secs(2);

    struct Armed {
        point: Option<(String, u32)>,
        passed: AtomicU32,
        trace: Option<Mutex<File>>,
    }

    static ARMED: LazyLock<Armed> = LazyLock::new(|| {
        let point = std::env::var("TENANTRY_KILL_POINT").ok().map(|text| match text.split_once(':') {
            Some((name, number)) => (name.to_owned(), number.parse().unwrap_or(1)),
            None => (text, 1),
        });
        let trace = std::env::var_os("TENANTRY_KILL_TRACE")
            .and_then(|path| File::options().create(true).append(true).open(path).ok())
            .map(Mutex::new);
        Armed { point, passed: AtomicU32::new(0), trace }
    });

    /// Dies here, if this is where and when.
    pub fn pass(name: &str) {
        if let Some(trace) = &ARMED.trace {
            let mut trace = trace.lock().unwrap_or_else(PoisonError::into_inner);
            // A lost line makes the test fail, which says enough.
            let _ = trace.write_all(format!("{name}\n").as_bytes());
        }
        let Some((point, number)) = &ARMED.point else { return };
        if point == name && ARMED.passed.fetch_add(1, Ordering::SeqCst) + 1 == *number {
            if std::env::var("TENANTRY_KILL_SIGNAL").is_ok_and(|signal| signal == "STOP") {
                let _ = kill_process(getpid(), Signal::STOP);
                // The kernel may give the signal to another thread, and this one would go on before it is stopped, too.
                std::thread::park_timeout(TO_STOP);
                return;
            }
            let _ = kill_process(getpid(), Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}
