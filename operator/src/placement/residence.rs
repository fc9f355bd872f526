//! What of the manifest, the status and the registry decides where a tenant is. Pure.
//!
//! A row in a registry is a fact, the status is what an earlier pass decided, the manifest is what somebody asks for; in this
//! order. What none of them says is left to the choice by free capacity.

use tenantry_crds::{names::InstanceName, reason::Reason, v1alpha1::PlacementSpec};
use uuid::Uuid;

use super::directory::Resident;
use crate::error::Error;

/// Everything that is known of where a tenant is.
#[derive(Debug)]
pub struct Known<'a> {
    /// The tenant's uid.
    pub uid: Uuid,
    /// `spec.placement`.
    pub spec: &'a PlacementSpec,
    /// The manifest was never changed since it was made.
    pub first_generation: bool,
    /// `status.placement`.
    pub status: Option<&'a PlacementSpec>,
    /// Instances that hold the name.
    pub residents: &'a [Resident],
    /// Instances that could not be read yet, so they may hold it, too.
    pub unread: &'a [InstanceName],
}

/// The instances that are decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decided {
    /// The Postgres instance.
    pub postgres: Option<InstanceName>,
    /// The Redis instance.
    pub redis: Option<InstanceName>,
    /// The search instance.
    pub search: Option<InstanceName>,
}

/// What is decided.
///
/// # Errors
/// PlacementImmutable when the manifest asks for another place; [`Error::Waiting`] while an instance that may hold the tenant
/// could not be read: a tenant must never be made twice.
pub fn decided(known: &Known<'_>) -> Result<Decided, Error> {
    let resident = resident(known)?;
    let nothing = PlacementSpec::default();
    let status = known.status.unwrap_or(&nothing);
    let place = |field: &str, row: Option<&InstanceName>, status: &Option<String>, spec: &Option<String>| {
        let spec = spec.as_deref().map(InstanceName::new).transpose()?;
        let was = match row {
            Some(row) => Some(row.clone()),
            None => status.as_deref().map(InstanceName::new).transpose()?,
        };
        match (was, spec) {
            (Some(was), Some(spec)) if was != spec => Err(moved(field, &was, &spec)),
            (was, spec) => Ok(was.or(spec)),
        }
    };
    let row = resident.map(|resident| &resident.placement);
    let postgres = place("postgres", row.map(|row| &row.postgres), &status.postgres, &known.spec.postgres)?;
    let was_placed = row.is_some() || status.postgres.is_some();
    // A manifest that was changed may have been made for another instance, by a pass that could not say so any more.
    let asked_from_the_start = known.spec.postgres.is_some() && known.first_generation;
    if !was_placed && !asked_from_the_start && !known.unread.is_empty() {
        return Err(Error::waiting(
            Reason::BackendUnavailable,
            format!(
                "Postgres instance {} has not answered since this operator leads, and may hold the tenant already; \
                 it is not placed before that is known",
                names(known.unread)
            ),
        ));
    }
    Ok(Decided {
        postgres,
        redis: place("redis", row.map(|row| &row.redis), &status.redis, &known.spec.redis)?,
        search: place("search", row.map(|row| &row.search), &status.search, &known.spec.search)?,
    })
}

/// The instance that holds the name; of several, the one that holds it for this very object.
fn resident<'a>(known: &Known<'a>) -> Result<Option<&'a Resident>, Error> {
    let ours = || known.residents.iter().filter(|resident| resident.uid == known.uid);
    match known.residents {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        [one, other, ..] => match (ours().next(), ours().nth(1)) {
            (Some(ours), None) => Ok(Some(ours)),
            _ => Err(Error::blocked(
                Reason::NameConflict,
                format!(
                    "the Postgres instances {} and {} both hold a tenant of this name; remove one of them",
                    one.placement.postgres, other.placement.postgres
                ),
            )),
        },
    }
}

fn moved(field: &str, was: &InstanceName, asked: &InstanceName) -> Error {
    Error::blocked(
        Reason::PlacementImmutable,
        format!(
            "spec.placement.{field} asks for {asked}, but the tenant is in {was} and cannot be moved in this release; \
             set it to {was}"
        ),
    )
}

