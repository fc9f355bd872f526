//! The answer: each action with its reason, and the permissions that it comes from. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use tenantry_crds::{
    definition::{Permission, Subject},
    v1alpha1::Action,
};

use super::rule;
use crate::data::permit::{Condition, Rights, Visible};

const ACTIONS: [Action; 4] = [Action::Read, Action::Create, Action::Update, Action::Delete];

/// What someone may do, and why.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    user: String,
    admin: bool,
    actions: BTreeMap<String, Verdict>,
    permissions: Vec<Told>,
    fields: BTreeMap<String, FieldTold>,
}

/// Whether an action is allowed.
#[derive(Debug, Serialize)]
struct Verdict {
    /// With which documents; with the one that was asked about, `all` or `none`.
    allowed: Extent,
    why: String,
    /// The permissions that it comes from, by their place.
    by: Vec<usize>,
}

/// How many documents something is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Extent {
    All,
    Some,
    None,
}

/// A permission of the definition.
#[derive(Debug, Serialize)]
struct Told {
    role: String,
    allow: Vec<Action>,
    documents: String,
    /// It is one of the caller's.
    applies: bool,
    /// It is about the document that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    readable: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    writable: Option<Vec<String>>,
}

/// What may be done with a field.
#[derive(Debug, Serialize)]
struct FieldTold {
    read: Extent,
    create: bool,
    update: bool,
}

/// What `rights` allow; `found` says of one document which permissions hold for it and, at last, whether it stands.
pub(super) fn explain(rights: &Rights<'_>, found: Option<&[bool]>) -> Explanation {
    let (doc, caller) = (rights.doc(), rights.who().caller);
    let applies: Vec<bool> = rights.each().into_iter().map(|(applies, _)| applies).collect();
    let told = |(n, permission): (usize, &Permission)| Told {
        role: role(&permission.subject),
        allow: permission.allow.clone(),
        documents: rule::text(&permission.rule),
        applies: applies.get(n).copied().unwrap_or_default(),
        holds: found.map(|found| found.get(n).copied().unwrap_or_default()),
        readable: permission.readable.as_ref().map(|names| names.iter().cloned().collect()),
        writable: permission.writable.as_ref().map(|names| names.iter().cloned().collect()),
    };
    let permissions: Vec<Told> = doc.permissions.iter().enumerate().map(told).collect();
    let stands = found.is_none_or(|found| found.last() == Some(&true));
    let verdicts = ACTIONS.map(|action| {
        let name = format!("{action:?}").to_lowercase();
        (name, verdict(action, caller.admin, stands, &permissions))
    });
    let fields = doc.columns.iter().enumerate().filter_map(|(n, column)| {
        let field = column.field().filter(|field| !field.write_only || rights.may_set(Action::Update, n))?;
        let sets = |action| !field.read_only && rights.may_set(action, n);
        let read = match rights.visible(n) {
            Visible::Yes => Extent::All,
            Visible::No => Extent::None,
            Visible::Where(Condition::Never) => Extent::None,
            Visible::Where(_) => Extent::Some,
        };
        let told = FieldTold { read, create: sets(Action::Create), update: sets(Action::Update) };
        Some((column.name.clone(), told))
    });
    Explanation {
        user: caller.user.to_string(),
        admin: caller.admin,
        actions: verdicts.into(),
        fields: fields.collect(),
        permissions,
    }
}

fn role(subject: &Subject) -> String {
    match subject {
        Subject::Role(role) => role.to_string(),
        Subject::Owner => "owner".to_owned(),
        Subject::Admin => "admin".to_owned(),
    }
}

fn verdict(action: Action, admin: bool, stands: bool, permissions: &[Told]) -> Verdict {
    let none = |why: &str| Verdict { allowed: Extent::None, why: why.to_owned(), by: Vec::new() };
    if !stands && action != Action::Create {
        return none("the document was deleted, or its time has come");
    }
    if admin {
        return Verdict {
            allowed: Extent::All,
            why: "administrators may do everything".into(),
            by: Vec::new(),
        };
    }
    let granting: Vec<(usize, &Told)> =
        permissions.iter().enumerate().filter(|(_, told)| told.allow.contains(&action)).collect();
    let mine: Vec<(usize, &Told)> = granting.iter().copied().filter(|(_, told)| told.applies).collect();
    if granting.is_empty() {
        return none("no permission of this type allows it; only administrators may");
    }
    if mine.is_empty() {
        let roles: Vec<&str> = granting.iter().map(|(_, told)| told.role.as_str()).collect();
        return none(&format!("none of the user's roles allows it; {} would", roles.join(", ")));
    }
    let holding: Vec<(usize, &Told)> =
        mine.iter().copied().filter(|(_, told)| told.holds.unwrap_or(true)).collect();
    let documents = |told: &[(usize, &Told)]| {
        told.iter()
            .map(|(_, told)| format!("{}: {}", told.role, told.documents))
            .collect::<Vec<_>>()
            .join("; ")
    };
    if holding.is_empty() {
        return none(&format!("the user's permissions are not about this document; {}", documents(&mine)));
    }
    let about_one = holding.iter().any(|(_, told)| told.holds.is_some());
    let every = holding.iter().any(|(_, told)| told.documents == "every document");
    let allowed = if about_one || every { Extent::All } else { Extent::Some };
    Verdict { allowed, why: documents(&holding), by: holding.iter().map(|(n, _)| *n).collect() }
}
