//! What is under which key. Without tenant labels: their number has no bound.

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use tenantry_crds::names::InstanceName;

use super::ByKey;

/// How secrets in the clear are called among those under keys, and those under keys that the ring does not hold. No key has such a name.
const CLEAR: &str = "(clear)";
const UNKNOWN: &str = "(unknown)";

fn label(key: Option<&str>) -> &str {
    match key {
        None => CLEAR,
        Some("") => UNKNOWN,
        Some(key) => key,
    }
}

/// Secrets by their keys.
#[derive(Debug, Clone)]
pub(in crate::worker) struct ResealMetrics {
    sealed: IntGaugeVec,
    unreadable: IntGaugeVec,
    unseen: IntGaugeVec,
}

/// The same of one Postgres instance.
#[derive(Debug)]
pub(in crate::worker) struct CellMetrics {
    cell: InstanceName,
    sealed: IntGaugeVec,
    unreadable: IntGauge,
    unseen: IntGauge,
    shown: std::sync::Mutex<ByKey>,
}

impl ResealMetrics {
    pub(in crate::worker) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let sealed = Opts::new("tenantry_secrets", "Secrets at rest by the key that they are sealed under");
        let sealed = IntGaugeVec::new(sealed, &["instance", "key"])?;
        let unreadable =
            Opts::new("tenantry_secrets_unreadable", "Secrets at rest that no key of the keyring opens");
        let unreadable = IntGaugeVec::new(unreadable, &["instance"])?;
        let unseen = Opts::new(
            "tenantry_secrets_unseen",
            "Tenants and document types whose secrets are not counted, since nobody could look at them",
        );
        let unseen = IntGaugeVec::new(unseen, &["instance"])?;
        registry.register(Box::new(sealed.clone()))?;
        registry.register(Box::new(unreadable.clone()))?;
        registry.register(Box::new(unseen.clone()))?;
        Ok(Self { sealed, unreadable, unseen })
    }

    /// Those of `cell`.
    pub(in crate::worker) fn of(&self, cell: &InstanceName) -> CellMetrics {
        CellMetrics {
            cell: cell.clone(),
            sealed: self.sealed.clone(),
            unreadable: self.unreadable.with_label_values(&[cell.as_str()]),
            unseen: self.unseen.with_label_values(&[cell.as_str()]),
            shown: std::sync::Mutex::default(),
        }
    }
}

impl CellMetrics {
    /// Shows the sum of `counts`, and how much is not in it. A key that nothing is under any more is shown with 0: it may go.
    pub(super) fn show<'a>(&self, counts: impl Iterator<Item = (&'a ByKey, u64)>, unseen: usize) {
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shown.values_mut().for_each(|count| *count = 0);
        let mut unreadable = 0;
        for (by_key, of_these) in counts {
            unreadable += of_these;
            for (key, count) in by_key {
                *shown.entry(key.clone()).or_default() += count;
            }
        }
        for (key, count) in shown.iter() {
            self.sealed
                .with_label_values(&[self.cell.as_str(), label(key.as_deref())])
                .set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        self.unreadable.set(i64::try_from(unreadable).unwrap_or(i64::MAX));
        self.unseen.set(i64::try_from(unseen).unwrap_or(i64::MAX));
    }

    /// Who does not look any more, knows nothing.
    pub(super) fn forget(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for key in std::mem::take(&mut *shown).into_keys() {
            // One that is not there is gone as well.
            let _ = self.sealed.remove_label_values(&[self.cell.as_str(), label(key.as_deref())]);
        }
        self.unreadable.set(0);
        self.unseen.set(0);
    }
}
