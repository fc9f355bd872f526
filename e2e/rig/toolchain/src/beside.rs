use std::panic::resume_unwind;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Runs both jobs at the same time. The first error is returned at once, and the other job goes on in the background for as
/// long as this process lives.
///
/// # Errors
/// That of the job that failed first.
///
/// # Panics
/// When a job panics.
pub fn beside<A, B, E>(
    first: impl FnOnce() -> Result<A, E> + Send + 'static,
    second: impl FnOnce() -> Result<B, E> + Send + 'static,
) -> Result<(A, B), E>
where
    A: Send + 'static,
    B: Send + 'static,
    E: Send + 'static,
{
    let (first, second) = (thread::spawn(first), thread::spawn(second));
    loop {
        if first.is_finished() {
            let first = outcome(first)?;
            return Ok((first, outcome(second)?));
        }
        if second.is_finished() {
            let second = outcome(second)?;
            return Ok((outcome(first)?, second));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn outcome<T, E>(job: JoinHandle<Result<T, E>>) -> Result<T, E> {
    job.join().unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn both_jobs_run_at_the_same_time() {
        let (to_second, from_first) = mpsc::channel();
        let (to_first, from_second) = mpsc::channel();
        let limit = Duration::from_secs(10);
        let first = move || {
            to_second.send(1).map_err(|_| "nobody listens")?;
            from_second.recv_timeout(limit).map_err(|_| "the second did not run")
        };
        let second = move || {
            to_first.send(2).map_err(|_| "nobody listens")?;
            from_first.recv_timeout(limit).map_err(|_| "the first did not run")
        };
        assert_eq!(beside(first, second), Ok((2, 1)));
    }

    #[test]
    fn an_error_does_not_wait_for_the_other_job() {
        let slow = || {
            thread::sleep(Duration::from_secs(60));
            Ok(())
        };
        let start = Instant::now();
        assert_eq!(beside(slow, || Err::<(), _>("broken")), Err("broken"));
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
