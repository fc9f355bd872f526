//! Every CEL rule, and the borders of the names.

use serde_json::{Value, json};

use super::api::{KINDS, Kind, client, try_create, with};

/// Changes to the full manifest, and what has to come of them: a message, or nothing when it is accepted.
type Case = (&'static str, Vec<(&'static str, Value)>, Option<&'static str>);

fn refused(what: &'static str, changes: Vec<(&'static str, Value)>, message: &'static str) -> Case {
    (what, changes, Some(message))
}

fn accepted(what: &'static str, changes: Vec<(&'static str, Value)>) -> Case {
    (what, changes, None)
}

const TENANT_NAME: &str = "metadata.name: use at most 48 lower-case letters, digits and inner '-'";
const TENANT_RESERVED: &str =
    "metadata.name: admin, api, default, public, system, tenantry and www are reserved";
const TENANT_OWNER: &str = "metadata.name: must not end in '-owner'";

fn tenants() -> Vec<Case> {
    let name = |name: &str| vec![("/metadata/name", json!(name))];
    let mut cases = vec![
        accepted("a name of 48", name(&"a".repeat(48))),
        refused("a name of 49", name(&"a".repeat(49)), TENANT_NAME),
        refused("a name with a dot", name("a.b"), TENANT_NAME),
        refused("a name that starts with a digit", name("1a"), TENANT_NAME),
        accepted("a name of one letter", name("a")),
        accepted("a name with two dashes", name("a--b")),
        refused("a name with '_'", name("a_b"), "metadata.name"),
        refused("a name in capitals", name("A-B"), "metadata.name"),
        refused("a name that ends in a dash", name("a-"), "metadata.name"),
        refused("a name like an owner role", name("a-owner"), TENANT_OWNER),
        accepted("owner inside a name", name("a-owner-b")),
        accepted("a name that is owner", name("owner")),
        refused(
            "core as an app",
            vec![("/spec/apps/0/name", json!("core"))],
            "spec.apps: core is built in and always installed; leave it out",
        ),
        accepted("Snapshot", vec![("/spec/deletionPolicy", json!("Snapshot"))]),
        accepted("Retain", vec![("/spec/deletionPolicy", json!("Retain"))]),
        accepted("another Postgres", vec![("/spec/placement/postgres", json!("other"))]),
        refused(
            "an instance in capitals",
            vec![("/spec/placement/redis", json!("East"))],
            "spec.placement.redis",
        ),
        refused(
            "an overlap that never ends",
            vec![("/spec/access/0/rotation", json!({"everySeconds": 60, "overlapSeconds": 60}))],
            "spec.access[].rotation: overlapSeconds must be less than everySeconds",
        ),
        accepted(
            "a Secret with a dotted name",
            vec![("/spec/access/0/secretRef", json!({"name": "acme.reporting-1", "namespace": "default"}))],
        ),
        refused(
            "a Secret's name that is a path",
            vec![("/spec/access/0/secretRef", json!({"name": "a/../b", "namespace": "default"}))],
            "spec.access[0].secretRef.name",
        ),
        refused(
            "a Secret's name with a query",
            vec![("/spec/access/0/secretRef", json!({"name": "x?pretty=1", "namespace": "default"}))],
            "spec.access[0].secretRef.name",
        ),
        refused(
            "a Secret's namespace that is a path",
            vec![("/spec/access/0/secretRef", json!({"name": "x", "namespace": "default/secrets/y"}))],
            "spec.access[0].secretRef.namespace",
        ),
        accepted(
            "a page of an app on a phone",
            vec![("/spec/auth/redirectUrls", json!(["com.example.app://callback"]))],
        ),
        refused(
            "a page that is a script",
            vec![("/spec/auth/redirectUrls", json!(["javascript://app.example.com/"]))],
            "spec.auth.redirectUrls: no scheme that runs or reads what it names",
        ),
        refused(
            "a page with somebody's name before the host",
            vec![("/spec/auth/redirectUrls", json!(["https://app.example.com@evil.example/"]))],
            "spec.auth.redirectUrls",
        ),
        refused(
            "a page with a wildcard",
            vec![("/spec/auth/redirectUrls", json!(["https://*.example.com/"]))],
            "spec.auth.redirectUrls",
        ),
        refused(
            "a site without a host",
            vec![("/spec/auth/siteUrl", json!("https:///welcome"))],
            "spec.auth.siteUrl",
        ),
        accepted("every origin", vec![("/spec/cors/allowedOrigins", json!(["*"]))]),
        refused(
            "every origin and one more",
            vec![("/spec/cors/allowedOrigins", json!(["*", "https://app.example.com"]))],
            "spec.cors.allowedOrigins: '*' stands alone",
        ),
        accepted("auth with nothing in it", vec![("/spec/auth", json!({}))]),
        refused(
            "verification without anybody who sends",
            vec![("/spec/auth", json!({"requireVerifiedEmail": true}))],
            "spec.auth.requireVerifiedEmail: needs a webhook",
        ),
        refused(
            "invitations without anybody who sends",
            vec![("/spec/auth", json!({"invites": true}))],
            "spec.auth.invites: needs a webhook",
        ),
        refused(
            "administrators by sign-up",
            vec![("/spec/auth", json!({"signUp": "Open", "defaultRoles": ["admin"]}))],
            "spec.auth.defaultRoles: who signs up without an invitation cannot become admin",
        ),
        accepted(
            "tokens for other services",
            vec![("/spec/auth", json!({"audiences": ["chat", "tenantry.chat"]}))],
        ),
        refused(
            "tokens for the platform itself",
            vec![("/spec/auth", json!({"audiences": ["chat", "tenantry"]}))],
            "spec.auth.audiences: tokens are not exchanged for the platform's own",
        ),
        refused(
            "tokens that look like requests to a webhook",
            vec![("/spec/auth", json!({"audiences": ["webhook:acme"]}))],
            "spec.auth.audiences: tokens are not exchanged for the platform's own",
        ),
        refused(
            "an issuer whose users would be taken for API keys",
            vec![(
                "/spec/auth",
                json!({"oidcIssuers": [{"name": "key", "issuer": "https://id.example.com", "audience": "crm"}]}),
            )],
            "spec.auth.oidcIssuers: key: begins the ids of API keys",
        ),
        accepted("half a placement", vec![("/spec/placement", json!({"redis": "default"}))]),
        accepted("an empty spec", vec![("/spec", json!({}))]),
        refused("a host with a port", vec![("/spec/hosts", json!(["a.example.com:80"]))], "spec.hosts[0]"),
        refused("a host in capitals", vec![("/spec/hosts", json!(["A.example.com"]))], "spec.hosts[0]"),
        refused("a host with '*'", vec![("/spec/hosts", json!(["*.example.com"]))], "spec.hosts[0]"),
        refused("a host that ends in a dot", vec![("/spec/hosts", json!(["example.com."]))], "spec.hosts[0]"),
        accepted(
            "a Secret with a dotted name",
            vec![("/spec/access/0/secretRef", json!({"name": "acme.reporting-1", "namespace": "default"}))],
        ),
        refused(
            "a Secret's name that is a path",
            vec![("/spec/access/0/secretRef", json!({"name": "a/../b", "namespace": "default"}))],
            "spec.access[0].secretRef.name",
        ),
        refused(
            "a Secret's name with a query",
            vec![("/spec/access/0/secretRef", json!({"name": "x?pretty=1", "namespace": "default"}))],
            "spec.access[0].secretRef.name",
        ),
        refused(
            "a Secret's namespace that is a path",
            vec![("/spec/access/0/secretRef", json!({"name": "x", "namespace": "default/secrets/y"}))],
            "spec.access[0].secretRef.namespace",
        ),
        accepted(
            "a page of an app on a phone",
            vec![("/spec/auth/redirectUrls", json!(["com.example.app://callback"]))],
        ),
        refused(
            "a page that is a script",
            vec![("/spec/auth/redirectUrls", json!(["javascript://app.example.com/"]))],
            "spec.auth.redirectUrls: no scheme that runs or reads what it names",
        ),
        refused(
            "a page with somebody's name before the host",
            vec![("/spec/auth/redirectUrls", json!(["https://app.example.com@evil.example/"]))],
            "spec.auth.redirectUrls",
        ),
        refused(
            "a page with a wildcard",
            vec![("/spec/auth/redirectUrls", json!(["https://*.example.com/"]))],
            "spec.auth.redirectUrls",
        ),
        refused(
            "a site without a host",
            vec![("/spec/auth/siteUrl", json!("https:///welcome"))],
            "spec.auth.siteUrl",
        ),
        accepted("every origin", vec![("/spec/cors/allowedOrigins", json!(["*"]))]),
        refused(
            "every origin and one",
            vec![("/spec/cors/allowedOrigins", json!(["*", "https://a.example"]))],
            "stands alone",
        ),
        refused(
            "an origin with a path",
            vec![("/spec/cors/allowedOrigins", json!(["https://a.example/x"]))],
            "spec.cors.allowedOrigins[0]",
        ),
        refused(
            "an origin without a scheme",
            vec![("/spec/cors/allowedOrigins", json!(["a.example"]))],
            "spec.cors.allowedOrigins[0]",
        ),
        accepted("storage as a number", vec![("/spec/quotas/storageBytes", json!(1024))]),
        refused(
            "negative storage",
            vec![("/spec/quotas/storageBytes", json!("-1Gi"))],
            "spec.quotas.storageBytes",
        ),
    ];
    for reserved in ["admin", "api", "default", "public", "system", "tenantry", "www"] {
        cases.push(refused(reserved, name(reserved), TENANT_RESERVED));
    }
    cases
}

