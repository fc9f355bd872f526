//! How the routes of both dialects differ.

use super::prefer::Return;
use crate::data::{
    media::Format,
    query::{MAX_LIMIT, Manner, Purpose},
    sql::{Decimals, Style},
};

/// Items of a page when the query does not say.
const USUAL_LIMIT: u32 = 20;

/// In which form documents are asked for and given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/api/v1/data/{app}/{plural}`.
    Native,
    /// `/rest/v1/{plural}`, as PostgREST.
    Rest,
}

impl Dialect {
    /// How a query is read.
    pub fn manner(self, purpose: Purpose) -> Manner {
        match self {
            Self::Native => Manner { purpose, usual_limit: USUAL_LIMIT, lenient_limit: false },
            Self::Rest => Manner { purpose, usual_limit: MAX_LIMIT, lenient_limit: true },
        }
    }

    /// How values are written.
    pub fn style(self, format: Format) -> Style {
        let decimals = match self {
            Self::Native => Decimals::Text,
            Self::Rest => Decimals::Number,
        };
        Style { decimals, strip_nulls: format.strips_nulls() }
    }

    /// What a write answers when the request does not say.
    pub fn usual_return(self) -> Return {
        match self {
            Self::Native => Return::Representation,
            Self::Rest => Return::Minimal,
        }
    }
}
