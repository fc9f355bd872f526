//! What one caller may do at this moment.

use std::sync::Arc;

use jiff::Timestamp;
use tenantry_crds::v1alpha1::Action;

use super::{
    condition::{Condition, Who},
    grants::RoleRights,
};
use crate::{
    auth::Caller,
    data::model::{ColumnModel, DocModel},
};

/// With which documents a caller may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// With none.
    Denied,
    /// With every document.
    All,
    /// With those for which this holds.
    Rows(Condition<String>),
}

impl From<Condition<String>> for Allowed {
    fn from(condition: Condition<String>) -> Self {
        match condition {
            Condition::Always => Self::All,
            Condition::Never => Self::Denied,
            condition => Self::Rows(condition),
        }
    }
}

/// Whether a caller sees a column of the documents that the caller may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible {
    /// Of none.
    No,
    /// Of all of them.
    Yes,
    /// Of those for which this holds.
    Where(Condition<String>),
}

/// What a caller may do with documents of a type.
#[derive(Debug, Clone)]
pub struct Rights<'a> {
    doc: &'a DocModel,
    who: Who<'a>,
    of: Arc<RoleRights>,
}

impl<'a> Rights<'a> {
    /// What `caller` may do with documents of type `doc`.
    pub fn of(doc: &'a DocModel, caller: &'a Caller) -> Self {
        Self { doc, who: Who { caller, now: Timestamp::now() }, of: doc.grants.of(caller) }
    }

    /// The type.
    pub fn doc(&self) -> &'a DocModel {
        self.doc
    }

    /// Who calls, and when.
    pub fn who(&self) -> &Who<'a> {
        &self.who
    }

    /// With which of the documents that are there the caller may do `action`; a new one has only to be one that may be made.
    pub fn allowed(&self, action: Action) -> Allowed {
        let row = self.of.rows.get(&action).cloned().unwrap_or(Condition::Never);
        let standing = if action == Action::Create { Condition::Always } else { self.of.standing.clone() };
        Condition::all([row, standing]).resolve(&self.who).into()
    }

    /// The same of documents that were deleted or whose time has come, too, as long as they are there.
    pub fn permitted(&self, action: Action) -> Allowed {
        self.of.rows.get(&action).cloned().unwrap_or(Condition::Never).resolve(&self.who).into()
    }

    /// The deleted documents that the caller may bring back: those that the caller may delete.
    pub fn restorable(&self) -> Allowed {
        self.permitted(Action::Delete)
    }

    /// Whether the caller may read every document.
    pub fn reads_every(&self) -> bool {
        self.of.rows.get(&Action::Read) == Some(&Condition::Always)
    }

    /// Whether the caller may do `action` with any document at all.
    pub fn may(&self, action: Action) -> bool {
        self.of.rows.get(&action).is_some_and(|rule| *rule != Condition::Never)
    }

    /// Whether the caller sees the column in this place.
    pub fn visible(&self, column: usize) -> Visible {
        match self.of.readable.get(column) {
            Some(Condition::Always) => Visible::Yes,
            None | Some(Condition::Never) => Visible::No,
            Some(rule) => match rule.resolve(&self.who) {
                Condition::Always => Visible::Yes,
                Condition::Never => Visible::No,
                condition => Visible::Where(condition),
            },
        }
    }

    /// Whether the caller sees the column in this place of every document that the caller sees. Nothing else may stand in
    /// filters and orders: what a list leaves out, or where, would tell the value.
    pub fn sees(&self, column: usize) -> bool {
        self.of.readable.get(column) == Some(&Condition::Always)
    }

    /// The column with this name, if the caller sees it at all.
    ///
    /// # Errors
    /// Why not, for the caller.
    pub fn selectable(&self, name: &str) -> Result<(usize, &'a ColumnModel), String> {
        match self.doc.readable(name) {
            None => Err(unknown(name)),
            Some((n, _)) if self.visible(n) == Visible::No => {
                Err(format!("{name} is a field that you may not read"))
            }
            Some(found) => Ok(found),
        }
    }

    /// The column with this name, if it may stand in filters and orders.
    ///
    /// # Errors
    /// Why not, for the caller.
    pub fn comparable(&self, name: &str) -> Result<(usize, &'a ColumnModel), String> {
        let found = self.selectable(name)?;
        if self.sees(found.0) {
            Ok(found)
        } else {
            Err(format!("{name} is a field that you may read of some documents only; it cannot be compared"))
        }
    }

    /// The columns that an answer shows, in the order of the model. Who may not read sees of what was written what may be
    /// written.
    pub fn shown(&self) -> Vec<usize> {
        let columns = 0..self.doc.columns.len();
        if self.may(Action::Read) {
            return columns.filter(|n| self.visible(*n) != Visible::No).collect();
        }
        let platform = |n: &usize| self.doc.columns.get(*n).is_some_and(|column| column.field().is_none());
        let writes = |n: &usize| {
            let of = |action| self.of.writable.get(&action).and_then(|columns| columns.get(*n));
            let any = [Action::Create, Action::Update].into_iter().filter_map(of);
            any.into_iter().any(|rule| *rule != Condition::Never)
        };
        let readable = |n: &usize| self.doc.columns.get(*n).is_some_and(|column| column.is_readable());
        columns.filter(|n| readable(n) && (platform(n) || writes(n))).collect()
    }

    /// With which documents the caller may do `action` and set `columns`.
    ///
    /// # Errors
    /// Those of the columns that the caller may set in no document.
    pub fn writes(
        &self,
        action: Action,
        columns: impl IntoIterator<Item = usize>,
    ) -> Result<Condition<String>, Vec<usize>> {
        let row = self.of.rows.get(&action).cloned().unwrap_or(Condition::Never);
        let rules = self.of.writable.get(&action);
        let (mut all, mut refused) = (vec![row], Vec::new());
        for column in columns {
            match rules.and_then(|rules| rules.get(column)) {
                Some(Condition::Always) => {}
                None | Some(Condition::Never) => refused.push(column),
                Some(rule) => all.push(rule.clone()),
            }
        }
        if refused.is_empty() { Ok(Condition::all(all).resolve(&self.who)) } else { Err(refused) }
    }

    /// Whether the caller may set the column in this place of some document.
    pub fn may_set(&self, action: Action, column: usize) -> bool {
        let rules = self.of.writable.get(&action).and_then(|columns| columns.get(column));
        rules.is_some_and(|rule| *rule != Condition::Never)
    }

    /// Whether the caller may read or set the column in this place of some document.
    pub fn knows(&self, column: usize) -> bool {
        self.of.readable.get(column).is_some_and(|rule| *rule != Condition::Never)
            || self.may_set(Action::Create, column)
            || self.may_set(Action::Update, column)
    }

    /// What must hold for a document to be there at all.
    pub fn standing(&self) -> Condition<String> {
        self.of.standing.resolve(&self.who)
    }

    /// Of each permission, by its place in the definition: whether it is one of the caller's, and the documents that it is
    /// about.
    pub fn each(&self) -> Vec<(bool, Condition<String>)> {
        self.doc
            .grants
            .each(self.who.caller)
            .map(|(applies, rule)| (applies, rule.resolve(&self.who)))
            .collect()
    }
}

fn unknown(name: &str) -> String {
    format!("{:?} is no field of this document type", name.chars().take(40).collect::<String>())
}
