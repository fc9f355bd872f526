//! Acknowledged destructive changes: the entries of `spec.allowDestructive`.

use std::{fmt, str::FromStr};

use super::{app::AppDefinition, error::DefinitionError};
use crate::names::{DocTypeName, FieldName};

/// A change that loses data or may, by its exact name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destructive {
    /// `drop-field DOCTYPE.FIELD`: the column of a field that was taken out of the definition goes.
    DropField(DocTypeName, FieldName),
    /// `drop-doc-type DOCTYPE`: the table of a document type that was taken out of the definition goes.
    DropDocType(DocTypeName),
    /// `narrow DOCTYPE.FIELD`: the field takes fewer values than before.
    Narrow(DocTypeName, FieldName),
}

/// An entry that names no change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no change; use 'drop-field DOCTYPE.FIELD', 'drop-doc-type DOCTYPE' or 'narrow DOCTYPE.FIELD'"
)]
pub struct MalformedDestructive(String);

impl FromStr for Destructive {
    type Err = MalformedDestructive;

    fn from_str(entry: &str) -> Result<Self, Self::Err> {
        let malformed = || MalformedDestructive(entry.chars().take(200).collect());
        let (verb, object) = entry.split_once(' ').ok_or_else(malformed)?;
        let field = || {
            let (doc_type, field) = object.split_once('.')?;
            Some((DocTypeName::new(doc_type).ok()?, FieldName::new(field).ok()?))
        };
        match verb {
            "drop-field" => field().map(|(doc_type, field)| Self::DropField(doc_type, field)),
            "drop-doc-type" => DocTypeName::new(object).ok().map(Self::DropDocType),
            "narrow" => field().map(|(doc_type, field)| Self::Narrow(doc_type, field)),
            _ => None,
        }
        .ok_or_else(malformed)
    }
}

impl fmt::Display for Destructive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DropField(doc_type, field) => write!(f, "drop-field {doc_type}.{field}"),
            Self::DropDocType(doc_type) => write!(f, "drop-doc-type {doc_type}"),
            Self::Narrow(doc_type, field) => write!(f, "narrow {doc_type}.{field}"),
        }
    }
}

impl Destructive {
    /// Refuses entries that are malformed, and those that wait for a change which is not made: an entry that stays behind
    /// would drop a field of that name without a question one day.
    pub(super) fn check_all(entries: &[String], app: &AppDefinition, errors: &mut Vec<DefinitionError>) {
        for entry in entries {
            let problem = match entry.parse() {
                Err(MalformedDestructive(_)) => Some(MalformedDestructive(entry.clone()).to_string()),
                Ok(change) => Self::contradiction(&change, app).map(str::to_owned),
            };
            if let Some(problem) = problem {
                errors.push(DefinitionError::new(format!("spec.allowDestructive[{entry}]"), problem));
            }
        }
    }

    fn contradiction(&self, app: &AppDefinition) -> Option<&'static str> {
        let has = |doc_type, field: &FieldName| {
            app.doc_type(doc_type).is_some_and(|doc_type| doc_type.field(field.as_str()).is_some())
        };
        match self {
            Self::DropField(doc_type, field) if has(doc_type, field) => {
                Some("the definition still has this field; take one of the two out")
            }
            Self::DropDocType(doc_type) if app.doc_type(doc_type).is_some() => {
                Some("the definition still has this document type; take one of the two out")
            }
            Self::Narrow(doc_type, field) if !has(doc_type, field) => {
                Some("the definition has no such field")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back() {
        for text in ["drop-field customer.email", "drop-doc-type order", "narrow customer.credit"] {
            assert_eq!(text.parse::<Destructive>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_names_no_change() {
        for text in [
            "",
            "drop-field customer",
            "drop customer.email",
            "narrow  a.b",
            "drop-doc-type A",
            "narrow a.id",
        ] {
            assert!(text.parse::<Destructive>().is_err(), "{text}");
        }
    }
}
