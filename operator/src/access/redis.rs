//! Users in Redis.

use secrecy::SecretString;
use tenantry_crds::names::{AccessLogin, RedisKey};

use super::{
    desired::Credential,
    password,
    secret::{self, Account, Address, Contents},
    work::Work,
};
use crate::{
    backend::{postgres::access::AccessRecord, redis::AclUser},
    error::Error,
};

impl Work<'_> {
    /// Redis forgets its users when it starts anew, so each pass looks.
    pub(super) async fn open_redis(
        &self,
        wanted: &Credential,
        row: &AccessRecord,
        password: &SecretString,
    ) -> Result<(), Error> {
        let Credential { key, level, .. } = wanted;
        let user = AclUser {
            name: self.login(&key.access, row.serial),
            digest: password::digest(password),
            keys: self.keys.clone(),
            level: *level,
        };
        self.ctx.leadership.check()?;
        self.placed.redis.ensure_user(&user).await
    }

    pub(super) async fn close_redis(&self, users: &[AccessLogin]) -> Result<(), Error> {
        self.ctx.leadership.check()?;
        self.placed.redis.remove_users(users).await
    }

    pub(super) fn redis_secret(&self, account: &Account) -> Result<Contents, Error> {
        let info = self.placed.redis.info();
        let (own, tls) = match info.addr() {
            ::redis::ConnectionAddr::Tcp(host, port) => (Address { host: host.clone(), port: *port }, false),
            ::redis::ConnectionAddr::TcpTls { host, port, .. } => {
                (Address { host: host.clone(), port: *port }, true)
            }
            other => return Err(Error::Invalid(format!("Redis at {other} is not reached from elsewhere"))),
        };
        let address = own.public(self.public_addresses())?;
        let (prefix, database) = (RedisKey::queues_of(&self.tenant.name), info.redis_settings().db());
        Ok(secret::redis(&address, account, database, tls, &prefix, RedisKey::GROUP))
    }
}
