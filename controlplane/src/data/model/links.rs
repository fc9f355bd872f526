//! How document types refer to each other.

use std::{collections::HashMap, sync::Arc};

use tenantry_crds::{
    core_app,
    definition::FieldKind,
    names::{AppName, DocTypeName},
};

use super::DocModel;

type Key = (AppName, DocTypeName);

/// How the document types of a set of apps refer to each other.
#[derive(Debug, Default)]
pub struct Links {
    /// Of each type, the references to others.
    out: HashMap<Key, Vec<Reference>>,
    /// Of each type, the references of others to it.
    back: HashMap<Key, Vec<Reference>>,
}

/// A reference field, and the type at its other end.
#[derive(Debug, Clone)]
struct Reference {
    /// The name of the field.
    field: String,
    /// The type at the other end: the one referred to in `out`, the one that has the field in `back`.
    other: Arc<DocModel>,
}

/// The way from documents of one type to documents of another.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The type at the end of the way.
    pub target: &'a DocModel,
    /// Which of the two refers to the other.
    pub direction: Direction<'a>,
}

/// Which of two types refers to the other, by the name of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction<'a> {
    /// The type at hand refers to the target: there is one document, or none.
    ToOne(&'a str),
    /// The target refers to the type at hand: there are any number.
    ToMany(&'a str),
}

/// Why there is no way to go.
#[derive(Debug, PartialEq, Eq)]
pub enum Unlinked {
    /// No reference has this name, and no type with this plural is linked.
    Unknown,
    /// There is more than one; these hints tell them apart.
    Ambiguous(Vec<String>),
}

impl Links {
    pub(super) fn between<'a>(types: impl Iterator<Item = &'a Arc<DocModel>>) -> Self {
        let types: Vec<&Arc<DocModel>> = types.collect();
        let mut links = Self::default();
        for doc in &types {
            for column in &doc.columns {
                let Some(field) = column.field() else { continue };
                let target = match &field.kind {
                    FieldKind::Reference(target) => target.clone(),
                    FieldKind::File => core_app::file_target(),
                    _ => continue,
                };
                let found = types.iter().find(|t| t.app == target.app && t.name == target.doc_type);
                let Some(target) = found else { continue };
                let reference = |other: &Arc<DocModel>| Reference {
                    field: column.name.clone(),
                    other: Arc::clone(other),
                };
                links.out.entry(key(doc)).or_default().push(reference(target));
                links.back.entry(key(target)).or_default().push(reference(doc));
            }
        }
        // The catalog is a map without an order; what is offered and what an error lists should not depend on it.
        for references in links.back.values_mut() {
            references.sort_by(|a, b| (key(&a.other), &a.field).cmp(&(key(&b.other), &b.field)));
        }
        links
    }

    /// The type that the reference field `name` of `doc` leads to.
    pub fn target(&self, doc: &DocModel, name: &str) -> Option<&Arc<DocModel>> {
        let out = self.out.get(&key(doc))?;
        out.iter().find(|reference| reference.field == name).map(|reference| &reference.other)
    }

    /// The way from `doc` that `name` stands for: the name of a reference field of its own, or the plural of a type that is
    /// linked with it. `hint` is the name of the field that links them, where more than one does.
    pub fn find<'a>(&'a self, doc: &DocModel, name: &str, hint: Option<&str>) -> Result<Link<'a>, Unlinked> {
        let of =
            |map: &'a HashMap<Key, Vec<Reference>>| map.get(&key(doc)).map(Vec::as_slice).unwrap_or_default();
        let (out, back) = (of(&self.out), of(&self.back));
        if let Some(reference) = out.iter().find(|reference| reference.field == name) {
            return Ok(reference.to_one());
        }
        let plural = |reference: &&Reference| reference.other.plural.as_str() == name;
        let mut ways: Vec<Link<'a>> = back.iter().filter(plural).map(Reference::to_many).collect();
        // To documents of its own type the field's name leads, so that a plural always means those that refer to this one.
        let other = |reference: &&Reference| key(&reference.other) != key(doc);
        ways.extend(out.iter().filter(plural).filter(other).map(Reference::to_one));
        if ways.iter().any(|way| way.target.app == doc.app) {
            ways.retain(|way| way.target.app == doc.app);
        }
        if let Some(hint) = hint {
            ways.retain(|way| way.field() == hint);
        }
        match ways.as_slice() {
            [] => Err(Unlinked::Unknown),
            [way] => Ok(*way),
            many => {
                Err(Unlinked::Ambiguous(many.iter().map(|way| format!("{name}!{}", way.field())).collect()))
            }
        }
    }
}

impl Reference {
    fn to_one(&self) -> Link<'_> {
        Link { target: &self.other, direction: Direction::ToOne(&self.field) }
    }

    fn to_many(&self) -> Link<'_> {
        Link { target: &self.other, direction: Direction::ToMany(&self.field) }
    }
}

impl<'a> Link<'a> {
    /// The name of the field that links both types.
    pub fn field(&self) -> &'a str {
        match self.direction {
            Direction::ToOne(field) | Direction::ToMany(field) => field,
        }
    }
}

fn key(doc: &DocModel) -> Key {
    (doc.app.clone(), doc.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::model::Catalog, fixture};

    const SPEC: &str = "
version: 1.0.0
docTypes:
  - name: person
    plural: people
    fields: [{name: boss, type: Reference, to: person}]
  - name: team
    fields: [{name: lead, type: Reference, to: person}]
  - name: task
    fields:
      - {name: author, type: Reference, to: person}
      - {name: assignee, type: Reference, to: person}
";

    fn way(from: &str, name: &str, hint: Option<&str>) -> Result<String, Unlinked> {
        let catalog = Catalog::compile(&[fixture::app("hr", SPEC)]);
        let doc = catalog.doc_type("hr", from).unwrap();
        let link = catalog.links().find(doc, name, hint)?;
        Ok(match link.direction {
            Direction::ToOne(field) => format!("{field} -> {}", link.target.name),
            Direction::ToMany(field) => format!("{} <- {}.{field}", doc.name, link.target.name),
        })
    }

    #[test]
    fn a_field_and_a_plural_lead_to_the_other_type() {
        assert_eq!(way("teams", "lead", None).unwrap(), "lead -> person");
        assert_eq!(way("teams", "people", None).unwrap(), "lead -> person");
        assert_eq!(way("people", "teams", None).unwrap(), "person <- team.lead");
        assert_eq!(way("people", "boss", None).unwrap(), "boss -> person");
        assert_eq!(way("people", "people", None).unwrap(), "person <- person.boss");
        assert_eq!(way("teams", "tasks", None), Err(Unlinked::Unknown));
    }

    #[test]
    fn two_ways_need_a_hint() {
        let both = Unlinked::Ambiguous(vec!["tasks!assignee".into(), "tasks!author".into()]);
        assert_eq!(way("people", "tasks", None), Err(both));
        assert_eq!(way("people", "tasks", Some("author")).unwrap(), "person <- task.author");
        assert_eq!(way("tasks", "people", Some("assignee")).unwrap(), "assignee -> person");
        assert_eq!(way("people", "tasks", Some("lead")), Err(Unlinked::Unknown));
    }
}
