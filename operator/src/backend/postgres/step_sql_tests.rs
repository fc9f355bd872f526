use tenantry_crds::names::{AppName, DocTypeName};
use tenantry_migrations::layout::{ForeignKey, Index};

use super::*;
use crate::tenant::fixtures;

fn tenant() -> Identity {
    fixtures::desired(None).tenant
}

fn table() -> TableName {
    TableName::of(&AppName::new("crm").unwrap(), &DocTypeName::new("customer").unwrap())
}

fn column(name: &str) -> tenantry_migrations::layout::Column {
    let desired = fixtures::desired(Some(&fixtures::crm()));
    let layout = desired.tables().find(|layout| layout.table == table()).unwrap();
    layout.columns.iter().find(|column| column.name == name).unwrap().clone()
}

fn sql(step: &Step) -> Vec<String> {
    step.statements(&tenant()).into_iter().map(|statement| statement.sql).collect()
}

#[test]
fn an_index_is_built_beside_the_traffic_after_what_was_left_of_it() {
    let index = Index {
        name: RelationName::of(&table(), "email", RelationKind::Unique),
        column: "email".into(),
        unique: true,
    };
    let step = Step::BuildIndex { table: table(), index, leftover: true };
    assert_eq!(
        sql(&step),
        [
            r#"DROP INDEX CONCURRENTLY IF EXISTS "tenant_acme"."crm_customer-email-key""#,
            r#"CREATE UNIQUE INDEX CONCURRENTLY "crm_customer-email-key" ON "tenant_acme"."crm_customer" ("email")"#,
        ]
    );
    assert!(step.statements(&tenant()).iter().all(|statement| statement.pace == Pace::Beside));
    assert!(step.probe(&tenant()).unwrap().sql.contains("GROUP BY \"email\" HAVING"));
}

#[test]
fn a_required_column_is_looked_at_before_it_is_locked() {
    let step = Step::Require(table(), column("name"));
    let paces: Vec<Pace> = step.statements(&tenant()).iter().map(|statement| statement.pace).collect();
    assert_eq!(paces, [Pace::Brief, Pace::Beside, Pace::Brief]);
    let sql = sql(&step);
    assert!(
        sql[0]
            .ends_with(r#"ADD CONSTRAINT "crm_customer-name-required" CHECK ("name" IS NOT NULL) NOT VALID"#)
    );
    assert!(sql[1].ends_with(r#"VALIDATE CONSTRAINT "crm_customer-name-required""#));
    assert!(sql[2].contains(r#"ALTER COLUMN "name" SET NOT NULL; ALTER TABLE"#));
}

#[test]
fn a_reference_and_a_check_look_at_old_rows_beside_the_traffic() {
    let key = ForeignKey {
        name: RelationName::of(&table(), "boss", RelationKind::ForeignKey),
        column: "boss".into(),
        target: table(),
        on_delete: Default::default(),
    };
    let step = Step::Reference { table: table(), key: key.clone(), in_place: false, replaces: false };
    assert!(
        sql(&step)[0]
            .ends_with(r#"FOREIGN KEY ("boss") REFERENCES "tenant_acme"."crm_customer" (id) NOT VALID"#)
    );
    let kept = Step::Reference { table: table(), key: key.clone(), in_place: true, replaces: false };
    assert_eq!(sql(&kept).len(), 1);
    let key = ForeignKey { on_delete: tenantry_crds::v1alpha1::OnDelete::Cascade, ..key };
    let replaced = sql(&Step::Reference { table: table(), key, in_place: false, replaces: true });
    assert!(replaced[0].contains("DROP CONSTRAINT \"crm_customer-boss-fk\", ADD CONSTRAINT"), "{replaced:?}");
    assert!(replaced[0].ends_with("(id) ON DELETE CASCADE NOT VALID"), "{replaced:?}");
    let check = sql(&Step::Check(table(), column("status")));
    assert!(check[0].contains("DROP CONSTRAINT IF EXISTS") && check[0].ends_with("NOT VALID"), "{check:?}");
}

#[test]
fn a_misfit_is_a_value_that_would_be_lost() {
    use SqlType::{Integer, Numeric, Text, Uuid};
    assert_eq!(
        misfit("\"n\"", Numeric { precision: 18, scale: 2 }, Numeric { precision: 10, scale: 1 }),
        "\"n\" IS NOT NULL AND (\"n\"::numeric <> pg_catalog.round(\"n\"::numeric, 1) \
         OR pg_catalog.abs(\"n\"::numeric) >= 1e9)"
    );
    assert!(misfit("n", SqlType::BigInt, Integer).contains("NOT BETWEEN -2147483648 AND 2147483647"));
    assert!(misfit("n", Text, Integer).contains("CASE WHEN pg_catalog.pg_input_is_valid(n, 'numeric')"));
    assert_eq!(
        misfit("n", Text, Uuid),
        "n IS NOT NULL AND NOT pg_catalog.pg_input_is_valid(n::text, 'uuid')"
    );
}
