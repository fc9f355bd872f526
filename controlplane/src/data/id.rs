//! Ids of documents.

use tenantry_crds::definition::Naming;
use uuid::Uuid;

use super::{model::DocModel, sql::NewId, validate::Values};

/// Characters of an id that is text.
const MAX_LEN: usize = 255;

/// The id of a document, in the form that its column has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentId(String);

impl DocumentId {
    /// Reads the id in a URL; nothing for one that no document of this type can have.
    pub fn parse(doc: &DocModel, text: &str) -> Option<Self> {
        match doc.naming {
            Naming::Uuid => Uuid::try_parse(text).ok().map(|uuid| Self(uuid.to_string())),
            Naming::Series(_) | Naming::Gapless(_) | Naming::Field(_) => {
                let possible = !text.is_empty() && text.chars().count() <= MAX_LEN && !text.contains('\0');
                possible.then(|| Self(text.to_owned()))
            }
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl NewId {
    /// The id of a new document with these values.
    pub fn of(doc: &DocModel, values: &Values) -> Self {
        match &doc.naming {
            Naming::Uuid => Self::Given(DocumentId(Uuid::now_v7().to_string())),
            Naming::Series(_) | Naming::Gapless(_) => Self::Series,
            Naming::Field(field) => {
                let value = doc.column(field.as_str()).and_then(|(n, _)| values.get(n)).flatten();
                // The field is required, so validation has left it a value.
                Self::Given(DocumentId(value.unwrap_or_default().to_owned()))
            }
        }
    }
}
