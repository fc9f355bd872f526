//! What a pass over direct access works with, and the way to each backend.

use secrecy::SecretString;
use tenantry_crds::{
    names::{AccessLogin, AccessName, AccessRole, IndexUid, RedisKey, SearchKeyUid, Slot},
    v1alpha1::AccessBackend,
};
use tenantry_migrations::logins::LoginShard;

use super::{
    desired::{Credential, SecretName},
    secret::{Account, Contents},
    store::Secrets,
};
use crate::{
    backend::{
        Placed,
        postgres::{
            access::{self, AccessChange, AccessRecord, ObservedAccess, RowKey},
            change::Identity,
            migrator::new_password,
        },
    },
    context::Context,
    error::Error,
};

/// What a pass over direct access works with.
pub struct Work<'a> {
    pub(super) ctx: &'a Context,
    pub(super) placed: &'a Placed<'a>,
    pub(super) tenant: &'a Identity,
    pub(super) shard: LoginShard,
    pub(super) secrets: Secrets<'a>,
    pub(super) observed: ObservedAccess,
    /// The tenant's keys in Redis.
    pub(super) keys: Vec<RedisKey>,
    /// The tenant's search indexes.
    pub(super) indexes: Vec<IndexUid>,
}

impl<'a> Work<'a> {
    /// Looks at what is there. `wanted` are the credentials that are to be, `known` the accesses that have rows.
    pub(super) async fn look(
        ctx: &'a Context,
        placed: &'a Placed<'a>,
        tenant: &'a Identity,
        wanted: &[Credential],
        known: &[String],
    ) -> Result<Self, Error> {
        let mut accesses: Vec<AccessName> =
            wanted.iter().map(|credential| credential.key.access.clone()).collect();
        for access in known {
            accesses.push(AccessName::new(access)?);
        }
        accesses.sort_unstable();
        accesses.dedup();
        let roles: Vec<AccessRole> =
            accesses.iter().map(|access| AccessRole::of(&tenant.name, access)).collect();
        let secrets: Vec<(String, String)> = wanted
            .iter()
            .map(|Credential { secret, .. }| (secret.namespace.clone(), secret.name.clone()))
            .collect();
        let observed = access::look(placed.cell.database(), tenant, &roles, &secrets).await?;
        let Some(shard) = observed.administrators.iter().find_map(|name| LoginShard::of_provisioner(name))
        else {
            // Another pass is ahead of this one, or the owner role was just dropped.
            return Err(Error::Raced { doing: "looking at direct access" });
        };
        let secrets =
            Secrets { client: &ctx.client, namespaces: &ctx.settings.access.secret_namespaces, tenant };
        Ok(Self { ctx, placed, tenant, shard, secrets, observed, keys: Vec::new(), indexes: Vec::new() })
    }

    /// Makes changes in Postgres.
    pub(super) async fn change(&self, changes: &[AccessChange]) -> Result<(), Error> {
        let shard = self.placed.cell.shard_of(self.tenant.uid, Some(self.shard)).await?;
        self.placed.cell.change_access(shard, self.tenant, changes).await
    }

    /// Where others reach what we reach elsewhere.
    pub(super) fn public_addresses(&self) -> &[String] {
        &self.ctx.settings.access.public_addresses
    }

    /// The registry's row.
    pub(super) fn row(&self, key: &RowKey) -> Option<&AccessRecord> {
        self.observed.rows.iter().find(|row| row.access == key.access.as_str() && row.backend == key.backend)
    }

    /// The role of an access.
    pub(super) fn role(&self, access: &AccessName) -> AccessRole {
        AccessRole::of(&self.tenant.name, access)
    }

    /// The login of these credentials in Postgres and Redis.
    pub(super) fn login(&self, access: &AccessName, serial: i64) -> AccessLogin {
        self.role(access).login(Slot::of(serial))
    }

