use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::{Value, json};

use super::{openapi, routes, schema};
use crate::{
    auth::Caller,
    data::Catalog,
    fixture,
    http::{self, Limits},
    load::Capacity,
};

/// What the routers serve, by path, as their `Debug` shows it: axum has no other way to ask.
fn served() -> BTreeMap<String, BTreeSet<String>> {
    let limits = Limits::new(&tenantry_config::settings::Http::default(), &Capacity::new(1, 1));
    let open = |routes| routes;
    let text = format!("{:?} {:?}", http::tenant_routes(&limits, open), http::public_routes(&limits, open));
    let mut served = BTreeMap::new();
    // Each router numbers its routes itself, and says the paths after the methods.
    let paths = Regex::new(r#"RouteId\((\d+)\): "([^"]+)""#).unwrap();
    let methods =
        Regex::new(r#"RouteId\((\d+)\): MethodRouter.*?allow_header: Bytes\(b"([A-Z,]+)"\)"#).unwrap();
    for router in text.split("PathRouter {") {
        let methods: BTreeMap<_, _> = methods
            .captures_iter(router)
            .map(|found| (found[1].to_owned(), found[2].to_ascii_lowercase()))
            .collect();
        for found in paths.captures_iter(router) {
            let Some(methods) = methods.get(&found[1]) else {
                let of_fallback = found[2] == *"/" || found[2].contains("__private__");
                assert!(of_fallback, "{} is served in a way that cannot be described", &found[2]);
                continue;
            };
            let methods = methods.split(',').filter(|method| *method != "head").map(str::to_owned);
            served.insert(found[2].to_owned(), methods.collect());
        }
    }
    served
}

#[test]
fn every_route_that_is_served_is_described_and_the_other_way_round() {
    let mut described: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for route in routes() {
        let new = described.entry(route.path.to_owned()).or_default().insert(route.method.to_owned());
        assert!(new, "{} {} is described twice", route.method, route.path);
    }
    let served = served();
    for (path, methods) in &served {
        let known = described.get(path).cloned().unwrap_or_default();
        let missing: Vec<_> = methods.difference(&known).collect();
        assert!(missing.is_empty(), "{path} {missing:?} is served and not described; see describe/route.rs");
    }
    for (path, methods) in &described {
        let known = served.get(path).cloned().unwrap_or_default();
        let gone: Vec<_> = methods.difference(&known).collect();
        assert!(gone.is_empty(), "{path} {gone:?} is described and not served");
    }
}

#[test]
fn what_is_written_as_json_is_json_and_names_are_unique() {
    let mut names = BTreeSet::new();
    for route in routes() {
        assert!(names.insert(route.name), "{} is the name of two routes", route.name);
        let bodies = route.body.iter().copied().chain([(route.answer, "")]);
        for (shape, example) in bodies {
            if let super::Shape::Schema(schema) = shape {
                assert!(serde_json::from_str::<Value>(schema).is_ok(), "{}: {schema}", route.name);
            }
            assert!(
                example.is_empty() || serde_json::from_str::<Value>(example).is_ok(),
                "{}: {example}",
                route.name
            );
        }
    }
}

#[test]
fn the_static_part_is_the_golden() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/openapi.json");
    let text = serde_json::to_string_pretty(&super::of_nobody()).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    let expected = std::fs::read_to_string(golden).unwrap_or_default();
    assert!(
        text == expected,
        "docs/reference/openapi.json differs; if that is right, run with UPDATE_GOLDENS=1"
    );
}

const SPEC: &str = r##"
version: 1.0.0
roles: [{name: sales}, {name: clerk}]
docTypes:
  - name: customer
    fields:
      - {name: name, type: String, required: true, maxLength: 140, pattern: "[A-Z].*"}
      - {name: status, type: Enum, values: [lead, active], default: lead}
      - {name: credit, type: Decimal, precision: 8, scale: 2}
      - {name: pin, type: Secret}
      - {name: lines, type: List, fields: [{name: sku, type: String, required: true}, {name: qty, type: Integer, min: 1}]}
    permissions:
      - {role: sales, allow: [Read, Create]}
      - {role: clerk, allow: [Read]}
  - name: ledger
    fields: [{name: text, type: Text}]
"##;

fn seen_by(roles: &[&str]) -> Value {
    let catalog = Catalog::compile(&[fixture::app("crm", SPEC)]);
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    openapi::of_caller(&catalog, &Caller::new("ann", &roles))
}

/// Headers on the pages of the guide that are of requests, of browsers' protection, or for gateways.
const NOT_FOR_SCRIPTS: &[&str] = &[
    "accept-profile",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "authorization",
    "cache-control",
    "content-security-policy",
    "content-type",
    "cross-origin-resource-policy",
    "referrer-policy",
    "strict-transport-security",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
    "x-content-type-options",
    "x-frame-options",
    "x-forwarded-for",
    "x-roles",
    "x-tenant",
    "x-user-id",
];

#[test]
fn pages_of_other_origins_may_read_every_header_that_the_guide_names() {
    let of_requests: BTreeSet<_> = routes()
        .flat_map(|route| route.parameters)
        .filter(|parameter| parameter.place == "header")
        .map(|parameter| parameter.name.to_ascii_lowercase())
        .collect();
    let exposed: BTreeSet<_> = super::ANSWER_HEADERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api");
    // In the text, as in `Retry-After`; and in answers that are shown, as in `retry-after: 2`.
    let named =
        Regex::new(r"`([A-Z][A-Za-z]*(?:-[A-Za-z]+)+|Allow|ETag|Link|Location|RateLimit)[`:]").unwrap();
    let answers = Regex::new(r"(?m)^ *HTTP/1\.1 .*\n((?: *[a-z-]+: .*\n)*)").unwrap();
    let shown = Regex::new(r"(?m)^ *([a-z-]+): ").unwrap();
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        found.extend(named.captures_iter(&text).map(|name| name[1].to_ascii_lowercase()));
        for answer in answers.captures_iter(&text) {
            found.extend(shown.captures_iter(&answer[1]).map(|name| name[1].to_owned()));
        }
    }
    for header in ["retry-after", "x-request-id", "etag", "link", "x-supabase-api-version", "ratelimit"] {
        assert!(found.contains(header), "{header} stands in the guide: {found:?}");
    }
    let hidden: Vec<_> = found
        .iter()
        .filter(|name| !exposed.contains(*name) && !of_requests.contains(*name))
        .filter(|name| !NOT_FOR_SCRIPTS.contains(&name.as_str()))
        .collect();
    assert!(hidden.is_empty(), "{hidden:?} stand in docs/api and not in describe/headers.rs");
}

