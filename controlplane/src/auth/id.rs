//! Ids of those who call, as they stand in `created_by`, in journals and in row rules.
//!
//! Each kind has a form of its own, and no id is made or read anywhere else, so none is taken for one of another kind.

use std::fmt;

use tenantry_crds::v1alpha1::KEY_ISSUER;
use uuid::Uuid;

use super::caller::Caller;

/// The longest id of a user, in characters.
const MAX_CHARS: usize = 255;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserId<'a> {
    /// A user of the tenant's own.
    Own(Uuid),
    /// An API key that acts as nobody.
    Key(Uuid),
    /// A user of an external issuer.
    External {
        /// The name of the issuer in the tenant's manifest.
        issuer: &'a str,
        /// The `sub` of its tokens.
        subject: &'a str,
    },
    /// Whoever has a key with the role `anon`.
    Anonymous,
    /// The control plane's own work.
    Worker,
    /// What whoever signs tokens with our key calls somebody.
    Named(&'a str),
}

impl UserId<'static> {
    const WORKER: &'static str = "tenantry-worker";
}

impl<'a> UserId<'a> {
    /// Whom the `sub` of a token of ours names; nothing when no token can name it.
    pub(super) fn of_token(sub: &'a str) -> Option<Self> {
        let key = sub.split_once(':').is_some_and(|(kind, _)| kind == KEY_ISSUER);
        if key || !is_readable(sub) || sub == Caller::ANON || sub == UserId::WORKER {
            return None;
        }
        Some(Uuid::try_parse(sub).map_or(Self::Named(sub), Self::Own))
    }

    /// A user of an external issuer; nothing when an id cannot hold the `sub`.
    pub(super) fn external(issuer: &'a str, subject: &'a str) -> Option<Self> {
        let id = Self::External { issuer, subject };
        (issuer != KEY_ISSUER && !subject.is_empty() && is_readable(&id.to_string())).then_some(id)
    }

    /// The user's document, where the user is one of the tenant's own.
    pub(super) fn own(self) -> Option<Uuid> {
        match self {
            Self::Own(id) => Some(id),
            _ => None,
        }
    }
}

impl fmt::Display for UserId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(id) => write!(f, "{id}"),
            Self::Key(id) => write!(f, "{KEY_ISSUER}:{id}"),
            Self::External { issuer, subject } => write!(f, "{issuer}:{subject}"),
            Self::Anonymous => f.write_str(Caller::ANON),
            Self::Worker => f.write_str(UserId::WORKER),
            Self::Named(name) => f.write_str(name),
        }
    }
}

fn is_readable(id: &str) -> bool {
    (1..=MAX_CHARS).contains(&id.chars().count()) && !id.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_names_a_key_nobody_in_particular_or_the_platform_itself() {
        let id = Uuid::from_u128(7);
        let reserved = [UserId::Key(id), UserId::Anonymous, UserId::Worker].map(|id| id.to_string());
        for sub in
            reserved.iter().map(String::as_str).chain(["key:", "key:ann", "", "a\nb", &"x".repeat(256)])
        {
            assert_eq!(UserId::of_token(sub), None, "{sub}");
        }
        for sub in ["ann", "keys:ann", "key", "auth0|7", "corp:ann"] {
            assert_eq!(UserId::of_token(sub), Some(UserId::Named(sub)));
        }
    }

    #[test]
    fn a_user_of_the_tenants_own_has_one_form() {
        let id = Uuid::from_u128(0xab);
        for sub in
            [id.to_string(), id.to_string().to_uppercase(), id.simple().to_string(), format!("{{{id}}}")]
        {
            let read = UserId::of_token(&sub).unwrap();
            assert_eq!((read.own(), read.to_string()), (Some(id), id.to_string()), "{sub}");
        }
    }

    #[test]
    fn no_issuer_speaks_for_api_keys() {
        let id = Uuid::from_u128(7).to_string();
        assert_eq!(UserId::external("key", &id), None);
        let read = UserId::external("corp", &id).unwrap();
        assert_eq!((read.own(), read.to_string()), (None, format!("corp:{id}")));
        assert_eq!(UserId::external("corp", ""), None);
        assert_eq!(UserId::external("corp", &"x".repeat(255)), None);
    }
}
