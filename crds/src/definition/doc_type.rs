//! Document types.

use super::{
    error::DefinitionError,
    field::{Field, FieldKind},
    series::SeriesPattern,
};
use crate::{
    names::{AppName, DocTypeName, FieldName, PluralName, RoleName},
    v1alpha1::{Action, DocTypeSpec, NamingStrategy, PermissionSpec},
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
}

/// How a document gets its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// A UUID of version 7; the id column is a `uuid`.
    Uuid,
    /// A number that counts up; the id column is `text`.
    Series(SeriesPattern),
    /// The value of a required, unique text field; the id column is `text`.
    Field(FieldName),
}

/// What someone may do with documents of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// Who.
    pub subject: Subject,
    /// The actions.
    pub allow: Vec<Action>,
    /// All must hold for a document; empty means every document.
    pub rules: Vec<RowRule>,
}

/// Whom a permission is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Users who have this role of the app.
    Role(RoleName),
    /// Every user, for the documents that the rules select.
    Owner,
    /// The tenant's administrators.
    Admin,
}

/// A document matches when this column has this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRule {
    /// A field, or `created_by` or `updated_by`.
    pub column: String,
    /// The value.
    pub value: RuleValue,
}

/// The value in a [`RowRule`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleValue {
    /// The caller's id.
    User,
    /// A literal.
    Literal(String),
}

impl DocType {
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
            keep(compile_permission(&inner, permission, roles, &fields).map(|p| permissions.push(p)));
        }
        match (name, plural) {
            (Some(name), Some(plural)) if errors.is_empty() => {
                Ok(Self { name, plural, naming, fields, permissions })
            }
            _ => Err(errors),
        }
    }
}

fn compile_naming(path: &str, spec: &DocTypeSpec, fields: &[Field]) -> Result<Naming, DefinitionError> {
    let wrong = |problem: &str| DefinitionError::new(format!("{path}.naming"), problem);
    match spec.naming.strategy {
        NamingStrategy::Uuid => Ok(Naming::Uuid),
        NamingStrategy::Series => spec
            .naming
            .pattern
            .as_deref()
            .and_then(SeriesPattern::parse)
            .map(Naming::Series)
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

fn compile_permission(
    path: &str,
    spec: &PermissionSpec,
    roles: &[RoleName],
    fields: &[Field],
) -> Result<Permission, DefinitionError> {
    let wrong = |problem: String| DefinitionError::new(path, problem);
    let subject = match spec.role.as_str() {
        "admin" => Subject::Admin,
        "owner" => Subject::Owner,
        name => Subject::Role(
            roles
                .iter()
                .find(|role| role.as_str() == name)
                .cloned()
                .ok_or_else(|| wrong(format!("role: {name:?} is not in spec.roles")))?,
        ),
    };
    let mut rules = Vec::with_capacity(spec.row_match.len());
    for (column, value) in &spec.row_match {
        let textual = matches!(column.as_str(), "created_by" | "updated_by")
            || fields.iter().any(|field| field.name.as_str() == column && is_text_like(&field.kind));
        if !textual {
            return Err(wrong(format!(
                "match: {column:?} is not created_by, updated_by or a field that holds text"
            )));
        }
        let value = if value == "@user" { RuleValue::User } else { RuleValue::Literal(value.clone()) };
        if matches!(&value, RuleValue::Literal(text) if text.starts_with('@')) {
            return Err(wrong("match: @user is the only variable".into()));
        }
        rules.push(RowRule { column: column.clone(), value });
    }
    if rules.is_empty() && subject == Subject::Owner {
        rules.push(RowRule { column: "created_by".into(), value: RuleValue::User });
    }
    Ok(Permission { subject, allow: spec.allow.clone(), rules })
}

fn is_text_like(kind: &FieldKind) -> bool {
    matches!(
        kind,
        FieldKind::String { .. }
            | FieldKind::Text { .. }
            | FieldKind::Email { .. }
            | FieldKind::Url { .. }
            | FieldKind::Enum { .. }
    )
}
