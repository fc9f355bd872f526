//! Makes the credentials that a manifest asks for, and takes back those that it does not ask for any more.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use secrecy::{ExposeSecret, SecretString};
use tenantry_crds::{
    conditions::ConditionType,
    labels::ROTATE_ANNOTATION,
    names::RedisKey,
    reason::Reason,
    v1alpha1::{AccessBackend, Tenant, TenantStatus},
};

use super::{
    desired::{Credential, credentials},
    password,
    plan::{self, Held, Password},
    secret::Account,
    status::{self, Standing},
    store::Found,
    work::{Work, claimed},
};
use crate::{
    backend::{
        Placed,
        postgres::{
            access::{AccessChange, AccessRecord, AccessRow, Issued},
            observe::Observed,
        },
    },
    context::Context,
    driver::Pass,
    error::Error,
    tenant::Desired,
};

/// Brings direct access to what the Tenant says, once its schema, streams and indexes are there. How long nothing is due
/// then; nothing when time alone changes nothing.
///
/// # Errors
/// The first failure; the other credentials were seen to all the same.
pub async fn converge(
    object: &Tenant,
    ctx: &Context,
    placed: &Placed<'_>,
    desired: &Desired,
    observed: &Observed,
    pass: &mut Pass<TenantStatus>,
) -> Result<Option<Duration>, Error> {
    let outcome = attempt(object, ctx, placed, desired, observed, pass).await;
    match outcome {
        Ok(quiet) => {
            status::report(pass, object.spec.access.len());
            Ok(quiet)
        }
        Err(error) => Err(pass.fails(ConditionType::AccessReady, error)),
    }
}

