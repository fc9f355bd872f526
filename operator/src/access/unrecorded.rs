//! Takes credentials back without the registry: the manifest says which there were, and each Secret how far its rotation got.

use tenantry_crds::{
    names::{AccessLogin, AccessRole, SearchKeyUid, Slot},
    reason::Reason,
    v1alpha1::{AccessBackend, AccessSpec},
};

use super::{
    desired::{Credential, credentials},
    remove::Leave,
    store::{Found, Secrets},
};
use crate::{
    backend::{Placed, postgres::change::Identity},
    context::Context,
    error::Error,
};

/// Takes back the credentials of `specs` from everything but Postgres, which is gone. The roles that it keeps.
///
/// # Errors
/// The first failure that `leave` does not take.
pub async fn remove_unrecorded(
    ctx: &Context,
    placed: &Placed<'_>,
    tenant: &Identity,
    specs: &[AccessSpec],
    leave: &mut Leave<'_>,
) -> Result<Vec<String>, Error> {
    let secrets = Secrets { client: &ctx.client, namespaces: &ctx.settings.access.secret_namespaces, tenant };
    let mut kept = Vec::new();
    for Credential { key, secret, .. } in credentials(specs)? {
        let found = match secrets.read(&secret, &key).await {
            Err(error) if error.reason() == Reason::SecretConflict => None,
            found => found?,
        };
        ctx.leadership.check()?;
        let role = AccessRole::of(&tenant.name, &key.access);
        let logins = Slot::ALL.map(|slot| role.login(slot));
        let (names, closed) = match key.backend {
            AccessBackend::Postgres => {
                kept.push(format!("role {role}"));
                kept.extend(logins.iter().map(|login| format!("login {login}")));
                (Vec::new(), Ok(()))
            }
            AccessBackend::Redis => {
                let names = logins.iter().map(AccessLogin::to_string).collect();
                (names, placed.redis.remove_users(&logins).await)
            }
            AccessBackend::Search => {
                let newest = found.as_ref().and_then(Found::serial).unwrap_or(1);
                let serials = [newest - 1, newest].into_iter().filter(|serial| *serial > 0);
                let owner = tenant.uid.to_string();
                let keys: Vec<_> =
                    serials.map(|serial| SearchKeyUid::of(&owner, &key.access, serial)).collect();
                (keys.iter().map(SearchKeyUid::to_string).collect(), close_search(placed, &keys).await)
            }
        };
        if let Err(error) = closed {
            leave(key.backend, names, error)?;
        }
        if found.is_some() {
            secrets.remove(&secret, &key).await?;
        }
    }
    Ok(kept)
}

async fn close_search(placed: &Placed<'_>, keys: &[SearchKeyUid]) -> Result<(), Error> {
    for key in keys {
        placed.search()?.engine.remove_key(key).await?;
    }
    Ok(())
}
