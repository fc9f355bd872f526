//! The keys of the queues.

use tenantry_crds::names::{AppName, QueueName, RedisKey};
use tenantry_migrations::registry::StreamBindingRecord;

use super::{super::converge, Deletion};
use crate::error::Error;

/// The keys of every queue that the registry knows, and of those that a pass may have made just before a crash.
pub(super) fn keys(deletion: Deletion<'_>, bindings: &[StreamBindingRecord]) -> Result<Vec<RedisKey>, Error> {
    let tenant = deletion.tenant;
    let mut keys = Vec::new();
    for binding in bindings {
        let (app, queue) = (AppName::new(&binding.app)?, QueueName::new(&binding.queue)?);
        keys.extend(RedisKey::all(&tenant.name, &app, &queue));
    }
    // A composition that cannot be resolved never made a stream that the registry does not know.
    if let Ok(desired) = converge::compose(deletion.live, deletion.ctx, tenant, &deletion.placed.placement) {
        let streams = desired.streams.iter();
        keys.extend(streams.flat_map(|stream| RedisKey::all(&tenant.name, &stream.app, &stream.queue)));
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}