#[test]
fn a_caller_sees_what_the_caller_may_use() {
    let paths = |roles: &[&str]| seen_by(roles)["paths"].clone();
    let (clerk, sales, admin, nobody) =
        (paths(&["crm:clerk"]), paths(&["crm:sales"]), paths(&["admin"]), paths(&[]));
    let customers = "/api/v1/data/crm/customers";
    assert!(clerk[customers]["get"].is_object() && clerk[customers]["post"].is_null());
    assert!(sales[customers]["post"].is_object() && sales[format!("{customers}/{{id}}")]["delete"].is_null());
    assert!(admin["/api/v1/data/crm/ledgers"]["post"].is_object() && admin["/api/v1/audit"].is_object());
    assert!(sales["/api/v1/data/crm/ledgers"].is_null() && sales["/api/v1/audit"].is_null());
    assert!(nobody[customers].is_null() && nobody["/api/v1/meta"].is_object());
    assert!(admin["/api/v1/admin/tenants"].is_null(), "not a part of a tenant");
    let filters = clerk[customers]["get"]["parameters"].as_array().unwrap();
    let named = |name: &str| filters.iter().any(|parameter| parameter["name"] == name);
    assert!(named("status") && named("limit") && !named("pin"), "{filters:?}");
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    for document in [seen_by(&["admin"]), super::of_nobody()] {
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 5);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }
}

#[test]
fn a_type_is_described_as_it_is_checked() {
    let catalog = Catalog::compile(&[fixture::app("crm", SPEC)]);
    let schema = schema::of(catalog.doc_type("crm", "customers").unwrap());
    let of = |name: &str| schema["properties"][name].clone();
    assert_eq!(of("name"), json!({"type": "string", "maxLength": 140, "pattern": "^(?:[A-Z].*)$"}));
    assert_eq!(
        of("status"),
        json!({"type": ["string", "null"], "enum": ["lead", "active", null], "default": "lead"})
    );
    assert_eq!(of("credit")["pattern"], r"^-?[0-9]{1,6}(\.[0-9]{1,2})?$");
    assert_eq!(of("pin")["writeOnly"], true);
    assert_eq!(of("id"), json!({"type": "string", "format": "uuid", "readOnly": true}));
    assert_eq!(of("lines")["items"]["required"], json!(["sku"]));
    assert_eq!(schema["required"], json!(["name"]));
}
