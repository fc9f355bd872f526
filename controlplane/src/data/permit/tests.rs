use serde_json::{Map, Value, json};
use tenantry_crds::v1alpha1::Action;

use super::*;
use crate::{auth::Caller, data::model::Catalog, fixture};

const SPEC: &str = "
version: 1.0.0
roles: [{name: sales}, {name: clerk}, {name: agent}, {name: intern}]
docTypes:
  - name: lead
    fields:
      - {name: region, type: String}
      - {name: stage, type: Enum, values: [open, won, lost]}
      - {name: owner, type: Reference, to: core.user}
      - {name: value, type: Decimal, precision: 30, scale: 2}
      - {name: due, type: DateTime}
      - {name: secret, type: Secret}
    permissions:
      - {role: sales, allow: [Read, Update]}
      - {role: clerk, allow: [Read, Update], match: {region: north, stage: open}}
      - {role: owner, allow: [Read, Delete]}
      - role: agent
        allow: [Read, Create]
        where:
          - any:
              - {field: owner, value: '@user'}
              - all: [{field: region, op: In, value: '@claims.regions'}, {field: stage, op: Neq, value: lost}]
          - {field: due, op: Gt, value: '@now'}
      - {role: intern, allow: [Read, Update], readable: [region], writable: [stage]}
  - name: note
    softDelete: true
    ttl: {field: until, seconds: 60}
    fields: [{name: until, type: DateTime}]
    permissions: [{role: sales, allow: [Read, Create]}]
";

struct World(Catalog);

impl World {
    fn new() -> Self {
        let core = std::sync::Arc::new(tenantry_crds::core_app::definition().unwrap());
        Self(Catalog::compile(&[core, fixture::app("crm", SPEC)]))
    }

    fn rights<'a>(&'a self, plural: &str, caller: &'a Caller) -> Rights<'a> {
        Rights::of(self.0.doc_type("crm", plural).unwrap(), caller)
    }
}

fn caller(roles: &[&str]) -> Caller {
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    Caller::new("00000000-0000-7000-8000-00000000000a", &roles)
}

