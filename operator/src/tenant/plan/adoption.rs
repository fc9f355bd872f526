//! Taking over what a deleted Tenant of the same name left behind.

use uuid::Uuid;

use crate::backend::postgres::{
    change::{Changes, Identity, ObjectChange, RoleChange, RowChange},
    observe::{Observed, ObservedRole},
};

/// What makes the retained data of this name the tenant's, all in one transaction; nothing unless every part of it bears the
/// mark of one deleted Tenant.
pub fn adoption(tenant: &Identity, observed: &Observed) -> Option<Changes> {
    let kept = kept_of(tenant, observed)?;
    let mut changes = Changes { roles: vec![RoleChange::Adopt], ..Changes::default() };
    let shard = observed.shard()?;
    if !super::provisioner_may_own(observed, shard) {
        changes.roles.push(RoleChange::AllowProvisioner);
    }
    changes.objects.push(ObjectChange::MarkSchema { retained: false });
    if observed.record.is_some() {
        changes.rows.push(RowChange::Adopt(kept));
    }
    Some(changes)
}

/// The uid of the Tenant whose data it is.
fn kept_of(tenant: &Identity, observed: &Observed) -> Option<Uuid> {
    let schema = observed.schema.as_ref()?;
    let mark = schema.mark().filter(|mark| mark.retained && mark.uid != tenant.uid)?;
    let same = |role: &Option<ObservedRole>| {
        role.as_ref().is_some_and(|role| role.mark() == Some(mark) && role.provisioner().is_some())
    };
    let record = observed.record.as_ref();
    let recorded = record.is_none_or(|record| record.uid == mark.uid && record.state == "Retained");
    let whole = schema.owner == tenant.owner.as_str() && same(&observed.owner) && same(&observed.role);
    (whole && recorded).then_some(mark.uid)
}

#[cfg(test)]
mod tests {
    use tenantry_crds::names::TenantName;
    use tenantry_migrations::mark::OwnershipMark;

    use super::*;
    use crate::tenant::fixtures::{crm, desired, in_place, uid};

    fn successor() -> Identity {
        Identity::new(TenantName::new("acme").unwrap(), Uuid::from_u128(9))
    }

    fn retained() -> Observed {
        let mut observed = in_place(&desired(Some(&crm())));
        let comment = Some(OwnershipMark { uid: uid(), retained: true }.to_string());
        observed.schema.as_mut().unwrap().comment.clone_from(&comment);
        observed.owner.as_mut().unwrap().comment.clone_from(&comment);
        observed.role.as_mut().unwrap().comment = comment;
        observed.record.as_mut().unwrap().state = "Retained".into();
        observed
    }

    #[test]
    fn retained_data_changes_hands_in_one_transaction() {
        let changes = adoption(&successor(), &retained()).unwrap();
        assert_eq!(changes.roles, [RoleChange::Adopt]);
        assert_eq!(changes.objects, [ObjectChange::MarkSchema { retained: false }]);
        assert_eq!(changes.rows, [RowChange::Adopt(uid())]);
    }

    #[test]
    fn a_lost_registry_row_is_made_again_by_the_pass() {
        let observed = Observed { record: None, ..retained() };
        assert!(adoption(&successor(), &observed).unwrap().rows.is_empty());
    }

    #[test]
    fn live_foreign_or_mixed_objects_are_never_taken_over() {
        let live = in_place(&desired(Some(&crm())));
        assert_eq!(adoption(&successor(), &live), None, "another Tenant's");
        assert_eq!(adoption(&desired(None).tenant, &live), None, "one's own");
        assert_eq!(adoption(&successor(), &Observed::default()), None, "nothing");
        let with = |change: fn(&mut Observed)| {
            let mut observed = retained();
            change(&mut observed);
            adoption(&successor(), &observed)
        };
        assert_eq!(with(|o| o.schema.as_mut().unwrap().comment = None), None);
        assert_eq!(with(|o| o.role.as_mut().unwrap().comment = None), None);
        assert_eq!(with(|o| o.owner = None), None);
        assert_eq!(with(|o| o.schema.as_mut().unwrap().owner = "somebody".into()), None);
        assert_eq!(with(|o| o.record.as_mut().unwrap().state = "Active".into()), None);
        assert_eq!(with(|o| o.record.as_mut().unwrap().uid = Uuid::from_u128(3)), None);
        let mark = |o: &mut Observed| {
            let other = OwnershipMark { uid: Uuid::from_u128(3), retained: true }.to_string();
            o.owner.as_mut().unwrap().comment = Some(other);
        };
        assert_eq!(with(mark), None);
    }
}
