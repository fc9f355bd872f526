//! By which login the tenant is served: the shard's, or its own. Pure; ADR 30 has the reasons and the order.

use tenantry_crds::reason::Reason;
use tenantry_migrations::{logins::LoginShard, registry::Connections};

use super::{Around, Desired, expressions};
use crate::backend::postgres::{
    change::{Identity, RoleChange, RowChange},
    observe::{Observed, ObservedTraffic},
    step::Step,
};

/// Why a tenant has connections of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The manifest asks for it.
    Requested,
    /// An access may become the owner, or is about to.
    OwnerAccess,
    /// SQL of an app is to run, or may just have.
    AppSql,
    /// What was found that is none of ours, in words.
    Foreign(Vec<String>),
}

/// What is to be done about connections beside [`super::Changes`], when nothing else is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Turn {
    /// Nothing.
    #[default]
    Stay,
    /// Nothing can be code any more: once what may still run has ended and another look says the same, the shard's login gets the role.
    Share,
    /// Nobody asks by the own login any more: it goes.
    Retire,
}

impl Cause {
    /// The reason of the condition.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Requested => Reason::DedicatedRequested,
            Self::OwnerAccess => Reason::OwnerAccess,
            Self::AppSql => Reason::AppSql,
            Self::Foreign(_) => Reason::ForeignObjects,
        }
    }

    /// For people.
    pub fn message(&self) -> String {
        match self {
            Self::Requested => "spec.placement.connections asks for it".to_owned(),
            Self::OwnerAccess => "an access of level Owner may put code into the schema".to_owned(),
            Self::AppSql => "SQL of an app is about to run, or just did".to_owned(),
            Self::Foreign(found) => {
                let more = if found.len() > SHOWN { ", and more" } else { "" };
                let shown = found.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
                format!(
                    "the schema has what no definition makes: {shown}{more}; drop it to share connections again"
                )
            }
        }
    }
}

/// Things named in a message.
const SHOWN: usize = 5;

/// Why the tenant is to have connections of its own: nothing for one that shares.
pub fn causes(desired: &Desired, observed: &Observed, steps: &[Step]) -> Vec<Cause> {
    let foreign = foreign(observed);
    let found = [
        (desired.dedicated, Cause::Requested),
        (desired.owner_access || has_owner_access(&desired.tenant, observed), Cause::OwnerAccess),
        (runs_sql(observed, steps), Cause::AppSql),
        (!foreign.is_empty(), Cause::Foreign(foreign)),
    ];
    found.into_iter().filter(|(holds, _)| *holds).map(|(_, cause)| cause).collect()
}

/// Why the tenant has connections of its own now, as far as the registry says that it has.
pub fn standing(desired: &Desired, observed: &Observed) -> Vec<Cause> {
    let record = observed.record.as_ref();
    if record.is_none_or(|record| Connections::of(&record.connections) == Connections::Shared) {
        return Vec::new();
    }
    let causes = causes(desired, observed, &[]);
    if causes.is_empty() { vec![Cause::AppSql] } else { causes }
}

/// Whether something of the tenant may be evaluated that we did not make: then no session that can become somebody else touches its relations.
pub fn may_hold_code(tenant: &Identity, observed: &Observed) -> bool {
    let shares =
        observed.record.as_ref().is_some_and(|r| Connections::of(&r.connections) == Connections::Shared);
    observed.schema.is_some()
        && (!shares
            || has_owner_access(tenant, observed)
            || runs_sql(observed, &[])
            || !foreign(observed).is_empty())
}

/// What was found that is none of ours: objects, and expressions of no shape that a definition makes.
fn foreign(observed: &Observed) -> Vec<String> {
    let expressions = observed.tables.iter().flat_map(|(table, have)| {
        let defaults = have.columns.iter().filter_map(move |(column, found)| {
            let ours = found.default.as_deref().is_none_or(expressions::is_our_default);
            (!ours).then(|| format!("default of {table}.{column}"))
        });
        let checks = have.constraints.iter().filter_map(move |(name, text)| {
            let ours = !text.starts_with("CHECK") || expressions::is_our_check(text);
            (!ours).then(|| format!("constraint {name} of {table}"))
        });
        defaults.chain(checks)
    });
    observed.foreign.iter().cloned().chain(expressions).collect()
}

