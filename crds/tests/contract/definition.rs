//! Which definitions are accepted, and where the message points when one is refused.
//!
//! The operator compiles manifests that the API server let through, so each rule that CEL also has is checked here again.

use tenantry_crds::{
    definition::{AppDefinition, Comparison, FieldKind, Naming, Operand, RowRule, Subject},
    names::{AppName, DocTypeName},
    v1alpha1::{AppSpec, Operator},
};

fn compile(manifest: &str) -> Result<AppDefinition, Vec<String>> {
    let spec: AppSpec = serde_yaml::from_str(manifest).unwrap();
    AppDefinition::compile(&AppName::new("crm").unwrap(), &spec).map_err(|errors| {
        errors.0.into_iter().map(|error| format!("{}: {}", error.path, error.problem)).collect()
    })
}

/// A definition with one document type `thing` that has these fields.
fn fields(fields: &str) -> String {
    format!("{{version: 1.0.0, docTypes: [{{name: thing, fields: [{fields}]}}]}}")
}

/// A definition with one document type `thing` with these members.
fn thing(members: &str) -> String {
    format!("{{version: 1.0.0, roles: [{{name: sales}}], docTypes: [{{name: thing, {members}}}]}}")
}

/// A definition with a permission that has this condition.
fn ruled(condition: &str) -> String {
    thing(&format!(
        "permissions: [{{role: sales, allow: [Read], where: [{condition}]}}], fields: [{{name: n, type: Decimal}}, \
         {{name: s, type: Enum, values: [x, y]}}, {{name: u, type: Uuid}}, {{name: j, type: Json}}, {{name: d, type: DateTime}}]"
    ))
}

#[test]
fn rules_over_users_moments_and_claims_compile() {
    for condition in [
        "{field: n, op: In, value: [1, '2.50']}",
        "{field: s, op: NotIn, value: '@claims.hidden'}",
        "{field: u, value: '@user'}",
        "{field: d, op: Gt, value: '@now'}",
        "{field: created_at, op: Lte, value: '2026-01-01T00:00:00Z'}",
        "{any: [{field: created_by, value: '@user'}, {all: [{field: s, value: x}, {field: n, op: NotNull}]}]}",
    ] {
        let app = compile(&ruled(condition)).unwrap();
        assert!(!app.doc_types[0].permissions[0].rule.columns().is_empty(), "{condition}");
    }
}

#[test]
fn every_field_type_compiles() {
    let all = "{name: a, type: String, maxLength: 10, pattern: '[a-z]+', default: x, unique: true}, \
         {name: b, type: Text, maxLength: 5000}, {name: c, type: Integer, min: 1, max: 5, default: 3}, \
         {name: d, type: BigInt, default: 5000000000}, {name: e, type: Decimal, precision: 10, scale: 2, default: 9.5}, \
         {name: f, type: Float, default: 0.5}, {name: g, type: Boolean, default: false}, {name: h, type: Date}, \
         {name: i, type: DateTime, index: true}, {name: j, type: Time}, {name: k, type: Uuid, unique: true}, \
         {name: l, type: Email}, {name: m, type: Url}, {name: n, type: Enum, values: [x, y], default: y}, \
         {name: o, type: Json, default: {a: [1]}}, {name: p, type: Reference, to: thing}, \
         {name: r, type: List, fields: [{name: sku, type: String}], default: []}, {name: s, type: Secret}, \
         {name: t, type: File}, {name: u, type: Reference, to: core.user}";
    let app = compile(&fields(all)).unwrap();
    let thing = app.doc_type(&DocTypeName::new("thing").unwrap()).unwrap();
    assert_eq!(thing.fields.len(), 20);
    assert_eq!(thing.plural.as_str(), "things");
    assert_eq!(thing.field("l").unwrap().kind, FieldKind::Email { max_length: 254 });
    assert!(thing.field("s").unwrap().write_only, "a Secret is never shown, said or not");
    let targets: Vec<_> = app
        .references()
        .map(|(path, target)| format!("{path} = {}.{}", target.app, target.doc_type))
        .collect();
    assert_eq!(
        targets,
        [
            "spec.docTypes[thing].fields[p].to = crm.thing",
            "spec.docTypes[thing].fields[t].to = core.file",
            "spec.docTypes[thing].fields[u].to = core.user",
        ]
    );
}

