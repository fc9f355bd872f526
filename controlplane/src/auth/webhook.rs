//! Signatures of requests to a tenant's webhook, as [Standard Webhooks](https://www.standardwebhooks.com) has them: an HMAC of the
//! message's id, the time and the body, under a secret that only the tenant is told.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use super::secret::{Purpose, SecretKey};

/// The headers of a request, by their names.
pub(super) struct Signed {
    id: String,
    timestamp: String,
    signature: String,
}

impl Signed {
    /// Signs a message. While the platform's key changes there are two signatures, and the receiver takes either.
    pub(super) fn new(secrets: &SecretKey, tenant: Uuid, id: Uuid, now: u64, body: &[u8]) -> Self {
        let (id, timestamp) = (id.to_string(), now.to_string());
        let signatures: Vec<String> = secrets
            .candidates(Purpose::Webhook, &[tenant.as_bytes()])
            .iter()
            // Keys of any length will do, so there is one for each secret.
            .filter_map(|secret| Hmac::<Sha256>::new_from_slice(secret).ok())
            .map(|mac| {
                let head = format!("{id}.{timestamp}.");
                let mac = mac.chain_update(head.as_bytes()).chain_update(body).finalize();
                format!("v1,{}", STANDARD.encode(mac.into_bytes()))
            })
            .collect();
        Self { id, timestamp, signature: signatures.join(" ") }
    }

    pub(super) fn headers(&self) -> [(&'static str, &str); 3] {
        [
            ("webhook-id", &self.id),
            ("webhook-timestamp", &self.timestamp),
            ("webhook-signature", &self.signature),
        ]
    }
}

/// The secret as the tenant's administrators are told it, and as libraries read it.
pub(super) fn secret(secrets: &SecretKey, tenant: Uuid) -> String {
    format!("whsec_{}", STANDARD.encode(secrets.derive(Purpose::Webhook, &[tenant.as_bytes()])))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName};
    use secrecy::SecretString;
    use standardwebhooks::Webhook;
    use tenantry_config::settings;

    use super::*;
    use crate::auth::token::unix_now;

    fn key(current: &str, previous: Option<&str>) -> SecretKey {
        let long = |text: &str| SecretString::from(text.repeat(32));
        let auth = settings::Auth { previous_key: previous.map(long), ..settings::Auth::default() };
        SecretKey::new(&auth, &long(current)).unwrap()
    }

    fn signed(by: &SecretKey, tenant: Uuid, body: &[u8]) -> HeaderMap {
        let signed = Signed::new(by, tenant, Uuid::from_u128(7), unix_now(), body);
        let headers = signed.headers();
        headers
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .into_iter()
            .collect()
    }

    #[test]
    fn a_receiver_verifies_with_the_secret_of_its_tenant_and_while_the_key_changes_with_either() {
        let (before, now) = (key("a", None), key("b", Some("a")));
        let (ours, theirs, body) = (Uuid::from_u128(1), Uuid::from_u128(2), b"{}");
        let headers = signed(&now, ours, body);
        let verifies = |secret: String| Webhook::new(&secret).unwrap().verify(body, &headers).is_ok();
        assert!(verifies(secret(&now, ours)) && verifies(secret(&before, ours)));
        assert!(!verifies(secret(&now, theirs)) && !verifies(secret(&key("c", None), ours)));
        let old = signed(&before, ours, body);
        assert!(Webhook::new(&secret(&now, ours)).unwrap().verify(body, &old).is_err());
    }
}
