//! Documents of one type as a query wants them, with what is embedded in them.

use tenantry_crds::v1alpha1::Action;

use super::{condition::Condition, order::Order, sight::Sight, subject::Subject};
use crate::data::{
    model::{Direction, DocModel, Link},
    permit::{self, Allowed, Visible},
};

/// Documents of one type as a query wants them.
#[derive(Debug)]
pub struct Level<'a> {
    /// The type.
    pub doc: &'a DocModel,
    /// The documents that the caller may read.
    pub visible: Allowed,
    /// Columns that the caller may read of some documents only, by their place, with the condition.
    pub partly: Vec<(usize, permit::Condition<String>)>,
    /// The members of a document, in order.
    pub outputs: Vec<Output>,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// The order; the id comes last. Empty where there is one document at most.
    pub order: Vec<Order>,
    /// Documents at most.
    pub limit: u32,
    /// Documents left out before the first one.
    pub offset: u32,
    /// What is embedded.
    pub embeds: Vec<Embed<'a>>,
}

/// A member of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A field, or something in its JSON; `key` unless it is called like the column.
    Subject {
        /// What is shown.
        subject: Subject,
        /// What it is called.
        key: Option<String>,
    },
    /// What is embedded at this place of the level.
    Embed(usize),
}

/// Documents of another type inside of a document.
#[derive(Debug)]
pub struct Embed<'a> {
    /// What it is called.
    pub key: String,
    /// The way to them.
    pub link: Link<'a>,
    /// Whether documents without any are left out.
    pub required: bool,
    /// The documents.
    pub level: Level<'a>,
}

impl<'a> Level<'a> {
    pub(super) fn new(sight: &Sight<'_>, doc: &'a DocModel) -> Self {
        let rights = sight.rights(doc);
        let partly = |column| match rights.visible(column) {
            Visible::Where(condition) => Some((column, condition)),
            Visible::Yes | Visible::No => None,
        };
        Self {
            doc,
            visible: rights.allowed(Action::Read),
            partly: (0..doc.columns.len()).filter_map(partly).collect(),
            outputs: Vec::new(),
            conditions: Vec::new(),
            order: Vec::new(),
            limit: 0,
            offset: 0,
            embeds: Vec::new(),
        }
    }

    /// What a member is called.
    pub fn key<'l>(&'l self, output: &'l Output) -> &'l str {
        match output {
            Output::Subject { key: Some(key), .. } => key,
            Output::Subject { subject, key: None } => {
                self.doc.columns.get(subject.column).map_or("", |column| &column.name)
            }
            Output::Embed(n) => self.embeds.get(*n).map_or("", |embed| &embed.key),
        }
    }

    /// The plural of an embedded type that the caller may not read, at whatever depth.
    pub fn denied(&self) -> Option<&'a str> {
        self.embeds.iter().find_map(|embed| {
            let denied = embed.level.visible == Allowed::Denied;
            if denied { Some(embed.link.target.plural.as_str()) } else { embed.level.denied() }
        })
    }

    /// Whether which documents there are depends on what is embedded.
    pub fn has_required(&self) -> bool {
        self.embeds.iter().any(|embed| embed.required)
    }

    /// The level at the end of this path of names, the last of which is a parameter; with that.
    pub(super) fn find<'n>(&mut self, name: &'n str) -> Result<(&mut Self, &'n str), &'n str> {
        let Some((first, rest)) = name.split_once('.').filter(|(first, _)| !first.contains("->")) else {
            return Ok((self, name));
        };
        if first == "not" && matches!(rest, "and" | "or") {
            return Ok((self, name));
        }
        match self.embeds.iter_mut().find(|embed| embed.key == first) {
            Some(embed) => embed.level.find(rest),
            None => Err(first),
        }
    }
}

impl<'a> Link<'a> {
    /// Which type has the field that links `from` with the target.
    pub(super) fn owner<'d>(&self, from: &'d DocModel) -> &'d DocModel
    where
        'a: 'd,
    {
        match self.direction {
            Direction::ToOne(_) => from,
            Direction::ToMany(_) => self.target,
        }
    }
}
