//! The ownership mark: the comment on a schema or a role that says which Tenant it belongs to.

use std::fmt;

use uuid::Uuid;

/// Whose an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnershipMark {
    /// The uid of the Tenant.
    pub uid: Uuid,
    /// The Tenant is gone and its data was kept.
    pub retained: bool,
}

impl OwnershipMark {
    /// The mark of a standing Tenant.
    pub fn of(uid: Uuid) -> Self {
        Self { uid, retained: false }
    }

    /// Reads a comment; nothing for one that is not a mark.
    pub fn parse(comment: &str) -> Option<Self> {
        let rest = comment.strip_prefix("tenantry.dev/tenant ")?;
        let (uid, retained) = match rest.strip_suffix(" retained") {
            Some(uid) => (uid, true),
            None => (rest, false),
        };
        Some(Self { uid: uid.parse().ok()?, retained })
    }
}

impl fmt::Display for OwnershipMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenantry.dev/tenant {}{}", self.uid, if self.retained { " retained" } else { "" })
    }
}

/// Whose a role or login of direct access is. Not an [`OwnershipMark`]: these never stay when the Tenant goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessMark<'a> {
    /// The uid of the Tenant.
    pub uid: Uuid,
    /// Its name.
    pub tenant: &'a str,
    /// The name of the access.
    pub access: &'a str,
}

impl AccessMark<'_> {
    /// What the marks of all accesses of a tenant begin with.
    pub fn prefix(uid: Uuid) -> String {
        format!("tenantry.dev/access {uid} ")
    }
}

impl fmt::Display for AccessMark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/{}", Self::prefix(self.uid), self.tenant, self.access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_nothing_else_does() {
        for retained in [false, true] {
            let mark = OwnershipMark { uid: Uuid::from_u128(7), retained };
            assert_eq!(OwnershipMark::parse(&mark.to_string()), Some(mark));
        }
        assert_eq!(OwnershipMark::parse("somebody's schema"), None);
        assert_eq!(OwnershipMark::parse("tenantry.dev/tenant not-a-uid"), None);
    }
}