    /// The uid of these credentials in the search engine.
    pub(super) fn key_uid(&self, access: &AccessName, serial: i64) -> SearchKeyUid {
        SearchKeyUid::of(&self.tenant.uid.to_string(), access, serial)
    }

    /// The user of these credentials.
    pub(super) fn username(&self, key: &RowKey, serial: i64) -> String {
        match key.backend {
            AccessBackend::Postgres | AccessBackend::Redis => self.login(&key.access, serial).to_string(),
            AccessBackend::Search => self.key_uid(&key.access, serial).to_string(),
        }
    }

    /// A password for these credentials: random, but for the search engine, which makes its keys itself.
    pub(super) fn make_password(&self, key: &RowKey, serial: i64) -> Result<SecretString, Error> {
        match key.backend {
            AccessBackend::Postgres | AccessBackend::Redis => Ok(new_password()),
            AccessBackend::Search => {
                Ok(self.placed.search()?.engine.key_of(&self.key_uid(&key.access, serial)))
            }
        }
    }

    /// Refuses what bears the name of something of ours and is not ours, before anything is made.
    pub(super) fn refuse_foreign(&self, wanted: &Credential) -> Result<(), Error> {
        match wanted.key.backend {
            AccessBackend::Postgres => self.refuse_foreign_roles(&wanted.key),
            // Redis and the search engine take no mark. A name that derives from ours is nobody else's.
            AccessBackend::Redis | AccessBackend::Search => Ok(()),
        }
    }

    /// Opens the backend to the credentials of `row`, whose password is this. Changes nothing where it is open.
    pub(super) async fn open(
        &self,
        wanted: &Credential,
        row: &AccessRecord,
        password: &SecretString,
    ) -> Result<(), Error> {
        match wanted.key.backend {
            AccessBackend::Postgres => self.open_postgres(wanted, row, password).await,
            AccessBackend::Redis => self.open_redis(wanted, row, password).await,
            AccessBackend::Search => self.open_search(wanted, row).await,
        }
    }

    /// Closes the backend to the credentials before those of `row`.
    pub(super) async fn retire(&self, key: &RowKey, serial: i64) -> Result<(), Error> {
        match key.backend {
            AccessBackend::Postgres => self.retire_postgres(key, serial - 1).await,
            AccessBackend::Redis => {
                self.close_redis(&[self.login(&key.access, serial - 1)]).await?;
                self.change(&[AccessChange::Retired(key.clone())]).await
            }
            AccessBackend::Search => {
                self.close_search(&[self.key_uid(&key.access, serial - 1)]).await?;
                self.change(&[AccessChange::Retired(key.clone())]).await
            }
        }
    }

    /// Closes the backend to all credentials of `row`.
    pub(super) async fn close(&self, key: &RowKey, serial: i64) -> Result<(), Error> {
        match key.backend {
            AccessBackend::Postgres => self.close_postgres(key).await,
            AccessBackend::Redis => {
                self.close_redis(&Slot::ALL.map(|slot| self.role(&key.access).login(slot))).await
            }
            AccessBackend::Search => {
                let serials = [serial - 1, serial].into_iter().filter(|serial| *serial > 0);
                let keys: Vec<_> = serials.map(|serial| self.key_uid(&key.access, serial)).collect();
                self.close_search(&keys).await
            }
        }
    }

    /// What is to be in the Secret.
    pub(super) fn contents(&self, wanted: &Credential, account: &Account) -> Result<Contents, Error> {
        match wanted.key.backend {
            AccessBackend::Postgres => self.postgres_secret(wanted, account),
            AccessBackend::Redis => self.redis_secret(account),
            AccessBackend::Search => self.search_secret(account),
        }
    }
}

/// The Secret that a row claims.
pub(super) fn claimed(row: &AccessRecord) -> Option<SecretName> {
    Some(SecretName { namespace: row.secret_namespace.clone()?, name: row.secret_name.clone()? })
}