const FIELD: &str = "/spec/docTypes/0/fields/0";
const ITEM: &str = "/spec/docTypes/0/fields/4/fields/0";
const APP_NAME: &str = "metadata.name: use at most 20 lower-case letters and digits, starting with a letter";
const PERMISSION_ROLE: &str =
    "spec.docTypes: each permission must name a role of spec.roles, or the built-in roles admin or owner";
const VALUES: &str = "fields: values are needed with type Enum, and only there";
const BOUNDS: &str = "fields: min and max belong to numbers";
const NOT_INDEXABLE: &str = "fields: Text, Json, List and Secret cannot be unique or indexed";

fn apps() -> Vec<Case> {
    let name = |name: &str| vec![("/metadata/name", json!(name))];
    let field = |field: Value| vec![(FIELD, field)];
    let mut cases = vec![
        accepted("a name of 20", name(&"a".repeat(20))),
        refused("a name of 21", name(&"a".repeat(21)), APP_NAME),
        refused("a name with a dash", name("a-b"), APP_NAME),
        refused("a name with a dot", name("a.b"), APP_NAME),
        refused("a name that starts with a digit", name("1a"), APP_NAME),
        refused("the built-in app", name("core"), "metadata.name: core is built in and cannot be changed"),
        accepted("nothing but a version", vec![("/spec", json!({"version": "0.0.1"}))]),
        refused("a short version", vec![("/spec/version", json!("1.0"))], "spec.version"),
        refused("a version with 'v'", vec![("/spec/version", json!("v1.0.0"))], "spec.version"),
        refused(
            "a schedule without its queue",
            vec![("/spec/schedules/0/queue", json!("other"))],
            "spec.schedules: each schedule must name a queue of spec.queues",
        ),
        refused(
            "an unknown role",
            vec![("/spec/docTypes/0/permissions/0/role", json!("boss"))],
            PERMISSION_ROLE,
        ),
        accepted("the role owner", vec![("/spec/docTypes/0/permissions/0/role", json!("owner"))]),
        accepted("the role admin", vec![("/spec/docTypes/0/permissions/0/role", json!("admin"))]),
        refused(
            "a role called admin",
            vec![("/spec/roles", json!([{"name": "sales"}, {"name": "admin"}]))],
            "spec.roles: admin and owner are built in",
        ),
        refused(
            "a pattern without Series",
            vec![("/spec/docTypes/0/naming", json!({"pattern": "A.#"}))],
            "naming.pattern: needed with strategy Series, and only there",
        ),
        refused(
            "Series without a pattern",
            vec![("/spec/docTypes/0/naming", json!({"strategy": "Series"}))],
            "naming.pattern: needed with strategy Series, and only there",
        ),
        refused(
            "Field without a field",
            vec![("/spec/docTypes/0/naming", json!({"strategy": "Field"}))],
            "naming.field: needed with strategy Field, and only there",
        ),
        refused(
            "a field without Field",
            vec![("/spec/docTypes/0/naming", json!({"field": "name"}))],
            "naming.field: needed with strategy Field, and only there",
        ),
        // Fields.
        refused("Enum without values", field(json!({"name": "a", "type": "Enum"})), VALUES),
        refused("values without Enum", field(json!({"name": "a", "type": "Text", "values": ["x"]})), VALUES),
        refused(
            "Reference without to",
            field(json!({"name": "a", "type": "Reference"})),
            "fields: to is needed with type Reference, and only there",
        ),
        refused(
            "to without Reference",
            field(json!({"name": "a", "type": "Uuid", "to": "customer"})),
            "fields: to is needed with type Reference, and only there",
        ),
        refused(
            "List without fields",
            field(json!({"name": "a", "type": "List"})),
            "fields: fields are needed with type List, and only there",
        ),
        refused(
            "fields without List",
            field(json!({"name": "a", "type": "Json", "fields": [{"name": "b", "type": "String"}]})),
            "fields: fields are needed with type List, and only there",
        ),
        refused(
            "precision of a Float",
            field(json!({"name": "a", "type": "Float", "precision": 3})),
            "fields: precision and scale belong to type Decimal",
        ),
        refused(
            "scale above precision",
            field(json!({"name": "a", "type": "Decimal", "precision": 3, "scale": 4})),
            "fields: scale needs a precision that is not smaller",
        ),
        refused(
            "scale without precision",
            field(json!({"name": "a", "type": "Decimal", "scale": 4})),
            "fields: scale needs a precision that is not smaller",
        ),
        refused("min of a text", field(json!({"name": "a", "type": "String", "min": 1})), BOUNDS),
        refused("max of a date", field(json!({"name": "a", "type": "Date", "max": 1})), BOUNDS),
        refused(
            "min above max",
            field(json!({"name": "a", "type": "Float", "min": 1.5, "max": 1})),
            "fields: min must not be above max",
        ),
        refused(
            "the length of a number",
            field(json!({"name": "a", "type": "Integer", "maxLength": 3})),
            "fields: maxLength belongs to text",
        ),
        refused(
            "the pattern of an Email",
            field(json!({"name": "a", "type": "Email", "pattern": "x"})),
            "fields: pattern belongs to String and Text",
        ),
        refused(
            "read and write only",
            field(json!({"name": "a", "type": "String", "readOnly": true, "writeOnly": true})),
            "fields: a field cannot be both readOnly and writeOnly",
        ),
        refused(
            "onDelete of a text",
            field(json!({"name": "a", "type": "String", "onDelete": "Cascade"})),
            "fields: onDelete belongs to Reference and File",
        ),
        refused(
            "SetNull of a required field",
            field(json!({"name": "a", "type": "File", "onDelete": "SetNull", "required": true})),
            "fields: a required field cannot have onDelete SetNull",
        ),
        refused(
            "a time to live from a text",
            vec![("/spec/docTypes/0/ttl", json!({"field": "name", "seconds": 1}))],
            "docTypes: ttl.field must be created_at, updated_at or a field of type DateTime",
        ),
        refused(
            "a field that softDelete needs",
            field(json!({"name": "deleted_at", "type": "DateTime"})),
            "docTypes: with softDelete, deleted_at is a reserved name",
        ),
        refused(
            "no gaps without a series",
            vec![("/spec/docTypes/0/naming", json!({"gapless": true}))],
            "naming.gapless: belongs to strategy Series",
        ),
        refused(
            "a condition that is two",
            vec![(
                "/spec/docTypes/0/permissions/0/where",
                json!([{"field": "name", "any": [{"field": "name"}]}]),
            )],
            "permissions.where: give either a field with its value, or any",
        ),
        refused(
            "an alternative that is none",
            vec![("/spec/docTypes/0/permissions/0/where", json!([{"any": [{"op": "Eq"}]}]))],
            "permissions.where.any: give either a field with its value, or all",
        ),
        // Items of a List.
        refused("an Enum item without values", vec![(ITEM, json!({"name": "a", "type": "Enum"}))], VALUES),
        accepted(
            "a number as default",
            field(json!({"name": "a", "type": "Integer", "default": 3, "min": 1})),
        ),
        accepted("an object as default", field(json!({"name": "a", "type": "Json", "default": {"b": [1]}}))),
    ];
    for kind in ["Text", "Json", "Secret"] {
        cases.push(refused(kind, field(json!({"name": "a", "type": kind, "unique": true})), NOT_INDEXABLE));
        cases.push(refused(kind, field(json!({"name": "a", "type": kind, "index": true})), NOT_INDEXABLE));
    }
    for kind in ["List", "Reference", "File", "Secret"] {
        cases.push(refused(
            kind,
            vec![(ITEM, json!({"name": "a", "type": kind}))],
            "fields: an item of a List cannot hold List, Reference, File or Secret",
        ));
    }
    for reserved in [
        "id",
        "version",
        "created_at",
        "updated_at",
        "created_by",
        "updated_by",
        "extra",
        "and",
        "or",
        "not",
        "select",
        "order",
        "limit",
        "offset",
        "after",
        "count",
        "q",
    ] {
        cases.push(refused(
            reserved,
            field(json!({"name": reserved, "type": "String"})),
            "fields: id, version, created_at, updated_at, created_by, updated_by, extra, and, or, not, select, order, \
             limit, offset, after, count and q are reserved names",
        ));
    }
    cases
}

