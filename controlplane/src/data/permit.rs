//! What a caller may do with documents of a type. Pure.

use tenantry_crds::{
    definition::{RowRule, RuleValue, Subject},
    v1alpha1::Action,
};

use super::model::DocModel;
use crate::auth::Caller;

/// What a caller may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// Nothing.
    Denied,
    /// Everything, with every document.
    All,
    /// With documents that match at least one of these; never empty.
    Rows(Vec<AllOf>),
}

/// Conditions that must all hold for a document; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllOf(pub Vec<Equals>);

/// A document matches when this column holds this text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equals {
    /// The column: a field that holds text, or `created_by` or `updated_by`.
    pub column: String,
    /// The text.
    pub value: String,
}

/// What `caller` may do by `action`. Permissions add up; whoever has none has nothing.
pub fn allowed(doc: &DocModel, caller: &Caller, action: Action) -> Allowed {
    if caller.admin {
        return Allowed::All;
    }
    let mut rows = Vec::new();
    for permission in &doc.permissions {
        let applies = match &permission.subject {
            Subject::Admin => false,
            Subject::Owner => true,
            Subject::Role(role) => caller.has_role(&doc.app, role.as_str()),
        };
        if !applies || !permission.allow.contains(&action) {
            continue;
        }
        if permission.rules.is_empty() {
            return Allowed::All;
        }
        rows.push(AllOf(permission.rules.iter().map(|rule| equals(rule, caller)).collect()));
    }
    if rows.is_empty() { Allowed::Denied } else { Allowed::Rows(rows) }
}

fn equals(rule: &RowRule, caller: &Caller) -> Equals {
    let value = match &rule.value {
        RuleValue::User => caller.user.to_string(),
        RuleValue::Literal(text) => text.clone(),
    };
    Equals { column: rule.column.clone(), value }
}

impl Allowed {
    /// What remains to be checked by the database when a write sets some columns: `new` yields the text that a column is set
    /// to (`Some(None)` for NULL), nothing for a column that stays as it is.
    ///
    /// A document that a caller writes must be one that the caller could write again; else a rule that limits a caller to some
    /// documents would not keep the caller from making others.
    pub fn after<'a>(&self, new: impl Fn(&str) -> Option<Option<&'a str>>) -> Self {
        let Self::Rows(rows) = self else { return self.clone() };
        let mut left = Vec::new();
        for AllOf(conditions) in rows {
            let mut open = Vec::new();
            let mut possible = true;
            for condition in conditions {
                match new(&condition.column) {
                    None => open.push(condition.clone()),
                    Some(value) => possible &= value == Some(condition.value.as_str()),
                }
            }
            match (possible, open.is_empty()) {
                (true, true) => return Self::All,
                (true, false) => left.push(AllOf(open)),
                (false, _) => {}
            }
        }
        if left.is_empty() { Self::Denied } else { Self::Rows(left) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::model::Catalog, fixture};

    const SPEC: &str = "
version: 1.0.0
roles: [{name: sales}, {name: clerk}]
docTypes:
  - name: lead
    fields: [{name: region, type: String}, {name: stage, type: String}]
    permissions:
      - {role: sales, allow: [Read, Update]}
      - {role: clerk, allow: [Read, Update], match: {region: north, stage: open}}
      - {role: owner, allow: [Read, Delete]}
";

    fn may(roles: &[&str], action: Action) -> Allowed {
        let catalog = Catalog::compile(&[fixture::app("crm", SPEC)]);
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        allowed(catalog.doc_type("crm", "leads").unwrap(), &Caller::new("ann", &roles), action)
    }

    fn equals(column: &str, value: &str) -> Equals {
        Equals { column: column.into(), value: value.into() }
    }

    #[test]
    fn permissions_add_up_and_nothing_is_given_by_default() {
        let own = AllOf(vec![equals("created_by", "ann")]);
        let open_north = AllOf(vec![equals("region", "north"), equals("stage", "open")]);
        assert_eq!(may(&["crm:sales"], Action::Read), Allowed::All);
        assert_eq!(may(&["crm:clerk"], Action::Read), Allowed::Rows(vec![open_north, own.clone()]));
        assert_eq!(may(&[], Action::Delete), Allowed::Rows(vec![own]));
        assert_eq!(may(&["crm:sales"], Action::Create), Allowed::Denied);
        assert_eq!(may(&["hr:sales"], Action::Update), Allowed::Denied);
        assert_eq!(may(&["admin"], Action::Create), Allowed::All);
    }

    #[test]
    fn what_is_written_must_match_as_well() {
        let rows = may(&["crm:clerk"], Action::Update);
        let set =
            |region: Option<&'static str>| rows.after(move |column| (column == "region").then_some(region));
        assert_eq!(set(Some("south")), Allowed::Denied);
        assert_eq!(set(None), Allowed::Denied);
        assert_eq!(set(Some("north")), Allowed::Rows(vec![AllOf(vec![equals("stage", "open")])]));
        assert_eq!(rows.after(|_| None), rows);
        assert_eq!(
            rows.after(|column| Some(Some(if column == "region" { "north" } else { "open" }))),
            Allowed::All
        );
    }
}
