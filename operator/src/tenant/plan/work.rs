//! What a plan collects while it looks at the tables.

use std::collections::BTreeSet;

use tenantry_crds::{definition::Destructive, names::AppName, names::FieldName, reason::Reason};
use tenantry_migrations::layout::Column;

use super::tables::Pair;
use crate::{
    backend::postgres::{change::ObjectChange, step::Step},
    error::Error,
    tenant::desired::DesiredApp,
};

/// What there is to do, and what stands in the way.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub objects: Vec<ObjectChange>,
    pub steps: Vec<Step>,
    /// Apps with steps: their tables are not at the new version before these are done.
    pub held: BTreeSet<AppName>,
    /// Where in `objects` the defaults are that only the new version asks for.
    renewals: Vec<(AppName, usize)>,
    refused: Vec<(Reason, String)>,
}

impl Work {
    /// What there is to do after `objects`.
    pub(super) fn after(objects: Vec<ObjectChange>) -> Self {
        Self { objects, ..Self::default() }
    }

    pub(super) fn step(&mut self, app: &DesiredApp, step: Step) {
        self.steps.push(step);
        self.held.insert(app.name.clone());
    }

    /// A default that comes with the version, whatever it is now.
    pub(super) fn renew(&mut self, app: &DesiredApp, change: ObjectChange) {
        self.renewals.push((app.name.clone(), self.objects.len()));
        self.objects.push(change);
    }

    /// Takes out the defaults of apps that wait for steps: they would be set again in every pass until then.
    pub(super) fn put_off_renewals(&mut self) {
        for (app, at) in std::mem::take(&mut self.renewals).into_iter().rev() {
            if self.held.contains(&app) {
                self.objects.remove(at);
            }
        }
    }

    pub(super) fn refuse(&mut self, reason: Reason, what: String) {
        self.refused.push((reason, what));
    }

    /// Refuses what only somebody who knows the data may ask for, and says how to ask.
    pub(super) fn refuse_narrowing(&mut self, pair: &Pair<'_>, column: &Column, what: &str) {
        let entry = pair.narrowing_of(column).map(|entry| entry.to_string()).unwrap_or_default();
        let app = &pair.app.name;
        self.refuse(
            Reason::DestructiveChangeBlocked,
            format!("{what}; to go on, add '{entry}' to spec.allowDestructive of App {app}"),
        );
    }

    /// All that stands in the way, in one error: whoever mends it wants to know it at once.
    pub(super) fn refusal(&mut self) -> Result<(), Error> {
        let refused = std::mem::take(&mut self.refused);
        let Some((reason, _)) = refused.first() else { return Ok(()) };
        let reason = *reason;
        let texts: Vec<String> = refused.into_iter().map(|(_, text)| text).collect();
        Err(Error::blocked(reason, texts.join("; ")))
    }
}

impl Pair<'_> {
    /// The entry that acknowledges fewer values for `column`.
    fn narrowing_of(&self, column: &Column) -> Option<Destructive> {
        let doc_type = self.app.doc_type_of(&self.layout.table)?;
        Some(Destructive::Narrow(doc_type, FieldName::new(&column.name).ok()?))
    }

    pub(super) fn is_narrowing_allowed(&self, column: &Column) -> bool {
        self.narrowing_of(column).is_some_and(|entry| self.app.allowed.contains(&entry))
    }
}
