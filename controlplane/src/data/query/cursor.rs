//! Where a list goes on.
//!
//! A cursor holds the values of the order's columns in the last item, sealed with a key of ours together with the list that it
//! belongs to. Without the seal, a caller could probe columns or continue the list of another tenant.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Bytes of the seal.
const SEAL: usize = 16;
/// Characters that a cursor may have.
const MAX_LEN: usize = 20_000;

/// The key of the seal; the same on every replica.
#[derive(Clone)]
pub struct CursorKey(Hmac<Sha256>);

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey")
    }
}

/// Which list a cursor continues: the tenant, the document type, the filters and the order.
#[derive(Debug, Clone, Default)]
pub struct ListIdentity(Vec<u8>);

impl ListIdentity {
    /// Adds a part. Parts are kept apart by their length.
    pub fn add(&mut self, part: &[u8]) {
        self.0.extend_from_slice(&(part.len() as u64).to_be_bytes());
        self.0.extend_from_slice(part);
    }
}

impl CursorKey {
    /// Derives the key from a secret that every replica has.
    pub fn derive(secret: &SecretString) -> Self {
        let mac = |key: &[u8]| {
            // HMAC takes a key of any length.
            Hmac::<Sha256>::new_from_slice(key)
                .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"))
        };
        let key = mac(secret.expose_secret().as_bytes()).chain_update(b"tenantry list cursor").finalize();
        Self(mac(&key.into_bytes()))
    }

    /// A cursor behind the item with these values.
    pub fn seal(&self, list: &ListIdentity, values: &[Option<&str>]) -> String {
        // Texts in a list cannot fail to serialize; an empty cursor would only end the list early.
        let values = serde_json::to_vec(values).unwrap_or_default();
        let mut cursor = self.mac(list, &values).finalize().into_bytes()[..SEAL].to_vec();
        cursor.extend_from_slice(&values);
        URL_SAFE_NO_PAD.encode(cursor)
    }

    /// The values in `cursor`, if it was sealed for this list.
    pub fn open(&self, list: &ListIdentity, cursor: &str) -> Option<Vec<Option<String>>> {
        if cursor.len() > MAX_LEN {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (seal, values) = bytes.split_at_checked(SEAL)?;
        self.mac(list, values).verify_truncated_left(seal).ok()?;
        serde_json::from_slice(values).ok()
    }

    fn mac(&self, list: &ListIdentity, values: &[u8]) -> Hmac<Sha256> {
        let mut whole = list.clone();
        whole.add(values);
        self.0.clone().chain_update(&whole.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(parts: &[&str]) -> ListIdentity {
        let mut list = ListIdentity::default();
        parts.iter().for_each(|part| list.add(part.as_bytes()));
        list
    }

    #[test]
    fn a_cursor_opens_only_for_its_list() {
        let key = CursorKey::derive(&SecretString::from("secret"));
        let cursor = key.seal(&list(&["acme", "ab"]), &[Some("x"), None]);
        assert_eq!(key.open(&list(&["acme", "ab"]), &cursor), Some(vec![Some("x".to_owned()), None]));
        for other in [&["globex", "ab"][..], &["acmea", "b"], &["acme", "ab", ""]] {
            assert_eq!(key.open(&list(other), &cursor), None);
        }
        let other = CursorKey::derive(&SecretString::from("another"));
        assert_eq!(other.open(&list(&["acme", "ab"]), &cursor), None);
    }

    #[test]
    fn a_cursor_that_was_changed_does_not_open() {
        let key = CursorKey::derive(&SecretString::from("secret"));
        let cursor = key.seal(&list(&["acme"]), &[Some("x")]);
        for wrong in ["", "AA", "not base64!", &cursor[..cursor.len() - 4], &format!("{cursor}AAAA")] {
            assert_eq!(key.open(&list(&["acme"]), wrong), None, "{wrong}");
        }
    }
}
