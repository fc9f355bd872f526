//! The permissions of a type, compiled for a set of roles.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use tenantry_crds::{
    definition::{Permission, Subject, Ttl},
    names::AppName,
    v1alpha1::{Action, Operator},
};

use super::condition::{Condition, Operand, Test, Tested};
use crate::{auth::Caller, data::model::ColumnModel};

/// Permissions of a type at most; the CRD's bound is below.
const MAX_GRANTS: usize = 32;
/// Sets of roles whose rights are kept; others are compiled each time.
const MAX_KEPT: usize = 512;

type Rule = Condition<Operand>;

/// The permissions of a document type.
#[derive(Debug, Default)]
pub struct Grants {
    app: Option<AppName>,
    grants: Vec<Grant>,
    /// What holds for a document that is there at all: it is not deleted, and its time has not come.
    standing: Rule,
    columns: Vec<Readable>,
    compiled: RwLock<HashMap<Holder, Arc<RoleRights>>>,
}

#[derive(Debug)]
struct Grant {
    subject: Subject,
    allow: Vec<Action>,
    rule: Rule,
    readable: Option<HashSet<usize>>,
    writable: Option<HashSet<usize>>,
}

/// What permissions can say of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readable {
    /// It is the platform's, and part of every document.
    Always,
    /// No answer shows it.
    Never,
    /// As permissions say.
    Granted,
}

/// Whose rights: those of the permissions with these places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    Admin,
    Of(u32),
}

/// What a set of roles may do.
#[derive(Debug)]
pub(super) struct RoleRights {
    /// By action: which documents. What is standing is left out.
    pub rows: HashMap<Action, Rule>,
    /// What holds for a document that is there at all.
    pub standing: Rule,
    /// By column, among the documents that may be read: those whose column may be.
    pub readable: Vec<Rule>,
    /// By action and column: the documents whose column may be set.
    pub writable: HashMap<Action, Vec<Rule>>,
}

impl Grants {
    /// Compiles `permissions` over `columns`.
    pub fn compile(
        app: &AppName,
        permissions: &[Permission],
        columns: &[ColumnModel],
        soft_delete: Option<&str>,
        ttl: Option<&Ttl>,
    ) -> Self {
        let tested: HashMap<&str, Arc<Tested>> =
            columns.iter().enumerate().map(|(n, c)| (c.name.as_str(), Tested::of(n, c))).collect();
        let places = |names: &Option<std::collections::BTreeSet<String>>| {
            names.as_ref().map(|names| {
                let is_named = |column: &ColumnModel| names.contains(&column.name);
                columns.iter().enumerate().filter(|(_, c)| is_named(c)).map(|(n, _)| n).collect()
            })
        };
        if permissions.len() > MAX_GRANTS {
            tracing::error!(%app, "a document type has more permissions than can be told apart; the last ones give nothing");
        }
        let grants = permissions.iter().take(MAX_GRANTS).map(|permission| Grant {
            subject: permission.subject.clone(),
            allow: permission.allow.clone(),
            rule: Rule::compile(&permission.rule, &|name| tested.get(name).cloned()),
            readable: places(&permission.readable),
            writable: places(&permission.writable),
        });
        let test = |name: &str, operator, values| {
            let column = tested.get(name).cloned();
            column.map_or(Rule::Never, |column| Rule::Test(Test { column, operator, values }))
        };
        let kept = soft_delete.map(|name| test(name, Operator::IsNull, Vec::new()));
        let fresh = ttl.map(|ttl| {
            let until = test(&ttl.column, Operator::Gt, vec![Operand::Ago(ttl.seconds)]);
            let always = columns.iter().any(|column| column.name == ttl.column && column.not_null);
            let unset = if always { Rule::Never } else { test(&ttl.column, Operator::IsNull, Vec::new()) };
            Rule::any([unset, until])
        });
        let columns = columns.iter().map(|column| match column.field() {
            None if column.name != "extra" => Readable::Always,
            None => Readable::Granted,
            Some(field) if field.write_only => Readable::Never,
            Some(_) => Readable::Granted,
        });
        Self {
            app: Some(app.clone()),
            standing: Rule::all(kept.into_iter().chain(fresh)),
            columns: columns.collect(),
            grants: grants.collect(),
            compiled: RwLock::default(),
        }
    }

