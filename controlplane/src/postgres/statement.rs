//! SQL text, its parameters, and a group of both.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use bytes::BufMut;
use tenantry_crds::names::SchemaName;
use tenantry_migrations::sql::Ident;

use crate::load::Load;

/// SQL text with holes for the tenant's schema. Tenants share a template; a connection knows it once for each schema.
#[derive(Clone)]
pub struct Template(Arc<Text>);

struct Text {
    /// What stands before, between and after the holes.
    parts: Vec<String>,
    hash: u64,
}

/// Writes a [`Template`].
#[derive(Debug, Default)]
pub struct TemplateBuilder {
    done: Vec<String>,
    part: String,
}

impl TemplateBuilder {
    /// Starts with `text`.
    pub fn new(text: &str) -> Self {
        Self { done: Vec::new(), part: text.to_owned() }
    }

    /// Leaves a hole for the schema, as a quoted identifier.
    pub fn schema(&mut self) -> &mut Self {
        self.done.push(std::mem::take(&mut self.part));
        self
    }

    /// Appends `text`.
    pub fn push(&mut self, text: &str) -> &mut Self {
        self.part.push_str(text);
        self
    }

    /// The template.
    pub fn build(mut self) -> Template {
        self.done.push(self.part);
        let mut hasher = DefaultHasher::new();
        self.done.hash(&mut hasher);
        Template(Arc::new(Text { hash: hasher.finish(), parts: self.done }))
    }
}

impl fmt::Write for TemplateBuilder {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.part.push_str(text);
        Ok(())
    }
}

impl Template {
    /// The text for `schema`.
    pub(super) fn render(&self, schema: &SchemaName) -> String {
        self.0.parts.join(&Ident(schema.as_str()).to_string())
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.hash == other.0.hash && self.0.parts == other.0.parts)
    }
}

impl Eq for Template {}

impl Hash for Template {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.parts.join("{schema}"))
    }
}

/// Parameters in text form, as they stand on the wire. They hold tenants' data, so `Debug` shows only how many.
#[derive(Clone, Default)]
pub struct Params {
    count: u16,
    wire: Vec<u8>,
}

impl Params {
    /// Adds a value; yields its number, the N of `$N`.
    pub fn push(&mut self, value: Option<&str>) -> u16 {
        match value.map(|text| (text, i32::try_from(text.len()))) {
            Some((text, Ok(length))) => {
                self.wire.put_i32(length);
                self.wire.put_slice(text.as_bytes());
            }
            // A value above 2 GiB is above every limit on bodies, so it does not get here.
            Some((_, Err(_))) | None => self.wire.put_i32(-1),
        }
        self.count += 1;
        self.count
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    pub(super) fn wire(&self) -> &[u8] {
        &self.wire
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} parameters", self.count)
    }
}

/// A statement with its parameters.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The text.
    pub template: Template,
    /// The parameters.
    pub params: Params,
    /// Of a write: which plan is best depends on the parameters, since it filters by fields, of which some values are rare and
    /// others are not. Reads are planned as the server sees fit, whatever this says.
    pub by_value: bool,
}

/// What a group may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A READ ONLY transaction. Run again by itself when its connection breaks.
    Read,
    /// A transaction that is acknowledged once it is on disk.
    Write,
}

/// The statements of one transaction.
#[derive(Debug)]
pub struct Group {
    /// What it may do.
    pub access: Access,
    /// The statements, in order.
    pub statements: Vec<Bound>,
    /// The request that its rows are charged to.
    pub load: Load,
}

impl Group {
    /// A group that reads with one statement.
    pub fn read(statement: Bound) -> Self {
        Self::read_all(vec![statement])
    }

    /// A group that reads with several statements.
    pub fn read_all(statements: Vec<Bound>) -> Self {
        Self { access: Access::Read, statements, load: Load::default() }
    }

    /// A group that writes.
    pub fn write(statements: Vec<Bound>) -> Self {
        Self { access: Access::Write, statements, load: Load::default() }
    }

    /// The same, with its rows charged to the request of `load`. A group of none is held to nothing but the largest answer.
    pub fn charged_to(mut self, load: &Load) -> Self {
        self.load = load.clone();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantry_crds::names::TenantName;

    fn template(table: &str) -> Template {
        let mut sql = TemplateBuilder::new("SELECT a FROM ");
        sql.schema().push(".").push(table).push(" JOIN ").schema().push(".b");
        sql.build()
    }

    #[test]
    fn every_hole_gets_the_quoted_schema() {
        let schema = SchemaName::of(&TenantName::new("a-b").unwrap());
        assert_eq!(template("t").render(&schema), "SELECT a FROM \"tenant_a_b\".t JOIN \"tenant_a_b\".b");
    }

    #[test]
    fn templates_are_the_same_when_their_text_is() {
        assert_eq!(template("t"), template("t"));
        assert_ne!(template("t"), template("u"));
    }

    #[test]
    fn parameters_are_counted_from_one_and_null_has_no_bytes() {
        let mut params = Params::default();
        assert_eq!(params.push(Some("ab")), 1);
        assert_eq!(params.push(None), 2);
        assert_eq!(params.wire(), [0, 0, 0, 2, b'a', b'b', 255, 255, 255, 255]);
    }
}
