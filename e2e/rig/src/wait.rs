//! Bounded polling: the rig and its tests never sleep for a fixed time, they wait for a condition.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::RigError;

/// Polls `probe` until it yields a value; gives up after `limit` with what the last probe said.
///
/// The pause between two probes grows from 5 ms to 100 ms, so a fast condition is seen fast and a slow one costs little.
pub async fn eventually<T, E, F, Fut>(what: &str, limit: Duration, mut probe: F) -> Result<T, RigError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Display,
{
    let start = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        let left = limit.saturating_sub(start.elapsed());
        let last = match tokio::time::timeout(left.max(Duration::from_millis(1)), probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(reason)) => reason.to_string(),
            Err(_) => "the probe did not answer".to_owned(),
        };
        if start.elapsed() + pause >= limit {
            return Err(RigError::Timeout { what: what.to_owned(), waited: limit, last });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn yields_the_value_as_soon_as_the_probe_has_one() {
        let mut calls = 0;
        let value = eventually("third call", Duration::from_secs(5), || {
            calls += 1;
            let calls = calls;
            async move { if calls == 3 { Ok(calls) } else { Err("not yet") } }
        })
        .await
        .unwrap();
        assert_eq!(value, 3);
    }

    #[tokio::test]
    async fn gives_up_and_says_what_it_saw_last() {
        let error =
            eventually("the impossible", Duration::from_millis(30), async || Err::<(), _>("still not"))
                .await
                .unwrap_err();
        assert!(matches!(&error, RigError::Timeout { last, .. } if last == "still not"), "{error}");
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_bounded_too() {
        let error = eventually("hang", Duration::from_millis(30), std::future::pending::<Result<(), String>>)
            .await
            .unwrap_err();
        assert!(matches!(error, RigError::Timeout { .. }), "{error}");
    }
}
