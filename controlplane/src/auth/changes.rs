//! What became of users, API keys and sessions since tokens were issued.
//!
//! A token says what held when it was issued. A change of a user's roles, of an API key, or the end of a session leaves a row in
//! `tenantry.auth_change`, written by triggers; this is the memory of those rows for one Postgres instance.
//! So a request learns of a change without asking the database, and almost always there is none to learn of.
//!
//! - [`mod@follow`]: keeps it current

mod follow;
#[cfg(test)]
mod on_servers;

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::Deserialize;
use serde_json::{Map, Value};
use sqlx::PgPool;
use uuid::Uuid;

pub use follow::follow;

/// Whose change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    User(Uuid),
    ApiKey(Uuid),
    Session(Uuid),
}

impl Subject {
    fn parse(text: &str) -> Option<Self> {
        let (kind, id) = text.split_once(' ')?;
        let id = Uuid::try_parse(id).ok()?;
        match kind {
            "user" => Some(Self::User(id)),
            "api_key" => Some(Self::ApiKey(id)),
            "session" => Some(Self::Session(id)),
            _ => None,
        }
    }
}

/// What became of a subject.
#[derive(Debug)]
pub(super) struct Change {
    /// Greater with each change of the subject, whatever the versions of its documents: one that was deleted and made again
    /// begins anew with those.
    pub revision: i64,
    /// The version of its document.
    pub version: i64,
    /// What holds now; nothing when it is gone.
    pub state: Option<State>,
    /// Seconds since 1970.
    at: u64,
    /// Which of all that this process heard of it was.
    pub heard: u64,
}

/// What holds of a user now.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct State {
    #[serde(default, deserialize_with = "roles")]
    pub roles: Vec<String>,
    #[serde(default, deserialize_with = "truth")]
    pub enabled: bool,
    #[serde(default, deserialize_with = "object")]
    pub claims: Map<String, Value>,
}

type OfTenant = HashMap<Subject, Arc<Change>>;

#[derive(Debug, Default)]
struct Known {
    by_role: HashMap<String, OfTenant>,
    /// How many changes were heard of.
    heard: u64,
}

/// The changes of one Postgres instance, by the role of the tenant.
#[derive(Debug, Default)]
pub struct Changes {
    pool: Option<PgPool>,
    read: AtomicBool,
    known: RwLock<Known>,
}

impl Changes {
    /// Those of the Postgres instance of `pool`.
    pub fn of_instance(pool: PgPool) -> Self {
        Self { pool: Some(pool), ..Self::default() }
    }

    /// Learns what became of a tenant's users just now, without waiting for the next look: whoever changed one through this
    /// process finds it in effect with the next request.
    pub(super) async fn catch_up(&self, role: &str) {
        if let Some(pool) = &self.pool {
            follow::just_now(self, pool, role).await;
        }
    }

    /// Whether they were read once. Before that a token may rest on what holds no more.
    pub(super) fn is_read(&self) -> bool {
        self.read.load(Ordering::Acquire)
    }

    /// What became of `subject`, if anything did lately.
    pub(super) fn of(&self, role: &str, subject: Subject) -> Option<Arc<Change>> {
        self.read_known().by_role.get(role)?.get(&subject).cloned()
    }

    /// How many changes were heard of so far. What is read from the database now, no change up to here makes untrue.
    pub(super) fn heard(&self) -> u64 {
        self.read_known().heard
    }

    /// Takes changes in; an older one never replaces a newer.
    fn learn(&self, changes: impl IntoIterator<Item = (String, Subject, Change)>) {
        self.write_known().learn(changes);
    }

    /// Takes in what a server knows in place of all that was known: after a failover it may know less.
    fn know(&self, changes: impl IntoIterator<Item = (String, Subject, Change)>) {
        let mut known = self.write_known();
        known.by_role.clear();
        known.learn(changes);
        self.read.store(true, Ordering::Release);
    }

