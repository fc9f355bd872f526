//! Names that people write in manifests.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A name that does not follow its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {name:?} is not allowed: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    name: String,
    rule: &'static str,
}

/// How a declared name may look.
struct Rule {
    kind: &'static str,
    max: usize,
    separator: Option<u8>,
    reserved: &'static [&'static str],
    reserved_suffix: Option<&'static str>,
    text: &'static str,
}

impl Rule {
    fn check(&self, name: &str) -> Result<(), InvalidName> {
        let bytes = name.as_bytes();
        let separator = |b: &u8| Some(*b) == self.separator;
        let shaped = bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || separator(b))
            && !bytes.last().is_some_and(separator);
        if shaped && name.len() <= self.max && !self.is_reserved(name) {
            return Ok(());
        }
        Err(InvalidName { kind: self.kind, name: name.chars().take(80).collect(), rule: self.text })
    }

    fn is_reserved(&self, name: &str) -> bool {
        self.reserved.contains(&name) || self.reserved_suffix.is_some_and(|suffix| name.ends_with(suffix))
    }
}

macro_rules! declared_name {
    ($(#[$doc:meta])* $name:ident, $rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            const RULE: Rule = $rule;

            /// The longest name allowed, in bytes.
            pub const MAX_LEN: usize = Self::RULE.max;

            /// Validates `name`.
            ///
            /// # Errors
            /// [`InvalidName`] states the rule that was broken.
            pub fn new(name: &str) -> Result<Self, InvalidName> {
                Self::RULE.check(name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(&name)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

declared_name!(
    /// A tenant: a DNS label that starts with a letter. Immutable, because every backend name derives from it.
    TenantName,
    Rule {
        kind: "tenant",
        max: 48,
        separator: Some(b'-'),
        reserved: RESERVED_TENANTS,
        reserved_suffix: Some("-owner"),
        text: "use at most 48 lower-case letters, digits and inner '-', starting with a letter; \
               admin, api, default, public, system, tenantry, www and names that end in '-owner' are reserved",
    }
);

declared_name!(
    /// An app. Without separators, so that `{app}_{doctype}` splits at the first `_`.
    AppName,
    Rule {
        kind: "app",
        max: 20,
        separator: None,
        reserved: &[],
        reserved_suffix: None,
        text: "use at most 20 lower-case letters and digits, starting with a letter",
    }
);

declared_name!(
    /// A document type of an app.
    DocTypeName,
    Rule {
        kind: "document type",
        max: 39,
        separator: Some(b'_'),
        reserved: &[],
        reserved_suffix: None,
        text: "use at most 39 lower-case letters, digits and inner '_', starting with a letter",
    }
);

declared_name!(
    /// The plural of a document type, as it stands in URLs.
    PluralName,
    Rule {
        kind: "plural",
        max: 40,
        separator: Some(b'_'),
        reserved: &[],
        reserved_suffix: None,
        text: "use at most 40 lower-case letters, digits and inner '_', starting with a letter",
    }
);

declared_name!(
    /// A field of a document type; never the name of a platform column.
    FieldName,
    Rule {
        kind: "field",
        max: 39,
        separator: Some(b'_'),
        reserved: RESERVED_FIELDS,
        reserved_suffix: None,
        text: "use at most 39 lower-case letters, digits and inner '_', starting with a letter; id, version, \
               created_at, updated_at, created_by, updated_by, extra and the query words and, or, not, select, \
               order, limit, offset, after, count, q are reserved",
    }
);

declared_name!(
    /// A role of an app.
    RoleName,
    Rule {
        kind: "role",
        max: 39,
        separator: Some(b'_'),
        reserved: &[],
        reserved_suffix: None,
        text: "use at most 39 lower-case letters, digits and inner '_', starting with a letter",
    }
);

declared_name!(
    /// A job queue of an app.
    QueueName,
    Rule {
        kind: "queue",
        max: 20,
        separator: Some(b'-'),
        reserved: &[],
        reserved_suffix: None,
        text: "use at most 20 lower-case letters, digits and inner '-', starting with a letter",
    }
);

declared_name!(
    /// A Postgres, Redis or search instance, as the settings of both programs name it.
    InstanceName,
    Rule {
        kind: "instance",
        max: 63,
        separator: Some(b'-'),
        reserved: &[],
        reserved_suffix: None,
        text: "use at most 63 lower-case letters, digits and inner '-', starting with a letter",
    }
);

impl Default for InstanceName {
    /// The instance of `database.url`, `redis.url` and `search.url`.
    fn default() -> Self {
        Self("default".into())
    }
}

declared_name!(
    /// An access of a tenant.
    AccessName,
    Rule {
        kind: "access",
        max: 20,
        separator: Some(b'-'),
        reserved: &[],
        reserved_suffix: None,
        text: "use at most 20 lower-case letters, digits and inner '-', starting with a letter",
    }
);

/// Tenant names that would read as a part of the platform in a host name or a URL.
pub const RESERVED_TENANTS: &[&str] = &["admin", "api", "default", "public", "system", "tenantry", "www"];

/// Columns that every document table has, and words that the query dialect takes.
pub const RESERVED_FIELDS: &[&str] = &[
    "id",
    "version",
    "created_at",
    "updated_at",
    "created_by",
    "updated_by",
    "extra",
    "and",
    "or",
    "not",
    "select",
    "order",
    "limit",
    "offset",
    "after",
    "count",
    "q",
];
