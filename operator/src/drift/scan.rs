//! Round after round.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{repairs::Repairs, round::Rounds};
use crate::{context::Context, driver};

/// After a round in which a backend did not answer, while none has been complete.
const SOON: Duration = Duration::from_secs(5);

/// Looks for drift until `stop`: once right after the start, and then every `reconcile.driftScanSeconds`.
pub async fn scan(ctx: Arc<Context>, stop: CancellationToken) {
    let every = Duration::from_secs(ctx.settings.reconcile.drift_scan_seconds);
    if every.is_zero() {
        return;
    }
    ctx.stores.complete().await;
    for tenant in ctx.stores.tenants.state() {
        driver::rest(&*tenant, &ctx);
    }
    let repairs = Arc::new(Repairs::default());
    let rounds = rounds(ctx.clone(), repairs.clone(), every);
    tokio::select! {
        () = rounds => {}
        () = repairs.follow(&ctx, &stop) => {}
    }
}

async fn rounds(ctx: Arc<Context>, repairs: Arc<Repairs>, every: Duration) {
    let mut rounds = Rounds::new(ctx.clone(), repairs.clone());
    let mut caught_up = false;
    loop {
        let began = Instant::now();
        // The first look is a fast one; later ones are spread, so that they are no load that anyone could see.
        let spread = if caught_up { every / 2 } else { Duration::ZERO };
        let outcome = rounds.round(spread).await;
        ctx.metrics.drift.scanned(outcome.complete);
        tracing::debug!(
            complete = outcome.complete,
            tenants = outcome.looked_at,
            woken = outcome.woken,
            took = ?began.elapsed(),
            "looked for drift"
        );
        if outcome.complete && !caught_up {
            caught_up = true;
            repairs.scanned_once();
        }
        let pause = if caught_up { every.mul_f64(rand::random_range(0.9..1.1)) } else { SOON.min(every) };
        tokio::time::sleep(pause.saturating_sub(if caught_up { began.elapsed() } else { Duration::ZERO }))
            .await;
    }
}