async fn attempt(
    object: &Tenant,
    ctx: &Context,
    placed: &Placed<'_>,
    desired: &Desired,
    observed: &Observed,
    pass: &mut Pass<TenantStatus>,
) -> Result<Option<Duration>, Error> {
    let wanted = credentials(&object.spec.access)?;
    if wanted.is_empty() && observed.accesses.is_empty() {
        pass.status.access.clear();
        return Ok(None);
    }
    let mut work = Work::look(ctx, placed, &desired.tenant, &wanted, &observed.accesses).await?;
    let tenant = &desired.tenant.name;
    let streams = desired.streams.iter();
    work.keys = streams.flat_map(|stream| RedisKey::all(tenant, &stream.app, &stream.queue)).collect();
    work.indexes = desired.searches.iter().map(|search| search.index.clone()).collect();

    let mut failure = work.remove_unwanted(&wanted, &mut |_, _, error| Err(error)).await.err();
    failure = failure.or(work.release_moved(&wanted).await.err());
    let rotate = object.annotations().get(ROTATE_ANNOTATION).map(String::as_str);
    let mut standing = Vec::new();
    for credential in &wanted {
        match work.bring(credential, rotate).await {
            Ok(row) => standing.push(Standing {
                credential,
                username: work.username(&credential.key, row.serial),
                row,
            }),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let now = &work.observed.now;
    let quiet = standing.iter().filter_map(|one| plan::quiet(one.credential, &one.row, now)).min();
    status::tell(&mut pass.status, &wanted, &standing);
    failure.map_or(Ok(quiet), Err)
}

impl Work<'_> {
    /// Rows whose Secret is to be another one give up theirs first, so that two accesses can swap.
    async fn release_moved(&self, wanted: &[Credential]) -> Result<(), Error> {
        for credential in wanted {
            let Some(old) = self.row(&credential.key).and_then(claimed) else { continue };
            if old != credential.secret {
                self.secrets.remove(&old, &credential.key).await?;
                self.change(&[AccessChange::Release(credential.key.clone())]).await?;
            }
        }
        Ok(())
    }

    /// Brings one credential to what it should be; its row then.
    async fn bring(&self, wanted: &Credential, rotate: Option<&str>) -> Result<AccessRecord, Error> {
        self.refuse_taken(wanted)?;
        self.refuse_foreign(wanted)?;
        let now = &self.observed.now;
        let found = self.secrets.read(&wanted.secret, &wanted.key).await?;
        let mut row = self.row(&wanted.key).cloned();
        if let Some(row) = row.as_mut().filter(|row| plan::previous_ends(wanted, row, now)) {
            self.retire(&wanted.key, row.serial).await?;
            row.previous_until = None;
        }
        let held = self.held(wanted, row.as_ref(), found.as_ref())?;
        let (row, password) = match plan::password(wanted, row.as_ref(), held.0, rotate, now) {
            Password::Keep => match (row, held.1) {
                (Some(row), Some(password)) => (row, password),
                // What is expected is there.
                _ => return Err(Error::Raced { doing: "reading a Secret" }),
            },
            Password::Make { serial, state, handled_rotate } => {
                let password = self.make_password(&wanted.key, serial)?;
                let made = self.issue(wanted, row, serial, state, handled_rotate, &password).await?;
                (made, password)
            }
        };
        // What a Secret says works from the moment that it says so.
        self.open(wanted, &row, &password).await?;
        self.hand_out(wanted, &row, &password, found.as_ref()).await?;
        if row.state == Issued::Applied && row.level == wanted.level {
            return Ok(row);
        }
        let (key, level, overlap) = (wanted.key.clone(), wanted.level, wanted.overlap.as_secs());
        self.change(&[AccessChange::Applied { key, level, at: now.clone(), overlap }]).await?;
        Ok(applied(row, wanted, now))
    }

    fn refuse_taken(&self, wanted: &Credential) -> Result<(), Error> {
        let secret = &wanted.secret;
        let taken = self
            .observed
            .taken
            .iter()
            .find(|taken| taken.namespace == secret.namespace && taken.name == secret.name);
        let Some(taken) = taken else { return Ok(()) };
        Err(Error::blocked(
            Reason::SecretConflict,
            format!(
                "spec.access[{}].secretRef: Secret {secret} belongs to access {} of tenant {}; name another",
                wanted.key.access, taken.access, taken.tenant
            ),
        ))
    }

    /// Whether the Secret has what the registry expects, and the password if so.
    fn held(
        &self,
        wanted: &Credential,
        row: Option<&AccessRecord>,
        found: Option<&Found>,
    ) -> Result<(Held, Option<SecretString>), Error> {
        let (Some(row), Some(found)) = (row, found) else { return Ok((Held::Nothing, None)) };
        let value = |key: &str| found.values.get(key);
        let user = value("username").map(ExposeSecret::expose_secret);
        let Some(password) = value("password") else { return Ok((Held::Nothing, None)) };
        // Under a new master key the engine has another key for the same uid.
        let derived = match wanted.key.backend {
            AccessBackend::Search => Some(password::digest(&self.make_password(&wanted.key, row.serial)?)),
            AccessBackend::Postgres | AccessBackend::Redis => None,
        };
        let expected = user == Some(self.username(&wanted.key, row.serial).as_str())
            && password::digest(password) == row.digest
            && derived.is_none_or(|derived| derived == row.digest);
        Ok(if expected { (Held::Expected, Some(password.clone())) } else { (Held::Nothing, None) })
    }

    /// Says in the registry which password is about to count.
    async fn issue(
        &self,
        wanted: &Credential,
        before: Option<AccessRecord>,
        serial: i64,
        state: Issued,
        handled_rotate: Option<String>,
        password: &SecretString,
    ) -> Result<AccessRecord, Error> {
        let secret = (wanted.secret.namespace.clone(), wanted.secret.name.clone());
        let digest = password::digest(password);
        let row = AccessRow {
            key: wanted.key.clone(),
            level: wanted.level,
            secret: secret.clone(),
            serial,
            digest: digest.clone(),
            state,
            handled_rotate: handled_rotate.clone(),
        };
        self.change(&[AccessChange::Issue(row)]).await?;
        let level = before.as_ref().map_or(wanted.level, |before| before.level);
        Ok(AccessRecord {
            access: wanted.key.access.to_string(),
            backend: wanted.key.backend,
            level,
            secret_namespace: Some(secret.0),
            secret_name: Some(secret.1),
            serial,
            digest,
            state,
            handled_rotate,
            rotated_at: self.observed.now.clone(),
            previous_until: before.and_then(|before| before.previous_until),
        })
    }

    async fn hand_out(
        &self,
        wanted: &Credential,
        row: &AccessRecord,
        password: &SecretString,
        found: Option<&Found>,
    ) -> Result<(), Error> {
        let replaced = row.state == Issued::New && row.serial > 1;
        let has_previous = replaced || row.previous_until.is_some();
        let account = Account {
            username: self.username(&wanted.key, row.serial),
            password: password.clone(),
            serial: row.serial,
            previous: has_previous.then(|| self.username(&wanted.key, row.serial - 1)),
        };
        self.ctx.leadership.check()?;
        self.secrets.write(&wanted.secret, &wanted.key, found, &self.contents(wanted, &account)?).await
    }
}

/// What the row says once the backend has the new password.
fn applied(row: AccessRecord, wanted: &Credential, now: &Time) -> AccessRecord {
    let starts_overlap = row.state == Issued::New && row.serial > 1;
    let rotated_at = if row.state == Issued::Applied { row.rotated_at } else { now.clone() };
    let previous_until =
        if starts_overlap { Some(plan::later(now, wanted.overlap)) } else { row.previous_until };
    AccessRecord { state: Issued::Applied, level: wanted.level, rotated_at, previous_until, ..row }
}
