//! Document types.

use super::{
    error::DefinitionError,
    field::{Field, FieldKind},
    permission::Permission,
    series::SeriesPattern,
};
use crate::{
    names::{AppName, DocTypeName, FieldName, PluralName, RoleName},
    v1alpha1::{DocTypeSpec, NamingStrategy},
};

/// A validated document type.
#[derive(Debug, Clone, PartialEq)]
pub struct DocType {
    /// The name, in the singular.
    pub name: DocTypeName,
    /// The plural, as it stands in URLs.
    pub plural: PluralName,
    /// How a document gets its id.
    pub naming: Naming,
    /// The fields, in the order of the manifest.
    pub fields: Vec<Field>,
    /// Who may do what.
    pub permissions: Vec<Permission>,
    /// Documents may have an `extra`.
    pub allow_extra: bool,
    /// Every version of a document is kept.
    pub track_changes: bool,
    /// A deleted document is only marked.
    pub soft_delete: bool,
    /// When documents go by themselves.
    pub ttl: Option<Ttl>,
}

/// How a document gets its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// A UUID of version 7; the id column is a `uuid`.
    Uuid,
    /// A number that counts up; the id column is `text`.
    Series(SeriesPattern),
    /// The same, and no number is ever left out.
    Gapless(SeriesPattern),
    /// The value of a required, unique text field; the id column is `text`.
    Field(FieldName),
}

/// When a document goes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ttl {
    /// The column that holds the moment: a DateTime field, `created_at` or `updated_at`.
    pub column: String,
    /// Seconds from that moment on.
    pub seconds: i64,
}

/// The column that a type with `softDelete` has beside the others.
const DELETED_AT: &str = "deleted_at";

impl DocType {
    /// The column that says since when a document of a type with [`Self::soft_delete`] is deleted.
    pub const DELETED_AT: &str = DELETED_AT;

    /// The field with this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name.as_str() == name)
    }

    pub(super) fn compile(
        app: &AppName,
        roles: &[RoleName],
        spec: &DocTypeSpec,
    ) -> Result<Self, Vec<DefinitionError>> {
        let path = format!("spec.docTypes[{}]", spec.name);
        let mut errors = Vec::new();
        let mut keep =
            |result: Result<(), DefinitionError>| result.unwrap_or_else(|error| errors.push(error));

        let mut name = None;
        keep(
            DocTypeName::new(&spec.name).map(|n| name = Some(n)).map_err(|e| DefinitionError::new(&path, e)),
        );
        let mut plural = None;
        // Made from a wrong name, it would only repeat what is wrong.
        if name.is_some() || spec.plural.is_some() {
            let text = spec.plural.clone().unwrap_or_else(|| format!("{}s", spec.name));
            keep(
                PluralName::new(&text).map(|p| plural = Some(p)).map_err(|e| DefinitionError::new(&path, e)),
            );
        }

        let mut fields: Vec<Field> = Vec::with_capacity(spec.fields.len());
        for field in &spec.fields {
            let inner = format!("{path}.fields[{}]", field.name);
            if fields.iter().any(|known| known.name.as_str() == field.name) {
                keep(Err(DefinitionError::new(inner, "the name is used twice")));
                continue;
            }
            keep(Field::compile(app, &inner, field).map(|f| fields.push(f)));
        }
        let mut naming = Naming::Uuid;
        keep(compile_naming(&path, spec, &fields).map(|n| naming = n));
        let mut permissions = Vec::with_capacity(spec.permissions.len());
        for (n, permission) in spec.permissions.iter().enumerate() {
            let inner = format!("{path}.permissions[{n}]");
            match Permission::compile(&inner, permission, roles, &fields) {
                Ok(permission) => permissions.push(permission),
                Err(wrong) => wrong.into_iter().for_each(|error| keep(Err(error))),
            }
        }
        let mut ttl = None;
        keep(compile_ttl(&path, spec, &fields).map(|compiled| ttl = compiled));
        if spec.soft_delete && fields.iter().any(|field| field.name.as_str() == DELETED_AT) {
            keep(Err(DefinitionError::new(
                format!("{path}.fields[{DELETED_AT}]"),
                "with softDelete, the platform keeps this column; give the field another name",
            )));
        }
        match (name, plural) {
            (Some(name), Some(plural)) if errors.is_empty() => Ok(Self {
                name,
                plural,
                naming,
                fields,
                permissions,
                allow_extra: spec.allow_extra,
                track_changes: spec.track_changes,
                soft_delete: spec.soft_delete,
                ttl,
            }),
            _ => Err(errors),
        }
    }
}

fn compile_naming(path: &str, spec: &DocTypeSpec, fields: &[Field]) -> Result<Naming, DefinitionError> {
    let wrong = |problem: &str| DefinitionError::new(format!("{path}.naming"), problem);
    if spec.naming.gapless && spec.naming.strategy != NamingStrategy::Series {
        return Err(wrong("gapless: belongs to strategy Series"));
    }
    match spec.naming.strategy {
        NamingStrategy::Uuid => Ok(Naming::Uuid),
        NamingStrategy::Series => spec
            .naming
            .pattern
            .as_deref()
            .and_then(SeriesPattern::parse)
            .map(
                |pattern| {
                    if spec.naming.gapless { Naming::Gapless(pattern) } else { Naming::Series(pattern) }
                },
            )
            .ok_or_else(|| wrong("pattern: use a prefix, a '.', and 1 to 12 '#', as in SO-.#####")),
        NamingStrategy::Field => {
            let named = spec.naming.field.as_deref().unwrap_or_default();
            let field = fields.iter().find(|field| field.name.as_str() == named);
            match field {
                Some(field)
                    if field.required && field.unique && matches!(field.kind, FieldKind::String { .. }) =>
                {
                    Ok(Naming::Field(field.name.clone()))
                }
                Some(_) => Err(wrong("field: the field must be a String that is required and unique")),
                None => Err(wrong("field: names no field of this document type")),
            }
        }
    }
}

fn compile_ttl(path: &str, spec: &DocTypeSpec, fields: &[Field]) -> Result<Option<Ttl>, DefinitionError> {
    let Some(ttl) = &spec.ttl else { return Ok(None) };
    let column = ttl.field.clone().unwrap_or_else(|| "created_at".to_owned());
    let moment = matches!(column.as_str(), "created_at" | "updated_at")
        || fields.iter().any(|field| field.name.as_str() == column && field.kind == FieldKind::DateTime);
    if moment {
        Ok(Some(Ttl { column, seconds: ttl.seconds }))
    } else {
        let problem = format!("field: {column:?} is not created_at, updated_at or a field of type DateTime");
        Err(DefinitionError::new(format!("{path}.ttl"), problem))
    }
}
