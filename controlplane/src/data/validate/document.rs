//! A body as values for columns.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tenantry_crds::definition::Naming;

use super::{
    Shape,
    shape::{pointer, report},
};
use crate::{
    data::{
        model::{ColumnModel, DocModel, Role, Written},
        permit::Referred,
    },
    error::FieldError,
};

/// How a body is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode<'a> {
    /// A new document: what is missing gets its default.
    Create,
    /// Of the document with this id, the members that the body has.
    Patch(&'a str),
    /// Of the document with this id, everything: what is missing gets its default. Fields that no answer shows stay as they are,
    /// since whoever read the document cannot give them back.
    Replace(&'a str),
}

/// Values for columns.
#[derive(Debug, Default)]
pub struct Values {
    /// Each column, by its place in the model, with its text form; `None` is NULL.
    pub columns: Vec<(usize, Option<String>)>,
    /// Columns that are set to the id of what an earlier statement of the transaction stored, by its number.
    pub results: Vec<(usize, usize)>,
    /// Those of them that the body has; the others are set to their defaults.
    pub given: Vec<usize>,
    /// References that are to be held against what the writer may read.
    pub referred: Vec<Referred>,
    /// Secrets by their columns. They are no values of columns before they are sealed, so whatever forgets that stores none.
    clear: Vec<(usize, SecretString)>,
}

impl Values {
    /// What the column is set to, if it is.
    pub fn get(&self, column: usize) -> Option<Option<&str>> {
        self.columns.iter().find(|(n, _)| *n == column).map(|(_, value)| value.as_deref())
    }

    /// Sets the column that keeps how `asked` was written, which is stored as `formed`.
    fn keep_written(&mut self, written: Written, asked: &Value, formed: &Value) {
        let asked = asked.as_str().map(str::trim).filter(|asked| Some(*asked) != formed.as_str());
        self.columns.push((written.text, asked.map(str::to_owned)));
    }

    /// Makes values of the secrets.
    ///
    /// # Errors
    /// Those of `seal`, which gets a column and a secret.
    pub fn seal<E>(&mut self, seal: impl Fn(usize, &str) -> Result<String, E>) -> Result<(), E> {
        for (column, clear) in std::mem::take(&mut self.clear) {
            self.columns.push((column, Some(seal(column, clear.expose_secret())?)));
        }
        Ok(())
    }

    /// The columns that `given` names, of values that are not looked at.
    pub fn naming(given: Vec<usize>) -> Self {
        Self { given, ..Self::default() }
    }

    fn set(&mut self, n: usize, column: &ColumnModel, shape: &Shape, value: Value) {
        let text = (!value.is_null()).then(|| shape.parameter(value));
        match text {
            Some(clear) if column.sealed => self.clear.push((n, SecretString::from(clear))),
            text => self.columns.push((n, text)),
        }
    }
}

/// Checks `body`; adds what is wrong to `errors`, with pointers that start with `at`. What is replaced as a whole keeps the columns
/// that the caller may not set (`may_set`).
pub fn document(
    doc: &DocModel,
    mode: Mode<'_>,
    body: &Value,
    at: &str,
    may_set: &dyn Fn(usize) -> bool,
    errors: &mut Vec<FieldError>,
) -> Values {
    let mut values = Values::default();
    let Value::Object(members) = body else {
        report(errors, at, "must be an object".into());
        return values;
    };
    if matches!(mode, Mode::Patch(_)) && members.is_empty() {
        report(errors, at, "must have at least one field".into());
    }
    for name in members.keys() {
        let problem = match doc.column(name).map(|(_, column)| &column.role) {
            None => "is no field of this document type",
            Some(Role::Platform) => "is kept by the platform and cannot be set",
            Some(Role::Field(field, _)) if field.read_only => "cannot be set",
            Some(Role::Field(..) | Role::Extra(_)) => continue,
        };
        report(errors, &pointer(at, name), problem.into());
    }
    for (n, column) in doc.columns.iter().enumerate() {
        let (field, shape) = match &column.role {
            Role::Platform => continue,
            // Set with the column whose values it keeps as they were written.
            Role::Field(..) if doc.written.is_some_and(|written| written.text == n) => continue,
            Role::Extra(shape) => {
                extra(&mut values, n, shape, mode, members.get(&column.name), (at, errors));
                continue;
            }
            Role::Field(field, shape) => (field, shape),
        };
        let at = || pointer(at, &column.name);
        let given = members.get(&column.name).filter(|_| !field.read_only);
        let value = match (given, mode) {
            (Some(value), _) => {
                values.given.push(n);
                value.clone()
            }
            (None, Mode::Patch(_)) => continue,
            (None, Mode::Replace(_)) if field.read_only || field.write_only => continue,
            (None, Mode::Replace(_)) if !may_set(n) => continue,
            (None, _) => field.default.clone().unwrap_or(Value::Null),
        };
        if value.is_null() {
            if column.not_null {
                report(errors, &at(), "is required".into());
            } else {
                values.set(n, column, shape, value);
            }
            continue;
        }
        let asked = value;
        let Some(value) = shape.check(&asked, &at(), errors) else { continue };
        if let (Naming::Field(naming), Mode::Patch(id) | Mode::Replace(id)) = (&doc.naming, mode)
            && *naming == field.name
            && value.as_str() != Some(id)
        {
            report(errors, &at(), "is the document's id and cannot change".into());
            continue;
        }
        if let Some(written) = doc.written.filter(|written| written.form == n) {
            values.keep_written(written, &asked, &value);
        }
        values.set(n, column, shape, value);
    }
    values
}

/// What the definition does not declare is set as a whole.
fn extra(
    values: &mut Values,
    column: usize,
    shape: &Shape,
    mode: Mode<'_>,
    given: Option<&Value>,
    (at, errors): (&str, &mut Vec<FieldError>),
) {
    let empty = Value::Object(Map::new());
    let value = match given {
        None if !matches!(mode, Mode::Replace(_)) => return,
        None | Some(Value::Null) => &empty,
        Some(value) => value,
    };
    if given.is_some() {
        values.given.push(column);
    }
    if let Some(value) = shape.check(value, &pointer(at, "extra"), errors) {
        values.columns.push((column, Some(shape.parameter(value))));
    }
}

#[cfg(test)]
mod tests;
