//! What is selected, tested or ordered by: a column, or something inside of its JSON.

use tenantry_migrations::layout::SqlType;

use super::{sight::Sight, text::Text};
use crate::data::model::{ColumnModel, DocModel};

/// Steps that a path may have.
const MAX_STEPS: usize = 10;

/// A column, or something inside of its JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The column, by its place in the model.
    pub column: usize,
    /// What is inside.
    pub path: Option<Path>,
}

/// A way into JSON: `->a->0->>b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Keys of objects and places in arrays.
    pub steps: Vec<String>,
    /// Whether the end is taken as text (`->>`) and not as JSON.
    pub text: bool,
}

/// What values a subject has.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// Those of a column.
    Column(&'a ColumnModel),
    /// Text from JSON.
    Text,
    /// JSON from JSON.
    Json,
}

impl Subject {
    /// A whole column.
    pub const fn column(column: usize) -> Self {
        Self { column, path: None }
    }

    /// Reads a name with its path, up to one of `stops`.
    pub(super) fn read(
        sight: &Sight<'_>,
        doc: &DocModel,
        text: &mut Text<'_>,
        stops: &[char],
    ) -> Result<Self, String> {
        let name = text.name(stops)?;
        let (column, model) = sight.comparable(doc, &name)?;
        let path = Path::read(text, stops)?;
        if path.is_some() && model.sql_type != SqlType::Jsonb {
            return Err(format!("{name} holds no JSON, so there is nothing for -> and ->> to go into"));
        }
        Ok(Self { column, path })
    }

    /// What values it has.
    pub fn kind<'a>(&self, doc: &'a DocModel) -> Option<Kind<'a>> {
        Some(match &self.path {
            None => Kind::Column(doc.columns.get(self.column)?),
            Some(Path { text: true, .. }) => Kind::Text,
            Some(_) => Kind::Json,
        })
    }
}

impl Path {
    /// Reads what comes after the name of a column; nothing when there is no arrow.
    pub(super) fn read(text: &mut Text<'_>, stops: &[char]) -> Result<Option<Self>, String> {
        let mut path = Self { steps: Vec::new(), text: false };
        while text.starts_with("->") {
            if path.text {
                return Err("->> yields text, so no arrow can come after it".into());
            }
            path.text = text.take("->>");
            if !path.text {
                text.take("->");
            }
            path.steps.push(text.name(stops)?.into_owned());
            if path.steps.len() > MAX_STEPS {
                return Err(format!("a path has at most {MAX_STEPS} steps"));
            }
        }
        Ok(Some(path).filter(|path| !path.steps.is_empty()))
    }
}

impl Kind<'_> {
    /// Whether values are text.
    pub fn is_text(self) -> bool {
        match self {
            Self::Column(column) => column.sql_type == SqlType::Text,
            Self::Text => true,
            Self::Json => false,
        }
    }

    /// Whether values are JSON.
    pub fn is_json(self) -> bool {
        match self {
            Self::Column(column) => column.sql_type == SqlType::Jsonb,
            Self::Text => false,
            Self::Json => true,
        }
    }

    /// The type that a parameter is cast to.
    pub fn cast(self) -> &'static str {
        match self {
            Self::Column(column) => column.cast(),
            Self::Text => "text",
            Self::Json => "jsonb",
        }
    }

    /// Whether a value is always there.
    pub fn is_not_null(self) -> bool {
        matches!(self, Self::Column(column) if column.not_null)
    }
}
