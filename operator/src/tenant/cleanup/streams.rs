//! The keys of the queues.

use std::collections::BTreeSet;

use tenantry_crds::{
    core_app,
    names::{AppName, QueueName, RedisKey},
};
use tenantry_migrations::registry::StreamBindingRecord;

use super::Deletion;
use crate::error::Error;

/// The keys of every queue that the registry knows, and of those that a pass may have made just before a crash: at any version,
/// as another one may be wanted by now.
pub(super) fn keys(deletion: Deletion<'_>, bindings: &[StreamBindingRecord]) -> Result<Vec<RedisKey>, Error> {
    let tenant = deletion.tenant;
    let mut queues = BTreeSet::new();
    for binding in bindings {
        queues.insert((AppName::new(&binding.app)?, QueueName::new(&binding.queue)?));
    }
    let listed = deletion.live.spec.apps.iter().filter_map(|app| AppName::new(&app.name).ok());
    for app in listed.chain([core_app::name()]) {
        for version in deletion.ctx.catalog.versions(&app) {
            queues.extend(version.definition.queues.iter().map(|queue| (app.clone(), queue.name.clone())));
        }
    }
    Ok(queues.iter().flat_map(|(app, queue)| RedisKey::all(&tenant.name, app, queue)).collect())
}