fn search_indexes() -> Vec<Case> {
    vec![
        refused(
            "Postgres",
            vec![("/spec/engine", json!("Postgres"))],
            "spec.engine: Postgres is not supported in this release; use Auto or Meilisearch",
        ),
        accepted("Auto", vec![("/spec/engine", json!("Auto"))]),
        refused(
            "Shared",
            vec![("/spec/isolation", json!("Shared"))],
            "spec.isolation: Shared is not supported in this release; use Dedicated",
        ),
        accepted(
            "no more than needed",
            vec![("/spec", json!({"app": "crm", "docType": "customer", "searchable": ["name"]}))],
        ),
    ]
}

fn cases(kind: Kind) -> Vec<Case> {
    match kind {
        Kind::Tenant => tenants(),
        Kind::App => apps(),
        Kind::SearchIndex => search_indexes(),
    }
}

#[tokio::test]
async fn each_rule_is_kept() {
    let client = client().await;
    let mut wrong = Vec::new();
    for kind in KINDS {
        for (what, changes, expected) in cases(kind) {
            let object = with(kind.full(), &changes);
            match (try_create(&client, kind, &object).await, expected) {
                (Ok(stored), None) => kind.read(stored).unwrap(),
                (Err(refusal), Some(message)) if refusal.code == 422 && refusal.message.contains(message) => {
                }
                (Ok(_), Some(_)) => wrong.push(format!("{kind:?}, {what}: accepted")),
                (Err(refusal), _) => wrong.push(format!("{kind:?}, {what}: {refusal}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rules that only an update can break; `serving` has them.
const ON_UPDATE: &[&str] = &[
    "spec.app is immutable; create another SearchIndex",
    "spec.docType is immutable; create another SearchIndex",
    "spec.placement: a tenant cannot be moved in this release, so what is set stays",
    "spec.placement.postgres: a tenant cannot be moved in this release",
    "spec.placement.redis: a tenant cannot be moved in this release",
    "spec.placement.search: a tenant cannot be moved in this release",
    "spec.restoreFrom: cannot be changed",
    "spec.restoreFrom: cannot be added or removed once the Tenant is there",
];

#[test]
fn no_rule_is_without_a_case() {
    fn messages(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(members) => {
                for rule in
                    members.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
                {
                    found.push(rule["message"].as_str().expect("every rule has a message").to_owned());
                }
                members.values().for_each(|inner| messages(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|inner| messages(inner, found)),
            _ => {}
        }
    }
    for kind in KINDS {
        let mut found = Vec::new();
        messages(&kind.schema(), &mut found);
        assert!(!found.is_empty());
        for message in found.iter().filter(|message| !ON_UPDATE.contains(&message.as_str())) {
            let covered =
                cases(kind).iter().any(|(_, _, expected)| expected.is_some_and(|e| message.starts_with(e)));
            assert!(covered, "{kind:?} has no case for: {message}");
        }
    }
}
