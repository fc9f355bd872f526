//! Writes a statement with its parameters.

use std::fmt::Write;

use tenantry_migrations::sql::Ident;

use crate::{
    data::model::{ColumnModel, DocModel},
    postgres::{Bound, Params, TemplateBuilder},
};

/// A statement in the making.
#[derive(Debug)]
pub(super) struct Statement {
    text: TemplateBuilder,
    params: Params,
    by_value: bool,
}

impl Statement {
    pub fn new(text: &str) -> Self {
        Self { text: TemplateBuilder::new(text), params: Params::default(), by_value: false }
    }

    pub fn push(&mut self, text: &str) -> &mut Self {
        self.text.push(text);
        self
    }

    pub fn ident(&mut self, name: &str) -> &mut Self {
        self.show(Ident(name))
    }

    pub fn show(&mut self, value: impl std::fmt::Display) -> &mut Self {
        // Writing into a String cannot fail.
        let _ = write!(self.text, "{value}");
        self
    }

    /// The schema with a quoted name behind it.
    pub fn qualified(&mut self, name: &str) -> &mut Self {
        self.text.schema();
        self.push(".").ident(name)
    }

    pub fn table(&mut self, doc: &DocModel) -> &mut Self {
        self.qualified(doc.table.as_str())
    }

    /// The schema alone.
    pub fn schema(&mut self) -> &mut Self {
        self.text.schema();
        self
    }

    /// A parameter.
    pub fn bind(&mut self, value: Option<&str>, cast: &str) -> &mut Self {
        let n = self.params.push(value);
        self.show(format_args!("${n}::{cast}"))
    }

    /// A parameter that is used more than once; yields how it is written.
    pub fn keep(&mut self, value: Option<&str>, cast: &str) -> String {
        format!("${}::{cast}", self.params.push(value))
    }

    /// Columns, with commas between them.
    pub fn columns<'a>(&mut self, columns: impl IntoIterator<Item = &'a ColumnModel>) -> &mut Self {
        for (n, column) in columns.into_iter().enumerate() {
            self.push(if n > 0 { ", " } else { "" }).ident(&column.name);
        }
        self
    }

    /// What it filters by decides how it is best planned.
    pub fn planned_by_value(&mut self) {
        self.by_value = true;
    }

    pub fn finish(self) -> Bound {
        Bound { template: self.text.build(), params: self.params, by_value: self.by_value }
    }
}

/// The literal of an array, for a parameter.
pub(super) fn array<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = values
        .into_iter()
        .map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    format!("{{{}}}", quoted.join(","))
}

#[cfg(test)]
mod tests {
    #[test]
    fn values_of_an_array_stay_apart() {
        assert_eq!(
            super::array(["a", "b,c", "\"}", "\\", "NULL", ""]),
            r#"{"a","b,c","\"}","\\","NULL",""}"#
        );
    }
}
