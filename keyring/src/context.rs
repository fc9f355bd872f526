//! Where a value belongs.

use uuid::Uuid;

/// Where a value belongs. A sealed value opens under the same context only, so who can write rows can put it nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context<'a> {
    /// Whose it is: the id of the tenant's data, which stays the same when another Tenant object takes the data over.
    pub origin: Uuid,
    /// What kind of thing holds it, from the widest to the narrowest, as app, document type and field.
    pub place: &'a [&'a str],
}

impl Context<'_> {
    /// All of it as bytes, each part with its length before it: no two contexts have the same.
    pub(crate) fn bytes(&self, purpose: &[u8]) -> Vec<u8> {
        let mut bytes = purpose.to_vec();
        bytes.extend_from_slice(self.origin.as_bytes());
        for part in self.place {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_contexts_are_the_same_bytes() {
        let of = |place: &[&str]| Context { origin: Uuid::from_u128(1), place }.bytes(b"");
        let all = [of(&["a", "bc"]), of(&["ab", "c"]), of(&["abc"]), of(&["a", "bc", ""]), of(&[])];
        for (n, one) in all.iter().enumerate() {
            assert!(all[..n].iter().all(|other| other != one), "{n}");
        }
        let other = Context { origin: Uuid::from_u128(2), place: &["abc"] }.bytes(b"");
        assert_ne!(other, of(&["abc"]));
    }
}
