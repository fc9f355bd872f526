//! What a sealed value may be.

use tenantry_keyring::Context;
use uuid::Uuid;

use crate::data::{ColumnModel, DocModel};

/// What a sealed value is. It opens as nothing else.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// A field of documents. Which document is not part of it: an id of a series is given after the value is sealed.
    Field {
        /// The app.
        app: &'a str,
        /// The document type.
        doc_type: &'a str,
        /// The field.
        field: &'a str,
    },
    /// The secret of a user's authenticator.
    Authenticator(Uuid),
}

impl<'a> Place<'a> {
    /// A column of documents.
    pub fn of(doc: &'a DocModel, column: &'a ColumnModel) -> Self {
        Self::Field { app: doc.app.as_str(), doc_type: doc.name.as_str(), field: &column.name }
    }

    /// Hands the context of this place on.
    pub(super) fn within<T>(&self, origin: Uuid, work: impl Fn(&Context<'_>) -> T) -> T {
        match self {
            Self::Field { app, doc_type, field } => {
                work(&Context { origin, place: &["field", app, doc_type, field] })
            }
            Self::Authenticator(user) => {
                let user = user.to_string();
                work(&Context { origin, place: &["authenticator", &user] })
            }
        }
    }
}
