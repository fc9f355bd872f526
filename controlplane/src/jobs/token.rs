//! The lease token: what proves that a caller holds a lease.
//!
//! It names one delivery of one entry. Redis counts the deliveries of an entry, so a lease that ran out and was given to
//! somebody else has a token that no longer fits: the fence needs no more than the count.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tenantry_crds::names::RedisKey;

/// One delivery of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The entry of the stream.
    pub entry: String,
    /// How often the entry was delivered, this one included.
    pub deliveries: u32,
    /// Which attempt of the job it is, from 1.
    pub attempt: u32,
}

/// Signs lease tokens. Every replica has the same key, so any of them takes what another gave.
#[derive(Clone)]
pub struct LeaseTokens(Hmac<Sha256>);

impl LeaseTokens {
    /// Tokens under a key that derives from `secret`.
    pub fn derive(secret: &SecretString) -> Option<Self> {
        // HMAC takes a key of any length, so there is always one.
        let key = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
        let key = key.chain_update(b"tenantry lease tokens").finalize().into_bytes();
        Some(Self(Hmac::new_from_slice(&key).ok()?))
    }

    /// The token of a delivery from `stream`.
    pub fn seal(&self, stream: &RedisKey, delivery: &Delivery) -> String {
        let text = format!("{} {} {}", delivery.entry, delivery.deliveries, delivery.attempt);
        let tag = self.mac(stream, &text).finalize().into_bytes();
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(tag))
    }

    /// The delivery that `token` stands for, if we made it for `stream`.
    pub fn open(&self, stream: &RedisKey, token: &str) -> Option<Delivery> {
        let (text, tag) = token.split_once('.')?;
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        self.mac(stream, &text).verify_slice(&tag).ok()?;
        let mut parts = text.split(' ');
        Some(Delivery {
            entry: parts.next()?.to_owned(),
            deliveries: parts.next()?.parse().ok()?,
            attempt: parts.next()?.parse().ok()?,
        })
    }

    fn mac(&self, stream: &RedisKey, text: &str) -> Hmac<Sha256> {
        self.0
            .clone()
            .chain_update(stream.as_str().as_bytes())
            .chain_update([0])
            .chain_update(text.as_bytes())
    }
}

impl std::fmt::Debug for LeaseTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeaseTokens")
    }
}

#[cfg(test)]
mod tests {
    use tenantry_crds::names::{AppName, QueueName, TenantName};

    use super::*;

    fn stream(tenant: &str) -> RedisKey {
        RedisKey::queue(
            &TenantName::new(tenant).unwrap(),
            &AppName::new("crm").unwrap(),
            &QueueName::new("default").unwrap(),
        )
    }

    #[test]
    fn a_token_opens_under_its_own_stream_and_key_only() {
        let tokens = LeaseTokens::derive(&"a".repeat(32).into()).unwrap();
        let other = LeaseTokens::derive(&"b".repeat(32).into()).unwrap();
        let delivery = Delivery { entry: "1-0".into(), deliveries: 2, attempt: 3 };
        let token = tokens.seal(&stream("acme"), &delivery);
        assert_eq!(tokens.open(&stream("acme"), &token), Some(delivery));
        assert_eq!(tokens.open(&stream("globex"), &token), None);
        assert_eq!(other.open(&stream("acme"), &token), None);
        for wrong in ["", ".", "a.b", &token[1..], &format!("{token}A")] {
            assert_eq!(tokens.open(&stream("acme"), wrong), None, "{wrong}");
        }
    }
}
