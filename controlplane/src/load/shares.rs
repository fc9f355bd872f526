//! What there is a bounded amount of, shared between tenants.
//!
//! A tenant may hold as much as is left free when it holds that: half of all when it is alone, and with each tenant that holds
//! much the others may hold less, but none can take everything (Choudhury and Hahne, "Dynamic queue length thresholds for
//! shared-memory packet switches", 1998). Nobody has to say how many tenants there are, and one alone is not held to the share
//! that it would have among many.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

/// A bounded amount of something.
#[derive(Debug)]
pub struct Shares {
    bounds: Bounds,
    book: Mutex<Book>,
    refused: AtomicU64,
}

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub limit: u64,
    /// Of shares up to this size a tenant may hold three times what is left free, so that its small requests go on for longer than
    /// its large ones.
    pub small: u64,
}

/// There is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// More is wanted than a tenant could ever get.
    Never,
    /// The tenant holds its share.
    Tenant,
    /// All of it is held.
    Everybody,
}

/// Who holds how much. Pure.
#[derive(Debug, Default)]
struct Book {
    held: u64,
    tenants: HashMap<Uuid, u64>,
}

impl Book {
    /// Whether `tenant`, or somebody of whom the tenant is not known yet, may take `more` on top of the `own` that this share has.
    fn fits(&self, bounds: Bounds, tenant: Option<Uuid>, own: u64, more: u64) -> Result<(), Full> {
        let wanted = own.saturating_add(more);
        if more == 0 {
            return Ok(());
        }
        if wanted > bounds.limit / 2 {
            return Err(Full::Never);
        }
        let free = bounds.limit.checked_sub(self.held.saturating_add(more)).ok_or(Full::Everybody)?;
        let Some(tenant) = tenant else { return Ok(()) };
        let holds = self.tenants.get(&tenant).copied().unwrap_or_default().saturating_add(more);
        let most = if wanted <= bounds.small { free.saturating_mul(3) } else { free };
        if holds <= most { Ok(()) } else { Err(Full::Tenant) }
    }

    fn take(&mut self, tenant: Option<Uuid>, more: u64) {
        self.held = self.held.saturating_add(more);
        if let Some(tenant) = tenant.filter(|_| more > 0) {
            *self.tenants.entry(tenant).or_default() += more;
        }
    }

    fn give_back(&mut self, tenant: Option<Uuid>, less: u64) {
        self.held = self.held.saturating_sub(less);
        let Some(tenant) = tenant else { return };
        if let Some(holds) = self.tenants.get_mut(&tenant) {
            *holds = holds.saturating_sub(less);
            if *holds == 0 {
                self.tenants.remove(&tenant);
            }
        }
    }
}

impl Shares {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, book: Mutex::default(), refused: AtomicU64::default() })
    }

    /// How much is held.
    pub fn held(&self) -> u64 {
        self.book().held
    }

    /// How often somebody was refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one holds of it, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Shares>,
    tenant: Option<Uuid>,
    amount: u64,
}

impl Share {
    /// Nothing of it, for somebody of whom the tenant is not known yet.
    pub fn none(of: &Arc<Shares>) -> Self {
        Self { of: Arc::clone(of), tenant: None, amount: 0 }
    }

    /// Counts what is held as `tenant`'s from now on.
    ///
    /// # Errors
    /// When that is more than the tenant may hold; it is counted as nobody's then.
    pub fn bind(&mut self, tenant: Uuid) -> Result<(), Full> {
        if self.tenant == Some(tenant) {
            return Ok(());
        }
        let mut book = self.of.book();
        book.give_back(self.tenant.take(), self.amount);
        let fits = book.fits(self.of.bounds, Some(tenant), 0, self.amount);
        self.tenant = fits.is_ok().then_some(tenant);
        book.take(self.tenant, self.amount);
        drop(book);
        self.counted(fits)
    }

