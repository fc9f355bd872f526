//! Logins in Postgres.

use secrecy::SecretString;
use sqlx::postgres::PgSslMode;
use tenantry_crds::{
    names::{AccessLogin, Slot},
    reason::Reason,
    v1alpha1::AccessLevel,
};
use tenantry_migrations::mark::AccessMark;

use super::{
    desired::Credential,
    secret::{self, Account, Address, Contents, Database},
    work::Work,
};
use crate::{
    backend::postgres::access::{
        AccessChange, AccessRecord, Group, Issued, RowKey, Verifier, login_in_place, role_in_place,
    },
    error::Error,
    killpoint::killpoint,
};

impl Work<'_> {
    pub(super) fn refuse_foreign_roles(&self, key: &RowKey) -> Result<(), Error> {
        let role = self.role(&key.access);
        let names = [role.to_string()].into_iter().chain(Slot::ALL.map(|slot| role.login(slot).to_string()));
        for name in names {
            if self.observed.roles.get(&name).is_some_and(|_| !self.is_our_role(key, &name)) {
                return Err(Error::blocked(
                    Reason::NameConflict,
                    format!(
                        "role {name}, which access {} needs, exists and is not this tenant's; drop or rename it",
                        key.access
                    ),
                ));
            }
        }
        Ok(())
    }

    fn is_our_role(&self, key: &RowKey, name: &str) -> bool {
        let (uid, tenant) = (self.tenant.uid, self.tenant.name.as_str());
        let mark = AccessMark { uid, tenant, access: key.access.as_str() }.to_string();
        self.observed.roles.get(name).is_some_and(|role| role.comment.as_deref() == Some(&mark))
    }

    pub(super) async fn open_postgres(
        &self,
        wanted: &Credential,
        row: &AccessRecord,
        password: &SecretString,
    ) -> Result<(), Error> {
        let Credential { key, level, .. } = wanted;
        let (role, level, access) = (self.role(&key.access), *level, key.access.clone());
        let active = Slot::of(row.serial);
        let mut changes = Vec::new();
        let (found, rights) =
            (self.observed.roles.get(role.as_str()), self.observed.rights.get(role.as_str()));
        if !role_in_place(self.tenant, level, found, rights) {
            let is_owner = |group: &Group| group.name == self.tenant.owner.as_str();
            changes.push(AccessChange::Role {
                role: role.clone(),
                access: access.clone(),
                level,
                exists: found.is_some(),
                owns: found.is_some_and(|role| role.groups.iter().any(is_owner)),
            });
        }
        for slot in Slot::ALL {
            let login = self.observed.roles.get(role.login(slot).as_str());
            let new = slot == active && (row.state != Issued::Applied || login.is_none());
            // The login before this one keeps its password, and is not made again: its password is nowhere.
            if new || (login.is_some() && !login_in_place(self.tenant, level, &role, login)) {
                changes.push(AccessChange::Login {
                    role: role.clone(),
                    slot,
                    access: access.clone(),
                    level,
                    exists: login.is_some(),
                    verifier: new.then(|| Verifier::of(password)),
                });
            }
        }
        let becomes_owner = |change: &AccessChange| {
            matches!(change, AccessChange::Role { level: AccessLevel::Owner, owns: false, .. })
        };
        if changes.iter().any(becomes_owner) {
            killpoint!("access.owner", self.placed.cell.shut_shared(self.shard, self.tenant).await)?;
        }
        let was_owner = |change: &AccessChange| matches!(change, AccessChange::Role { level, owns: true, .. } if *level != AccessLevel::Owner);
        if changes.iter().any(was_owner) {
            // A session that has become the owner stays so to its end, so all of them end, and none begins before the right is gone.
            let there = Slot::ALL.map(|slot| role.login(slot)).into_iter();
            let there = there.filter(|login| self.observed.roles.contains_key(login.as_str()));
            let there: Vec<AccessLogin> = there.collect();
            let refusals: Vec<_> = there.iter().cloned().map(AccessChange::Refuse).collect();
            killpoint!("access.lower", self.change(&refusals).await)?;
            changes.splice(0..0, there.into_iter().map(AccessChange::EndSessions));
        }
        self.change(&changes).await
    }

    /// In two transactions: after the first nobody comes in any more, so the second meets all who are.
    pub(super) async fn retire_postgres(&self, key: &RowKey, serial: i64) -> Result<(), Error> {
        let mut last = self.put_out(key, &[self.login(&key.access, serial)]).await?;
        last.push(AccessChange::Retired(key.clone()));
        self.change(&last).await
    }

    pub(super) async fn close_postgres(&self, key: &RowKey) -> Result<(), Error> {
        let role = self.role(&key.access);
        let mut last = self.put_out(key, &Slot::ALL.map(|slot| role.login(slot))).await?;
        if self.is_our_role(key, role.as_str()) {
            last.push(AccessChange::DropRole { role, schema: self.observed.schema });
        }
        self.change(&last).await
    }

    /// Refuses these logins; what makes an end of those that are ours.
    async fn put_out(&self, key: &RowKey, logins: &[AccessLogin]) -> Result<Vec<AccessChange>, Error> {
        let ours: Vec<&AccessLogin> =
            logins.iter().filter(|login| self.is_our_role(key, login.as_str())).collect();
        let refusals: Vec<_> = ours.iter().map(|login| AccessChange::Refuse((*login).clone())).collect();
        self.change(&refusals).await?;
        Ok(ours.into_iter().map(|login| AccessChange::DropLogin(login.clone())).collect())
    }

    pub(super) fn postgres_secret(&self, wanted: &Credential, account: &Account) -> Result<Contents, Error> {
        let dialler = self.placed.cell.dialler();
        let (host, port) = dialler.address();
        let own = Address { host: host.to_owned(), port };
        let role = match wanted.level {
            AccessLevel::Owner => self.tenant.owner.to_string(),
            AccessLevel::Read | AccessLevel::Write => self.role(&wanted.key.access).to_string(),
        };
        let database = Database {
            name: &self.observed.database,
            schema: self.tenant.schema.as_str(),
            role: &role,
            ssl_mode: ssl_mode(dialler.ssl_mode()),
        };
        Ok(secret::postgres(&own.public(self.public_addresses())?, account, &database))
    }
}

const fn ssl_mode(mode: PgSslMode) -> &'static str {
    match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    }
}
