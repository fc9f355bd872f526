//! Against a real server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tenantry_rig::{eventually, proxy::Mode};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Changes, Subject, follow};
use crate::{database::on_servers::wired, fixture::Fixture};

const LIMIT: Duration = Duration::from_secs(20);
/// A revocation acts within this.
const PROMISED: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_session_that_ends_is_known_within_a_second_though_the_connection_was_dropped_without_a_word() {
    let fixture = Fixture::new().await;
    let tenant = fixture.tenant("acme", &[]).await;
    let (wire, login) = wired(&fixture).await;
    let (changes, shutdown) = (Arc::new(Changes::default()), CancellationToken::new());
    let following = tokio::spawn(follow(Arc::clone(&changes), login, shutdown.clone()));
    eventually("all changes are read", LIMIT, || async { changes.is_read().then_some(()).ok_or("not yet") })
        .await
        .unwrap();
    let mut took = Vec::new();
    for _ in 0..3 {
        wire.set(Mode::Abandon);
        let session = Uuid::new_v4();
        let note =
            format!("SELECT tenantry.note_auth_change('{}', 'session {session}', 1, NULL)", tenant.role);
        fixture.admin(&note).await;
        let began = Instant::now();
        eventually("the session has ended", LIMIT, || async {
            changes.of(tenant.role.as_str(), Subject::Session(session)).map(drop).ok_or("not yet")
        })
        .await
        .unwrap();
        took.push(began.elapsed());
        wire.set(Mode::Pass);
    }
    // The others are for a machine that was busy with something else.
    assert!(took.iter().any(|took| *took < PROMISED), "{took:?}");
    shutdown.cancel();
    following.await.unwrap();
}