fn has_owner_access(tenant: &Identity, observed: &Observed) -> bool {
    let is_ours = |name: &str| LoginShard::of_provisioner(name).is_some() || name == tenant.migrator.as_str();
    let members = observed.owner.iter().flat_map(|owner| &owner.members);
    members.into_iter().any(|member| member.set && !is_ours(&member.name))
}

/// A migration that was begun may be at work, or a crash left it in the middle of something.
fn runs_sql(observed: &Observed, steps: &[Step]) -> bool {
    observed.migrations.iter().any(|migration| !migration.ended)
        || steps.iter().any(|step| matches!(step, Step::Migrate(..)))
}

/// Adds what has to change at once; yields what follows when all else is in place.
pub(super) fn changes(
    desired: &Desired,
    observed: &Observed,
    around: &Around,
    steps: &[Step],
    (shard, roles, rows): (LoginShard, &mut Vec<RoleChange>, &mut Vec<RowChange>),
) -> Turn {
    let is = observed.record.as_ref().map(|record| Connections::of(&record.connections));
    let lets_shard_in = observed.role.as_ref().is_some_and(|role| role.lets_in(shard.traffic().as_str()));
    if causes(desired, observed, steps).is_empty() {
        return match (is, observed.role.is_some()) {
            // What is made in this very transaction holds nothing.
            (_, false) => {
                roles.push(RoleChange::AllowTraffic(shard));
                Turn::Stay
            }
            (Some(Connections::Shared) | None, true) if lets_shard_in => match &observed.traffic {
                Some(traffic) if traffic.forgotten => Turn::Retire,
                Some(_) | None => Turn::Stay,
            },
            (_, true) => Turn::Share,
        };
    }
    let opens = !desired.suspended;
    let traffic = observed.traffic.as_ref();
    let in_place = !around.own_door_closed
        && traffic.is_some_and(|traffic| is_in_place(traffic, opens))
        && observed.role.as_ref().is_some_and(|role| role.lets_in(desired.tenant.traffic.as_str()))
        && !lets_shard_in;
    if !in_place {
        roles.push(RoleChange::Dedicate { shard, exists: traffic.is_some(), opens });
    }
    if is != Some(Connections::Dedicated) {
        rows.push(RowChange::PutConnections(Connections::Dedicated));
    }
    Turn::Stay
}

fn is_in_place(traffic: &ObservedTraffic, opens: bool) -> bool {
    traffic.opens == opens && !traffic.altered && traffic.role.groups.len() == GROUPS
}

/// The tenant's role and the group of those who may connect.
const GROUPS: usize = 2;

#[cfg(test)]
mod tests {
    use tenantry_migrations::mark::OwnershipMark;

    use super::*;
    use crate::{
        backend::postgres::observe::{Member, ObservedRole},
        tenant::fixtures::{SHARD, crm, desired, in_place},
    };

    fn planned(desired: &Desired, observed: &Observed) -> (Vec<RoleChange>, Vec<RowChange>, Turn) {
        let (mut roles, mut rows) = (Vec::new(), Vec::new());
        let turn = changes(desired, observed, &Around::default(), &[], (SHARD, &mut roles, &mut rows));
        (roles, rows, turn)
    }

    fn acme() -> (Desired, Observed) {
        let desired = desired(Some(&crm()));
        let observed = in_place(&desired);
        (desired, observed)
    }

    /// The same with connections of its own in place.
    fn dedicated() -> (Desired, Observed) {
        let (mut desired, mut observed) = acme();
        desired.dedicated = true;
        let role = observed.role.as_mut().unwrap();
        role.members.retain(|member| member.admin);
        role.members.push(Member { name: desired.tenant.traffic.to_string(), admin: false, set: true });
        let own = ObservedRole {
            comment: Some(OwnershipMark::of(desired.tenant.uid).to_string()),
            members: vec![Member { name: SHARD.provisioner().to_string(), admin: true, set: false }],
            groups: vec![desired.tenant.role.to_string(), "tenantry_migrators".into()],
        };
        observed.traffic = Some(ObservedTraffic { role: own, opens: true, altered: false, forgotten: false });
        observed.record.as_mut().unwrap().connections = "Dedicated".into();
        (desired, observed)
    }

