//! A row of the journal, as it is hashed.

use sqlx::FromRow;

use super::canonical::{self, Entry};

/// The columns of [`AuditRow`].
macro_rules! columns {
    () => {
        "id, role::text AS role, actor, action, app, doc_type, doc_id, doc_version, request_id, client, \
         changes::text AS changes, (extract(epoch FROM occurred_at) * 1000000)::bigint AS occurred_micros"
    };
}
pub(super) use columns;

/// A row of the journal.
#[derive(Debug, FromRow)]
pub struct AuditRow {
    pub id: i64,
    /// The role of the tenant.
    pub role: String,
    actor: String,
    action: String,
    app: String,
    doc_type: String,
    doc_id: String,
    doc_version: i64,
    request_id: String,
    client: Option<String>,
    /// As it was written: the type `json` keeps each character.
    changes: Option<String>,
    occurred_micros: i64,
}

impl AuditRow {
    /// What a seal has of it.
    pub fn entry(&self) -> Entry {
        let number = |number: i64| number.to_string();
        let (id, version, occurred) =
            (number(self.id), number(self.doc_version), number(self.occurred_micros));
        let digest = canonical::row([
            ("id", Some(id.as_str())),
            ("role", Some(&self.role)),
            ("actor", Some(&self.actor)),
            ("action", Some(&self.action)),
            ("app", Some(&self.app)),
            ("doc_type", Some(&self.doc_type)),
            ("doc_id", Some(&self.doc_id)),
            ("doc_version", Some(&version)),
            ("request_id", Some(&self.request_id)),
            ("client", self.client.as_deref()),
            ("changes", self.changes.as_deref()),
            ("occurred_at", Some(&occurred)),
        ]);
        Entry { id: self.id, digest }
    }
}
