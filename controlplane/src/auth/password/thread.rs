//! Threads for passwords, which leave the processor to whoever answers requests.

use std::{io, thread};

use tokio::sync::oneshot;

/// How far such a thread stands back behind others of its container when there is not enough time for all (`nice`). One that is
/// always busy and stands back by nothing takes as much as all threads that answer requests together: they sleep in between.
const NICE: i32 = 10;

/// Does `work` in a thread of its own. Its result is missing when it panicked.
///
/// The runtime's own threads do not do for it: a thread that has stood back cannot come to the front again without a privilege.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (reply, result) = oneshot::channel();
    thread::Builder::new().name("password".to_owned()).spawn(move || {
        // Of this thread alone on Linux. Where it is refused, it is no nicer than the others.
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::debug!(%error, "a thread for passwords does not stand back");
        }
        // Nobody may wait any more.
        drop(reply.send(work()));
    })?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[tokio::test]
    async fn a_thread_for_passwords_stands_back_and_the_others_do_not() {
        let priority = || getpriority_process(None).unwrap();
        let before = priority();
        assert_eq!(spawn(priority).unwrap().await.unwrap(), before + NICE);
        assert_eq!(priority(), before);
    }

    #[tokio::test]
    async fn work_that_panics_has_no_result() {
        let result = spawn(|| panic!("as it is meant to")).unwrap();
        assert!(result.await.is_err());
    }
}