    #[test]
    fn a_tenant_of_which_all_is_ours_shares() {
        let (desired, observed) = acme();
        assert_eq!(planned(&desired, &observed), (vec![], vec![], Turn::Stay));
        assert!(!may_hold_code(&desired.tenant, &observed));
    }

    /// What makes a tenant one that can hold code, and its name.
    type Way = (&'static str, fn(&mut Desired, &mut Observed));

    #[test]
    fn each_way_to_code_asks_for_connections_of_its_own() {
        let ways: [Way; 6] = [
            ("asked for", |desired, _| desired.dedicated = true),
            ("an owner to come", |desired, _| desired.owner_access = true),
            ("an owner that is there", |_, observed| {
                let member = Member { name: "tenant_acme-a1-access".into(), admin: false, set: true };
                observed.owner.as_mut().unwrap().members.push(member);
            }),
            ("an object", |_, observed| observed.foreign.push("function f()".into())),
            ("a default", |_, observed| {
                let customer = observed.tables.get_mut("crm_customer").unwrap();
                customer.columns.get_mut("extra").unwrap().default = Some("f()".into());
            }),
            ("a check", |_, observed| {
                let customer = observed.tables.get_mut("crm_customer").unwrap();
                customer.constraints.insert("evil".into(), "CHECK (f(name))".into());
            }),
        ];
        for (what, change) in ways {
            let (mut desired, mut observed) = acme();
            change(&mut desired, &mut observed);
            let (roles, rows, turn) = planned(&desired, &observed);
            assert_eq!(roles, [RoleChange::Dedicate { shard: SHARD, exists: false, opens: true }], "{what}");
            assert_eq!(rows, [RowChange::PutConnections(Connections::Dedicated)], "{what}");
            assert_eq!(turn, Turn::Stay, "{what}");
        }
    }

    #[test]
    fn what_is_in_place_stays_and_a_login_that_changed_itself_is_made_anew() {
        let (desired, observed) = dedicated();
        assert_eq!(planned(&desired, &observed), (vec![], vec![], Turn::Stay));
        assert!(may_hold_code(&desired.tenant, &observed));
        let anew = [RoleChange::Dedicate { shard: SHARD, exists: true, opens: true }];
        let mut altered = observed.clone();
        altered.traffic.as_mut().unwrap().altered = true;
        assert_eq!(planned(&desired, &altered).0, anew);
        let mut granted = observed;
        let shard = Member { name: SHARD.traffic().to_string(), admin: false, set: true };
        granted.role.as_mut().unwrap().members.push(shard);
        assert_eq!(planned(&desired, &granted).0, anew, "the shard's login has the role, too");
    }

    #[test]
    fn the_way_back_is_a_turn_of_its_own_and_the_login_goes_last() {
        let (mut desired, mut observed) = dedicated();
        desired.dedicated = false;
        assert_eq!(planned(&desired, &observed), (vec![], vec![], Turn::Share));
        observed.record.as_mut().unwrap().connections = "Shared".into();
        let shard = Member { name: SHARD.traffic().to_string(), admin: false, set: true };
        observed.role.as_mut().unwrap().members.push(shard);
        assert_eq!(planned(&desired, &observed).2, Turn::Stay, "replicas may still ask there");
        observed.traffic.as_mut().unwrap().forgotten = true;
        assert_eq!(planned(&desired, &observed).2, Turn::Retire);
    }

    #[test]
    fn a_suspended_tenant_keeps_its_login_closed() {
        let (mut desired, mut observed) = dedicated();
        desired.suspended = true;
        observed.traffic.as_mut().unwrap().opens = false;
        assert_eq!(planned(&desired, &observed).0, []);
        desired.suspended = false;
        assert_eq!(
            planned(&desired, &observed).0,
            [RoleChange::Dedicate { shard: SHARD, exists: true, opens: true }]
        );
    }
}