    /// Takes `more`.
    ///
    /// # Errors
    /// When there is not enough for that; nothing is taken then.
    pub fn grow(&mut self, more: u64) -> Result<(), Full> {
        let mut book = self.of.book();
        let fits = book.fits(self.of.bounds, self.tenant, self.amount, more);
        if fits.is_ok() {
            book.take(self.tenant, more);
            self.amount = self.amount.saturating_add(more);
        }
        drop(book);
        self.counted(fits)
    }

    /// Takes `more` that is there already, enough or not.
    pub fn add(&mut self, more: u64) {
        self.of.book().take(self.tenant, more);
        self.amount = self.amount.saturating_add(more);
    }

    /// Gives back what is above `amount`.
    pub fn shrink_to(&mut self, amount: u64) {
        let less = self.amount.saturating_sub(amount);
        if less > 0 {
            self.of.book().give_back(self.tenant, less);
            self.amount = amount;
        }
    }

    /// How much it is.
    pub const fn amount(&self) -> u64 {
        self.amount
    }

    /// All of it, as a share of its own.
    pub fn take(&mut self) -> Self {
        Self { of: Arc::clone(&self.of), tenant: self.tenant, amount: std::mem::take(&mut self.amount) }
    }

    fn counted(&self, fits: Result<(), Full>) -> Result<(), Full> {
        if fits.is_err() {
            self.of.refused.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(limit: u64, small: u64) -> Arc<Shares> {
        Shares::new(Bounds { limit, small })
    }

    fn share(of: &Arc<Shares>, tenant: u128) -> Share {
        let mut share = Share::none(of);
        share.bind(Uuid::from_u128(tenant)).unwrap();
        share
    }

    /// Shares of `size` that `tenant` gets.
    fn most(of: &Arc<Shares>, tenant: u128, size: u64) -> Vec<Share> {
        std::iter::from_fn(|| {
            let mut share = share(of, tenant);
            share.grow(size).ok().map(|()| share)
        })
        .collect()
    }

    #[test]
    fn a_tenant_alone_gets_half_and_the_next_half_of_what_is_left() {
        let all = shares(800, 0);
        let kept = [most(&all, 1, 10), most(&all, 2, 10), most(&all, 3, 10)];
        assert_eq!(kept.each_ref().map(Vec::len), [40, 20, 10]);
        assert_eq!(share(&all, 1).grow(10), Err(Full::Tenant));
        drop(kept);
        assert_eq!((all.held(), all.book().tenants.len(), all.refused()), (0, 0, 4));
    }

    #[test]
    fn small_ones_go_on_when_large_ones_are_refused() {
        let all = shares(800, 1);
        let large = most(&all, 1, 10);
        let small = most(&all, 1, 1);
        assert_eq!((large.len(), small.len()), (40, 200));
        assert!(share(&all, 2).grow(66).is_ok(), "and there is something left for others");
    }

    #[test]
    fn what_could_never_be_had_is_told_from_what_may_be_had_later() {
        let all = shares(100, 0);
        assert_eq!(share(&all, 1).grow(51), Err(Full::Never));
        let mut one = share(&all, 1);
        one.grow(30).unwrap();
        assert_eq!(one.grow(21), Err(Full::Never), "together they are too much");
        let mut nobody = Share::none(&all);
        nobody.add(90);
        assert_eq!(share(&all, 2).grow(10), Err(Full::Everybody));
        one.shrink_to(10);
        assert_eq!((one.amount(), all.held()), (10, 100));
    }

    #[test]
    fn what_was_taken_before_the_tenant_was_known_is_the_tenant_s_afterwards() {
        let all = shares(100, 0);
        let mut bound: Vec<Share> = Vec::new();
        for n in 0..60 {
            let mut share = Share::none(&all);
            share.grow(1).unwrap();
            assert_eq!(share.bind(Uuid::from_u128(1)).is_ok(), n < 50, "{n}");
            bound.extend((n < 50).then_some(share));
        }
        let mut taken = bound.remove(0);
        let moved = taken.take();
        drop(taken);
        assert_eq!((moved.amount(), all.held()), (1, 50));
    }
}