/// `east` or `east, west`.
pub fn names(instances: &[InstanceName]) -> String {
    instances.iter().map(InstanceName::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use tenantry_migrations::registry::Placement;

    use super::*;

    const UID: Uuid = Uuid::from_u128(1);

    fn name(name: &str) -> InstanceName {
        InstanceName::new(name).unwrap()
    }

    fn at(postgres: &str) -> PlacementSpec {
        PlacementSpec { postgres: Some(postgres.into()), ..PlacementSpec::default() }
    }

    fn resident(uid: Uuid, postgres: &str) -> Resident {
        let placement = Placement { postgres: name(postgres), redis: name("fast"), ..Placement::default() };
        Resident { uid, placement }
    }

    struct Case {
        spec: PlacementSpec,
        edited: bool,
        status: Option<PlacementSpec>,
        residents: Vec<Resident>,
        unread: Vec<InstanceName>,
    }

    fn new_tenant() -> Case {
        Case {
            spec: PlacementSpec::default(),
            edited: false,
            status: None,
            residents: vec![],
            unread: vec![],
        }
    }

    fn postgres(case: &Case) -> Result<Option<String>, Reason> {
        let known = Known {
            uid: UID,
            spec: &case.spec,
            first_generation: !case.edited,
            status: case.status.as_ref(),
            residents: &case.residents,
            unread: &case.unread,
        };
        let found = decided(&known).map_err(|error| error.reason())?;
        Ok(found.postgres.map(|name| name.as_str().to_owned()))
    }

    fn found(place: &str) -> Result<Option<String>, Reason> {
        Ok(Some(place.to_owned()))
    }

    #[test]
    fn the_row_decides_then_the_status_then_the_manifest() {
        assert_eq!(postgres(&new_tenant()), Ok(None));
        assert_eq!(postgres(&Case { spec: at("east"), ..new_tenant() }), found("east"));
        assert_eq!(postgres(&Case { status: Some(at("west")), ..new_tenant() }), found("west"));
        let row = vec![resident(UID, "east")];
        let lost_status = Case { residents: row.clone(), ..new_tenant() };
        assert_eq!(postgres(&lost_status), found("east"));
        let other_status = Case { status: Some(at("west")), residents: row, ..new_tenant() };
        assert_eq!(postgres(&other_status), found("east"));
    }

    #[test]
    fn a_tenant_is_not_moved() {
        let asks = Case { spec: at("west"), edited: true, ..new_tenant() };
        let by_row = Case { residents: vec![resident(UID, "east")], ..asks };
        assert_eq!(postgres(&by_row), Err(Reason::PlacementImmutable));
        let by_status = Case { residents: vec![], status: Some(at("east")), ..by_row };
        assert_eq!(postgres(&by_status), Err(Reason::PlacementImmutable));
    }

    #[test]
    fn whoever_may_live_in_an_unread_instance_waits() {
        let unread = || vec![name("west")];
        let waits = Err(Reason::BackendUnavailable);
        assert_eq!(postgres(&Case { unread: unread(), ..new_tenant() }), waits);
        let edited = Case { spec: at("east"), edited: true, unread: unread(), ..new_tenant() };
        assert_eq!(postgres(&edited), waits);
        assert_eq!(postgres(&Case { edited: false, ..edited }), found("east"));
        let placed = Case { status: Some(at("east")), unread: unread(), ..new_tenant() };
        assert_eq!(postgres(&placed), found("east"));
        let row = Case { residents: vec![resident(UID, "east")], unread: unread(), ..new_tenant() };
        assert_eq!(postgres(&row), found("east"));
    }

    #[test]
    fn data_of_an_earlier_tenant_keeps_its_name_where_it_is() {
        let other = resident(Uuid::from_u128(2), "east");
        assert_eq!(postgres(&Case { residents: vec![other.clone()], ..new_tenant() }), found("east"));
        let both = vec![other.clone(), resident(UID, "west")];
        assert_eq!(postgres(&Case { residents: both, ..new_tenant() }), found("west"));
        let none = vec![other, resident(Uuid::from_u128(3), "west")];
        assert_eq!(postgres(&Case { residents: none, ..new_tenant() }), Err(Reason::NameConflict));
    }
}
