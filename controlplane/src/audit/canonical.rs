//! The bytes that are hashed. Documented in `docs/api/audit.md`: whoever has the rows can compute the chain without us.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Digest = [u8; 32];

/// What stands in place of the hash before the first seal.
pub const GENESIS: Digest = [0; 32];

const ROW: &[u8] = b"tenantry audit row 1";
const SEAL: &[u8] = b"tenantry audit seal 1";
const HEAD: &[u8] = b"tenantry audit head 1";
/// Bytes of an entry: the id and the digest.
const ENTRY: usize = 8 + 32;

/// The digest of a row: of the name and the value of each column that is not NULL, in order. Each text is preceded by its
/// length, so that no two rows have the same bytes; a column that a later release adds leaves the digests of older rows alone.
pub fn row<'a>(columns: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Digest {
    let mut hash = Sha256::new_with_prefix(ROW);
    for (name, value) in columns {
        if let Some(value) = value {
            text(&mut hash, name.as_bytes());
            text(&mut hash, value.as_bytes());
        }
    }
    hash.finalize().into()
}

fn text(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

/// A row in a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The row's id.
    pub id: i64,
    /// Its digest.
    pub digest: Digest,
}

/// A seal: some rows of one tenant, and the seal before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Its number in the chain, from 1.
    pub seal: i64,
    /// No row with an id up to this one, and above that of the seal before, is missing here.
    pub upto: i64,
    /// The rows, by ascending id.
    pub entries: Vec<Entry>,
    /// When, in microseconds since 1970.
    pub sealed_micros: i64,
    /// The hash of the seal before.
    pub previous: Digest,
    /// What [`Self::hash_of`] yielded when it was made.
    pub hash: Digest,
}

impl Seal {
    /// The hash of what the seal of `role` says.
    pub fn hash_of(&self, role: &str) -> Digest {
        let mut hash = Sha256::new_with_prefix(SEAL);
        text(&mut hash, role.as_bytes());
        for number in [self.seal, self.upto, self.sealed_micros] {
            hash.update(number.to_be_bytes());
        }
        hash.update(self.previous);
        hash.update(encode(&self.entries));
        hash.finalize().into()
    }
}

/// Entries as they are stored.
pub fn encode(entries: &[Entry]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.id.to_be_bytes().into_iter().chain(entry.digest)).collect()
}

/// The entries of [`encode`]; nothing for bytes that are none.
pub fn decode(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (chunks, rest) = bytes.as_chunks::<ENTRY>();
    let entry = |chunk: &[u8; ENTRY]| {
        let (id, digest) = chunk.split_first_chunk::<8>()?;
        Some(Entry { id: i64::from_be_bytes(*id), digest: digest.try_into().ok()? })
    };
    if rest.is_empty() { chunks.iter().map(entry).collect() } else { None }
}

/// The end of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The number of the last seal.
    pub seal: i64,
    /// Rows in all seals.
    pub rows: i64,
    /// The `upto` of the last seal.
    pub upto: i64,
    /// The hash of the last seal.
    pub hash: Digest,
}

impl Head {
    /// The end of a chain that has no seal yet.
    pub const NONE: Self = Self { seal: 0, rows: 0, upto: 0, hash: GENESIS };
}

/// The key that heads are signed with: whoever can write the database, but does not have it, cannot make another chain.
#[derive(Clone)]
pub struct SealKey {
    mac: Hmac<Sha256>,
    id: [u8; 8],
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey")
    }
}

impl SealKey {
    /// Derives the key from a secret that every replica has.
    pub fn derive(secret: &SecretString) -> Self {
        let derived = |purpose: &[u8]| -> Digest {
            mac(secret.expose_secret().as_bytes()).chain_update(purpose).finalize().into_bytes().into()
        };
        let [a, b, c, d, e, f, g, h, ..] = derived(b"tenantry audit seal key id");
        Self { mac: mac(&derived(b"tenantry audit seal key")), id: [a, b, c, d, e, f, g, h] }
    }

    /// Which key this is; nothing can be learnt of the key from it.
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// The signature of the end of the chain of `role`.
    pub fn sign(&self, role: &str, head: &Head) -> Vec<u8> {
        self.over(role, head).finalize().into_bytes().to_vec()
    }

    /// Whether `signature` is that of [`Self::sign`].
    pub fn verifies(&self, role: &str, head: &Head, signature: &[u8]) -> bool {
        self.over(role, head).verify_slice(signature).is_ok()
    }

    fn over(&self, role: &str, head: &Head) -> Hmac<Sha256> {
        let mut mac = self.mac.clone().chain_update(HEAD);
        mac.update(&(role.len() as u64).to_be_bytes());
        mac.update(role.as_bytes());
        for number in [head.seal, head.rows, head.upto] {
            mac.update(&number.to_be_bytes());
        }
        mac.chain_update(head.hash)
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_have_the_same_bytes() {
        let rows: [&[(&str, Option<&str>)]; 5] = [
            &[("a", Some("xy")), ("b", None)],
            &[("a", Some("x")), ("b", Some("y"))],
            &[("a", None), ("b", Some("xy"))],
            &[("a", Some("")), ("b", Some("xy"))],
            &[("ab", Some("xy"))],
        ];
        let mut digests: Vec<_> = rows.iter().map(|columns| row(columns.iter().copied())).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), rows.len());
        assert_eq!(
            row([("a", Some("xy"))]),
            row([("a", Some("xy")), ("new", None)]),
            "a new column that is NULL"
        );
    }

    #[test]
    fn the_bytes_are_those_of_the_manual() {
        let mut bytes = b"tenantry audit row 1".to_vec();
        for text in ["id", "7", "actor", "ann"] {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        let expected: Digest = Sha256::digest(&bytes).into();
        assert_eq!(row([("id", Some("7")), ("client", None), ("actor", Some("ann"))]), expected);
    }

    #[test]
    fn entries_are_stored_and_read_as_they_are() {
        let entries = vec![Entry { id: 7, digest: [1; 32] }, Entry { id: i64::MAX, digest: [2; 32] }];
        let bytes = encode(&entries);
        assert_eq!(decode(&bytes), Some(entries));
        assert_eq!(decode(&bytes[1..]), None);
        assert_eq!(decode(&[]), Some(Vec::new()));
    }

    #[test]
    fn a_signature_holds_for_one_end_of_one_chain() {
        let key = SealKey::derive(&SecretString::from("secret"));
        let head = Head { seal: 3, rows: 9, upto: 40, hash: [7; 32] };
        let signature = key.sign("tenant_a", &head);
        assert!(key.verifies("tenant_a", &head, &signature));
        assert!(!key.verifies("tenant_b", &head, &signature));
        assert!(!key.verifies("tenant_a", &Head { rows: 8, ..head.clone() }, &signature));
        let other = SealKey::derive(&SecretString::from("another"));
        assert!(!other.verifies("tenant_a", &head, &signature) && other.id() != key.id());
    }
}
