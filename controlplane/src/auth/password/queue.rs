//! Waits for a turn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    price::Price,
    turns::{Bounds, Turns},
};

/// Where passwords wait for their turn. Whoever stops waiting leaves no work behind.
#[derive(Debug)]
pub(super) struct Queue(Mutex<Turns<oneshot::Sender<Turn>>>);

/// The right to work on one password, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    queue: Arc<Queue>,
    tenant: Uuid,
    price: Price,
}

impl Queue {
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Turns::new(bounds))))
    }

    /// Waits for a turn; nothing when too many wait.
    pub async fn turn(self: &Arc<Self>, tenant: Uuid, price: Price) -> Option<Turn> {
        let (who, turn) = oneshot::channel();
        self.turns().wait(tenant, price, who, oneshot::Sender::is_closed).ok()?;
        self.go_on();
        turn.await.ok()
    }

    /// Lets begin what can begin.
    fn go_on(self: &Arc<Self>) {
        loop {
            let next = self.turns().next(oneshot::Sender::is_closed);
            let Some((tenant, price, who)) = next else { return };
            // When nobody takes it, it is dropped here and ends as all turns do.
            let _taken = who.send(Turn { queue: Arc::clone(self), tenant, price });
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns<oneshot::Sender<Turn>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.turns().finish(self.tenant, self.price);
        self.queue.go_on();
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, poll};

    use super::*;

    const PRICE: Price = Price { micros: 1000, memory_kib: 1024 };

    #[tokio::test]
    async fn whoever_stops_waiting_leaves_no_work_behind() {
        let queue = Queue::new(Bounds { places: 1, memory_kib: 1024, waiting: 16, own: PRICE });
        let [ours, theirs] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let running = queue.turn(ours, PRICE).await.unwrap();
        let mut gone = Box::pin(queue.turn(ours, PRICE));
        let mut waiting = Box::pin(queue.turn(theirs, PRICE));
        assert!(poll!(gone.as_mut()).is_pending() && poll!(waiting.as_mut()).is_pending());
        drop(gone);
        drop(running);
        let turn = waiting.now_or_never().flatten();
        assert!(turn.is_some(), "the turn is at once that of the one who still waits");
    }
}