    /// Drops changes from before `since`: no token is that old.
    fn forget_before(&self, since: u64) {
        self.write_known().by_role.retain(|_, of_tenant| {
            of_tenant.retain(|_, change| change.at >= since);
            !of_tenant.is_empty()
        });
    }

    fn read_known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_known(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn learn(&mut self, changes: impl IntoIterator<Item = (String, Subject, Change)>) {
        for (role, subject, mut change) in changes {
            let of_tenant = self.by_role.entry(role).or_default();
            if of_tenant.get(&subject).is_none_or(|known| known.revision < change.revision) {
                self.heard += 1;
                change.heard = self.heard;
                of_tenant.insert(subject, Arc::new(change));
            }
        }
    }
}

// What people write into a Json field need not be what it should be; then it gives nothing.
fn roles<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Vec<String>, D::Error> {
    Ok(texts(&Value::deserialize(value)?))
}

/// The texts of a JSON array; none for anything else.
pub(super) fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn truth<'de, D: serde::Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    Ok(Value::deserialize(value)?.as_bool().unwrap_or(false))
}

fn object<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Map<String, Value>, D::Error> {
    Ok(match Value::deserialize(value)? {
        Value::Object(map) => map,
        _ => Map::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: i64, at: u64) -> Change {
        Change { revision, version: 1, state: None, at, heard: 0 }
    }

    #[test]
    fn the_newest_change_stays_until_no_token_can_be_older() {
        let changes = Changes::default();
        let user = Subject::User(Uuid::from_u128(1));
        changes.learn([("tenant_a".to_owned(), user, change(3, 100))]);
        changes.learn([("tenant_a".to_owned(), user, change(2, 90))]);
        assert_eq!(changes.of("tenant_a", user).unwrap().revision, 3);
        assert!(changes.of("tenant_b", user).is_none());
        assert!(changes.of("tenant_a", Subject::Session(Uuid::from_u128(1))).is_none());
        changes.forget_before(100);
        assert!(changes.of("tenant_a", user).is_some());
        changes.forget_before(101);
        assert!(changes.of("tenant_a", user).is_none());
        assert!(changes.known.read().unwrap().by_role.is_empty());
    }

    #[test]
    fn after_a_failover_the_new_server_has_the_last_word() {
        let changes = Changes::default();
        let of = |id| Subject::User(Uuid::from_u128(id));
        changes.learn([
            ("tenant_a".to_owned(), of(1), change(9, 100)),
            ("tenant_a".to_owned(), of(2), change(10, 100)),
        ]);
        let before = changes.heard();
        changes.know([("tenant_a".to_owned(), of(1), change(4, 90))]);
        assert_eq!(changes.of("tenant_a", of(1)).unwrap().revision, 4);
        assert!(changes.of("tenant_a", of(2)).is_none() && changes.is_read());
        assert!(changes.heard() > before, "whatever was read before is read again");
    }

    #[test]
    fn what_is_no_list_of_roles_gives_none() {
        let state: State =
            serde_json::from_str(r#"{"roles": "admin", "enabled": true, "claims": 7}"#).unwrap();
        assert!(state.roles.is_empty() && state.enabled && state.claims.is_empty());
        let state: State = serde_json::from_str(r#"{"roles": ["a:b", 7], "enabled": null}"#).unwrap();
        assert_eq!(state.roles, ["a:b"]);
        assert!(!state.enabled);
    }

    #[test]
    fn a_subject_is_a_kind_and_an_id() {
        let id = Uuid::from_u128(9);
        assert_eq!(Subject::parse(&format!("user {id}")), Some(Subject::User(id)));
        assert_eq!(Subject::parse(&format!("session {id}")), Some(Subject::Session(id)));
        for wrong in ["", "user", "user alice", &format!("card {id}")] {
            assert_eq!(Subject::parse(wrong), None);
        }
    }
}