#[test]
fn what_a_manifest_leaves_out_is_filled_in() {
    let app = compile(&thing("permissions: [{role: owner, allow: [Read]}]")).unwrap();
    assert_eq!(app.doc_types[0].naming, Naming::Uuid);
    let permission = &app.doc_types[0].permissions[0];
    assert_eq!(permission.subject, Subject::Owner);
    let own =
        Comparison { column: "created_by".into(), operator: Operator::Eq, operands: vec![Operand::User] };
    assert_eq!(permission.rule, RowRule::All(vec![RowRule::Compare(own)]), "whoever created the document");

    let app = compile("{version: 1.0.0, queues: [{name: default}]}").unwrap();
    let queue = &app.queues[0];
    assert_eq!((queue.max_attempts, queue.lease_seconds, queue.max_length), (5, 30, 10_000));
}

#[test]
fn a_refusal_points_at_the_field() {
    for (manifest, expected) in [
        // Names.
        (
            fields("{name: Name, type: String}"),
            "spec.docTypes[thing].fields[Name]: field name \"Name\" is not allowed",
        ),
        (
            fields("{name: id, type: String}"),
            "spec.docTypes[thing].fields[id]: field name \"id\" is not allowed",
        ),
        (
            fields("{name: a_, type: String}"),
            "spec.docTypes[thing].fields[a_]: field name \"a_\" is not allowed",
        ),
        (
            fields("{name: a, type: String}, {name: a, type: Text}"),
            "spec.docTypes[thing].fields[a]: the name is used twice",
        ),
        (thing("plural: Things"), "spec.docTypes[thing]: plural name \"Things\" is not allowed"),
        (
            "{version: 1.0.0, docTypes: [{name: Bad-Name}]}".into(),
            "spec.docTypes[Bad-Name]: document type name \"Bad-Name\" is not allowed",
        ),
        (
            "{version: 1.0.0, docTypes: [{name: a}, {name: a, plural: others}]}".into(),
            "spec.docTypes[a]: the name is used twice",
        ),
        (
            "{version: 1.0.0, docTypes: [{name: a}, {name: b, plural: as}]}".into(),
            "spec.docTypes[b]: plural: \"as\" is used twice",
        ),
        (
            "{version: 1.0.0, roles: [{name: Sales}]}".into(),
            "spec.roles[Sales]: role name \"Sales\" is not allowed",
        ),
        (
            "{version: 1.0.0, queues: [{name: a_b}]}".into(),
            "spec.queues[a_b]: queue name \"a_b\" is not allowed",
        ),
        (
            "{version: 1.0.0, requires: [{app: a-b}]}".into(),
            "spec.requires[a-b]: app name \"a-b\" is not allowed",
        ),
        // Kinds.
        (fields("{name: a, type: Enum}"), "spec.docTypes[thing].fields[a]: values: needed with type Enum"),
        (fields("{name: a, type: List}"), "spec.docTypes[thing].fields[a]: fields: needed with type List"),
        (
            fields("{name: a, type: Reference}"),
            "spec.docTypes[thing].fields[a]: to: needed with type Reference",
        ),
        (
            fields("{name: a, type: List, fields: [{name: b, type: Secret}]}"),
            "spec.docTypes[thing].fields[a].fields[b]: an item of a List cannot hold",
        ),
        (
            fields("{name: a, type: Decimal, precision: 2, scale: 3}"),
            "spec.docTypes[thing].fields[a]: scale must not be above precision",
        ),
        (
            fields("{name: a, type: Integer, min: 2, max: 1}"),
            "spec.docTypes[thing].fields[a]: min must not be above max",
        ),
        (
            fields("{name: a, type: Json, index: true}"),
            "spec.docTypes[thing].fields[a]: unique, index: not possible for type Json",
        ),
        (
            fields("{name: a, type: Text, unique: true}"),
            "spec.docTypes[thing].fields[a]: unique, index: not possible for type Text",
        ),
        // Defaults.
        (
            fields("{name: a, type: Integer, default: x}"),
            "spec.docTypes[thing].fields[a]: default: not a value of type Integer",
        ),
        (
            fields("{name: a, type: Integer, default: 5000000000}"),
            "spec.docTypes[thing].fields[a]: default: not a value of type Integer",
        ),
        (
            fields("{name: a, type: Integer, max: 3, default: 4}"),
            "spec.docTypes[thing].fields[a]: default: not a value of type Integer within its bounds",
        ),
        (
            fields("{name: a, type: String, maxLength: 2, default: abc}"),
            "spec.docTypes[thing].fields[a]: default: not a value of type String",
        ),
        (
            fields("{name: a, type: Enum, values: [x], default: y}"),
            "spec.docTypes[thing].fields[a]: default: not a value of type Enum",
        ),
        (
            fields("{name: a, type: Decimal, precision: 4, scale: 2, default: 100}"),
            "spec.docTypes[thing].fields[a]: default: not a value of type Decimal",
        ),
        (
            fields("{name: a, type: Date, default: tomorrow}"),
            "spec.docTypes[thing].fields[a]: default: not a value of type Date",
        ),
        // References.
        (
            fields("{name: a, type: Reference, to: nothing}"),
            "spec.docTypes[thing].fields[a].to: crm has no document type nothing",
        ),
        (
            fields("{name: a, type: Reference, to: erp.item}"),
            "spec.docTypes[thing].fields[a].to: list erp in spec.requires to refer to it",
        ),
        (
            fields("{name: a, type: Reference, to: 'x-y.item'}"),
            "spec.docTypes[thing].fields[a]: to: app name \"x-y\" is not allowed",
        ),
        // Naming.
        (
            thing("naming: {strategy: Series, pattern: 'SO-'}"),
            "spec.docTypes[thing].naming: pattern: use a prefix, a '.', and 1 to 12 '#'",
        ),
        (thing("naming: {strategy: Series}"), "spec.docTypes[thing].naming: pattern: use a prefix"),
        (
            thing("naming: {strategy: Field, field: key}"),
            "spec.docTypes[thing].naming: field: names no field of this document type",
        ),
        (
            thing("naming: {strategy: Field, field: key}, fields: [{name: key, type: String, unique: true}]"),
            "spec.docTypes[thing].naming: field: the field must be a String that is required and unique",
        ),
        (
            thing(
                "naming: {strategy: Field, field: n}, fields: [{name: n, type: Integer, required: true, unique: true}]",
            ),
            "spec.docTypes[thing].naming: field: the field must be a String that is required and unique",
        ),
        // Permissions.
        (
            thing("permissions: [{role: sales, allow: [Read]}, {role: boss, allow: [Read]}]"),
            "spec.docTypes[thing].permissions[1]: role: \"boss\" is not in spec.roles",
        ),
        (
            thing("permissions: [{role: sales, allow: [Read], match: {missing: x}}]"),
            "spec.docTypes[thing].permissions[0].match: \"missing\" is not created_by, updated_by, created_at",
        ),
        (
            ruled("{field: n, op: Gt, value: many}"),
            "spec.docTypes[thing].permissions[0].where[0]: value: use a number",
        ),
        (
            ruled("{field: n, op: In, value: 3}"),
            "spec.docTypes[thing].permissions[0].where[0]: value: In takes a list",
        ),
        (
            ruled("{field: n, op: IsNull, value: 3}"),
            "spec.docTypes[thing].permissions[0].where[0]: value: IsNull takes none",
        ),
        (
            ruled("{field: n, value: '@user'}"),
            "spec.docTypes[thing].permissions[0].where[0]: value: \"@user\" does not fit",
        ),
        (
            ruled("{field: s, value: z}"),
            "spec.docTypes[thing].permissions[0].where[0]: value: \"z\" is not one of x, y",
        ),
        (
            ruled("{field: u, op: Lt, value: a}"),
            "spec.docTypes[thing].permissions[0].where[0]: op: Lt does not fit u",
        ),
        (
            ruled("{field: j, op: NotNull}"),
            "spec.docTypes[thing].permissions[0].where[0]: \"j\" is not created_by",
        ),
        (
            ruled("{field: n, value: 1, any: [{field: n, value: 1}]}"),
            "spec.docTypes[thing].permissions[0].where[0]: give either",
        ),
        (
            ruled("{any: [{field: n, value: 1}, {all: [{field: d, op: Lt, value: yesterday}]}]}"),
            "spec.docTypes[thing].permissions[0].where[0].any[1].all[0]: value: use a time as",
        ),
        (
            thing("permissions: [{role: owner, allow: [Read], match: {created_by: '@me'}}]"),
            "spec.docTypes[thing].permissions[0].match: value: \"@me\" does not fit",
        ),
        (
            thing("permissions: [{role: sales, allow: [Read], readable: [x]}]"),
            "spec.docTypes[thing].permissions[0]: readable: \"x\" is no field of this document type",
        ),
        (
            thing("permissions: [{role: sales, allow: [Read], writable: []}]"),
            "spec.docTypes[thing].permissions[0]: writable: needs Create or Update in allow",
        ),
        (
            thing(
                "permissions: [{role: sales, allow: [Update], writable: [r]}], fields: [{name: r, type: Text, readOnly: true}]",
            ),
            "spec.docTypes[thing].permissions[0]: writable: \"r\" is readOnly",
        ),
        // What becomes of documents.
        (
            fields("{name: a, type: Reference, to: thing, required: true, onDelete: SetNull}"),
            "spec.docTypes[thing].fields[a]: onDelete: SetNull would empty a required field",
        ),
        (
            fields("{name: a, type: Text, onDelete: Cascade}"),
            "spec.docTypes[thing].fields[a]: onDelete: belongs to",
        ),
        (
            thing("ttl: {field: gone, seconds: 1}"),
            "spec.docTypes[thing].ttl: field: \"gone\" is not created_at",
        ),
        (
            thing("naming: {gapless: true}"),
            "spec.docTypes[thing].naming: gapless: belongs to strategy Series",
        ),
        (
            thing("softDelete: true, fields: [{name: deleted_at, type: DateTime}]"),
            "spec.docTypes[thing].fields[deleted_at]: with softDelete, the platform keeps this column",
        ),
    ] {
        let errors = compile(&manifest).expect_err(&manifest);
        assert_eq!(errors.len(), 1, "{manifest}\n{errors:?}");
        assert!(errors[0].starts_with(expected), "{manifest}\n{}\nexpected {expected}", errors[0]);
    }
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let errors = compile(
        "{version: 1.0.0, roles: [{name: Sales}], docTypes: [{name: a, fields: [{name: X, type: String}]}, {name: B}]}",
    )
    .unwrap_err();
    let paths: Vec<_> = errors.iter().filter_map(|error| error.split(": ").next()).collect();
    assert_eq!(paths, ["spec.roles[Sales]", "spec.docTypes[a].fields[X]", "spec.docTypes[B]"]);
}

#[test]
fn a_required_app_may_be_referred_to() {
    let manifest = "{version: 1.0.0, requires: [{app: erp, minVersion: 2.1.0}], \
         docTypes: [{name: a, fields: [{name: item, type: Reference, to: erp.item}]}]}";
    let app = compile(manifest).unwrap();
    assert_eq!(app.requires[0].min_version.as_deref(), Some("2.1.0"));
}