fn document(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn meets(allowed: &Allowed, value: Value) -> bool {
    match allowed {
        Allowed::All => true,
        Allowed::Denied => false,
        Allowed::Rows(condition) => condition.holds(&document(value)),
    }
}

#[test]
fn permissions_add_up_and_nothing_is_given_by_default() {
    let world = World::new();
    let may = |roles: &[&str], action| world.rights("leads", &caller(roles)).allowed(action);
    assert_eq!(may(&["crm:sales"], Action::Read), Allowed::All);
    assert_eq!(may(&["crm:sales"], Action::Create), Allowed::Denied);
    assert_eq!(may(&["hr:sales"], Action::Update), Allowed::Denied);
    assert_eq!(may(&["admin"], Action::Create), Allowed::All);
    let clerk = may(&["crm:clerk"], Action::Read);
    assert!(meets(&clerk, json!({"region": "north", "stage": "open"})));
    assert!(meets(&clerk, json!({"created_by": "00000000-0000-7000-8000-00000000000a"})), "the owner's");
    assert!(!meets(&clerk, json!({"region": "north", "stage": "won"})));
    assert!(!meets(&may(&[], Action::Delete), json!({"created_by": "bob"})));
}

#[test]
fn rules_look_at_the_caller_the_moment_and_claims() {
    let world = World::new();
    let claims = document(json!({"regions": ["north", "east"]}));
    let agent = caller(&["crm:agent"]).with_claims(claims);
    let may = world.rights("leads", &agent).allowed(Action::Create);
    let later = "2999-01-01T00:00:00Z";
    assert!(meets(&may, json!({"owner": "00000000-0000-7000-8000-00000000000a", "due": later})));
    assert!(meets(&may, json!({"region": "east", "stage": "won", "due": later})));
    for no in [
        json!({"region": "east", "stage": "lost", "due": later}),
        json!({"region": "west", "stage": "won", "due": later}),
        json!({"region": "east", "due": later}),
        json!({"region": "east", "stage": "won", "due": "2000-01-01T00:00:00Z"}),
        json!({"region": "east", "stage": "won"}),
    ] {
        assert!(!meets(&may, no.clone()), "{no}");
    }
    // Without the claim only what is the agent's own is left; a user whose id is no UUID owns nothing.
    let plain = Caller::new("ann", &["crm:agent".to_owned()]);
    assert_eq!(world.rights("leads", &plain).allowed(Action::Create), Allowed::Denied);
}

#[test]
fn fields_are_those_of_the_permissions_that_reach_the_document() {
    let world = World::new();
    let (intern, both) = (caller(&["crm:intern"]), caller(&["crm:intern", "crm:sales"]));
    let place = |rights: &Rights<'_>, name: &str| rights.doc().column(name).unwrap().0;
    let rights = world.rights("leads", &intern);
    assert_eq!(rights.visible(place(&rights, "region")), Visible::Yes);
    let Visible::Where(own) = rights.visible(place(&rights, "value")) else {
        panic!("seen of one's own only")
    };
    assert!(own.holds(&document(json!({"created_by": "00000000-0000-7000-8000-00000000000a"}))));
    assert!(!own.holds(&document(json!({"created_by": "bob"}))));
    assert!(rights.selectable("value").is_ok());
    assert!(rights.comparable("value").unwrap_err().contains("some documents only"));
    assert!(rights.comparable("secret").unwrap_err().contains("no field"));
    assert_eq!(rights.writes(Action::Update, [place(&rights, "stage")]), Ok(Condition::Always));
    assert_eq!(rights.writes(Action::Update, [place(&rights, "value")]), Err(vec![place(&rights, "value")]));
    let rights = world.rights("leads", &both);
    assert!(rights.comparable("value").is_ok(), "sales reads all of it");
    assert_eq!(rights.writes(Action::Update, [place(&rights, "value")]), Ok(Condition::Always));
}

#[test]
fn a_field_needs_a_permission_that_holds_for_the_document() {
    let world = World::new();
    let clerk = caller(&["crm:clerk", "crm:intern"]);
    let rights = world.rights("leads", &clerk);
    let (region, stage) = (rights.doc().column("region").unwrap().0, rights.doc().column("stage").unwrap().0);
    assert_eq!(rights.writes(Action::Update, [stage]), Ok(Condition::Always), "the intern's");
    let Ok(condition) = rights.writes(Action::Update, [stage, region]) else { panic!() };
    assert!(condition.holds(&document(json!({"region": "north", "stage": "open"}))), "the clerk's");
    assert!(!condition.holds(&document(json!({"region": "south", "stage": "open"}))));
}

#[test]
fn what_is_deleted_or_past_its_time_is_not_there() {
    let world = World::new();
    for roles in [&["crm:sales"][..], &["admin"]] {
        let sales = caller(roles);
        let rights = world.rights("notes", &sales);
        let read = rights.allowed(Action::Read);
        assert!(
            meets(&read, json!({"until": null})) && meets(&read, json!({"until": "2999-01-01T00:00:00Z"}))
        );
        assert!(!meets(&read, json!({"until": "2000-01-01T00:00:00Z"})));
        assert!(!meets(&read, json!({"deleted_at": "2000-01-01T00:00:00Z"})));
        assert_eq!(rights.allowed(Action::Create), Allowed::All);
    }
}

#[test]
fn decimals_are_compared_digit_by_digit() {
    let world = World::new();
    let admin = caller(&["admin"]);
    let rights = world.rights("leads", &admin);
    let (place, column) = rights.doc().column("value").unwrap();
    let tested = |operator, value: &str| {
        let column = Tested::of(place, column);
        Condition::Test(Test { column, operator, values: vec![value.to_owned()] })
    };
    use tenantry_crds::v1alpha1::Operator::{Eq, Gt, Lt};
    for (operator, value, of) in [
        (Eq, "12.5", "12.50"),
        (Gt, "9999999999999999999999999999.98", "9999999999999999999999999999.99"),
        (Lt, "-1.5", "-1.51"),
        (Eq, "0", "-0.00"),
        (Gt, "-3", "0.01"),
    ] {
        assert!(tested(operator, value).holds(&document(json!({"value": of}))), "{of} {operator:?} {value}");
    }
}
