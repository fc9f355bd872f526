//! Keys of direct access: some actions, on one tenant's indexes.

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::Sha256;
use tenantry_crds::{
    names::{IndexUid, SearchKeyUid},
    v1alpha1::AccessLevel,
};

use super::Engine;
use crate::{
    error::{Error, SearchFault},
    killpoint::killpoint,
};

const READS: &[&str] = &["search", "documents.get", "indexes.get", "stats.get"];
const WRITES: &[&str] = &["documents.add", "documents.delete"];
const OWNS: &[&str] = &["settings.get", "tasks.get"];

/// What a key should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchKey {
    /// Its uid.
    pub uid: SearchKeyUid,
    /// What people read.
    pub name: String,
    /// The indexes that it is for. Never a pattern.
    pub indexes: Vec<IndexUid>,
    /// What it may do.
    pub level: AccessLevel,
}

impl SearchKey {
    fn actions(&self) -> Vec<&'static str> {
        let parts: &[&[&str]] = match self.level {
            AccessLevel::Read => &[READS],
            AccessLevel::Write => &[READS, WRITES],
            AccessLevel::Owner => &[READS, WRITES, OWNS],
        };
        parts.iter().copied().flatten().copied().collect()
    }

    fn indexes(&self) -> Vec<&str> {
        self.indexes.iter().map(IndexUid::as_str).collect()
    }

    /// Whether the engine has it so.
    fn is(&self, found: &Value) -> bool {
        let same = |key: &str, mut wanted: Vec<&str>| {
            let mut found: Vec<&str> =
                found[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            found.sort_unstable();
            wanted.sort_unstable();
            found == wanted
        };
        same("actions", self.actions()) && same("indexes", self.indexes()) && found["expiresAt"].is_null()
    }
}

impl Engine {
    /// The key with this uid, whether it exists or not: the engine derives it in the same way from its master key.
    pub fn key_of(&self, uid: &SearchKeyUid) -> SecretString {
        // HMAC takes a key of any length, so there is no error to report.
        let mac = Hmac::<Sha256>::new_from_slice(self.key.expose_secret().as_bytes())
            .map(|mac| mac.chain_update(uid.as_str().as_bytes()).finalize().into_bytes());
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        SecretString::from(mac.map(|bytes| hex(&bytes)).unwrap_or_default())
    }

    /// Where the engine is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes sure that the key is there and so. What a key may do cannot be changed, so one that is not so is
    /// made again: under the same uid it is the same key.
    ///
    /// # Errors
    /// When the engine does not answer, refuses, or derives another key than we do.
    pub async fn ensure_key(&self, key: &SearchKey) -> Result<(), Error> {
        let path = ["keys", key.uid.as_str()];
        let found = present(self.send("get_key", self.request(Method::GET, &path)).await)
            .map_err(Error::search("looking at a search key"))?;
        match found {
            Some(found) if key.is(&found) => return Ok(()),
            Some(_) => self.remove_key(&key.uid).await?,
            None => {}
        }
        let body = json!({
            "uid": key.uid.as_str(), "name": key.name, "expiresAt": null,
            "actions": key.actions(), "indexes": key.indexes(),
        });
        let request = self.request(Method::POST, &["keys"]).json(&body);
        let made = killpoint!("search.create_key", self.send("create_key", request).await)
            .map_err(Error::search("making a search key"))?;
        if made["key"].as_str() == Some(self.key_of(&key.uid).expose_secret()) {
            return Ok(());
        }
        let fault = <serde_json::Error as serde::de::Error>::custom(
            "the key is not the one that derives from its uid",
        );
        Err(Error::search("making a search key")(SearchFault::Unreadable(fault)))
    }

    /// Removes a key; one that is not there is fine.
    ///
    /// # Errors
    /// When the engine does not answer or refuses.
    pub async fn remove_key(&self, uid: &SearchKeyUid) -> Result<(), Error> {
        let request = self.request(Method::DELETE, &["keys", uid.as_str()]);
        present(killpoint!("search.delete_key", self.send("delete_key", request).await))
            .map(|_| ())
            .map_err(Error::search("removing a search key"))
    }
}

fn present(answer: Result<Value, SearchFault>) -> Result<Option<Value>, SearchFault> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(SearchFault::Refused { status: 404, code }) if code == "api_key_not_found" => Ok(None),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use tenantry_crds::names::{AccessName, AppName, DocTypeName, TenantName};

    use super::*;

    #[test]
    fn a_key_is_compared_without_order() {
        let index = |doc_type: &str| {
            let app = AppName::new("crm").unwrap();
            IndexUid::of(&TenantName::new("acme").unwrap(), &app, &DocTypeName::new(doc_type).unwrap())
        };
        let key = SearchKey {
            uid: SearchKeyUid::of("u", &AccessName::new("site").unwrap(), 1),
            name: String::new(),
            indexes: vec![index("customer"), index("order")],
            level: AccessLevel::Read,
        };
        let found = |indexes: Value, expires: Value| json!({"actions": ["stats.get", "search", "indexes.get", "documents.get"], "indexes": indexes, "expiresAt": expires});
        let both = || json!(["acme_crm_order", "acme_crm_customer"]);
        assert!(key.is(&found(both(), Value::Null)));
        assert!(!key.is(&found(json!(["*"]), Value::Null)));
        assert!(!key.is(&found(both(), json!("2030-01-01T00:00:00Z"))));
        let owner = SearchKey { level: AccessLevel::Owner, ..key };
        assert!(!owner.is(&found(both(), Value::Null)));
    }
}