    /// What `caller` may do.
    pub(super) fn of(&self, caller: &Caller) -> Arc<RoleRights> {
        let holder = self.holder(caller);
        let known = self.compiled.read().unwrap_or_else(PoisonError::into_inner).get(&holder).cloned();
        known.unwrap_or_else(|| {
            let rights = Arc::new(self.rights(holder));
            let mut compiled = self.compiled.write().unwrap_or_else(PoisonError::into_inner);
            if compiled.len() < MAX_KEPT {
                compiled.insert(holder, Arc::clone(&rights));
            }
            rights
        })
    }

    fn holder(&self, caller: &Caller) -> Holder {
        if caller.admin {
            return Holder::Admin;
        }
        let places = self.grants.iter().enumerate().filter(|(_, grant)| self.applies(&grant.subject, caller));
        Holder::Of(places.fold(0, |places, (n, _)| places | (1 << n)))
    }

    fn applies(&self, subject: &Subject, caller: &Caller) -> bool {
        match subject {
            // Whom nothing is denied anyway.
            Subject::Admin => false,
            // Nobody in particular owns nothing: all who have not signed in would share it.
            Subject::Owner => !caller.anonymous,
            Subject::Role(role) => self.app.as_ref().is_some_and(|app| caller.has_role(app, role.as_str())),
        }
    }

    /// Of each permission, by its place in the definition: whether it is one of the caller's, and the documents that it is about.
    pub(super) fn each(&self, caller: &Caller) -> impl Iterator<Item = (bool, &Rule)> {
        self.grants.iter().map(|grant| (self.applies(&grant.subject, caller), &grant.rule))
    }

    fn rights(&self, holder: Holder) -> RoleRights {
        let held = |n: usize| matches!(holder, Holder::Of(places) if places & (1 << n) != 0);
        let of = |action: Action| {
            let grants = self.grants.iter().enumerate();
            grants.filter(move |(n, grant)| held(*n) && grant.allow.contains(&action)).map(|(_, grant)| grant)
        };
        let union = |action: Action, has: &dyn Fn(&Grant) -> bool| match holder {
            Holder::Admin => Rule::Always,
            Holder::Of(_) => Rule::any(of(action).filter(|grant| has(grant)).map(|grant| grant.rule.clone())),
        };
        let actions = [Action::Read, Action::Create, Action::Update, Action::Delete];
        let rows: HashMap<Action, Rule> =
            actions.into_iter().map(|action| (action, union(action, &|_| true))).collect();
        let listed =
            |names: &Option<HashSet<usize>>, n| names.as_ref().is_none_or(|names| names.contains(&n));
        let readable = self.columns.iter().enumerate().map(|(n, readable)| match readable {
            Readable::Always => Rule::Always,
            Readable::Never => Rule::Never,
            Readable::Granted => {
                let rule = union(Action::Read, &|grant| listed(&grant.readable, n));
                // Wherever the document may be read, so may the column.
                if Some(&rule) == rows.get(&Action::Read) && rule != Rule::Never {
                    Rule::Always
                } else {
                    rule
                }
            }
        });
        let writable = [Action::Create, Action::Update].into_iter().map(|action| {
            let columns = 0..self.columns.len();
            (action, columns.map(|n| union(action, &|grant| listed(&grant.writable, n))).collect())
        });
        RoleRights {
            readable: readable.collect(),
            writable: writable.collect(),
            standing: self.standing.clone(),
            rows,
        }
    }
}
