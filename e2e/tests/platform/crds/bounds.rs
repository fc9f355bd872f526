//! Every limit of the schemas: the walk over a schema makes one manifest for each that breaks it, and only it.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::api::{KINDS, client, try_create, with};

/// A manifest that breaks one limit.
struct Violation {
    /// The limit, as in `spec.hosts maxItems`.
    limit: String,
    pointer: String,
    value: Value,
    /// What the refusal has to contain.
    expected: String,
}

#[derive(Default)]
struct Walk {
    violations: Vec<Violation>,
    /// Fields of the schema, and those of them that the full manifest has.
    declared: BTreeSet<String>,
    reached: BTreeSet<String>,
}

impl Walk {
    /// `field` is the place in the schema (`spec.apps[].name`), `shown` in this manifest (`spec.apps[0].name`).
    fn visit(&mut self, schema: &Value, instance: &Value, pointer: &str, field: &str, shown: &str) {
        self.reached.insert(field.to_owned());
        self.limits(schema, instance, pointer, field, shown);
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let field = format!("{field}.{name}");
            self.declared.insert(field.clone());
            if let Some(value) = instance.get(name) {
                self.visit(inner, value, &format!("{pointer}/{name}"), &field, &format!("{shown}.{name}"));
            }
        }
        for (n, value) in instance.as_array().into_iter().flatten().enumerate() {
            let field = format!("{field}[]");
            self.declared.insert(field.clone());
            self.visit(&schema["items"], value, &format!("{pointer}/{n}"), &field, &format!("{shown}[{n}]"));
        }
        if let (Some(inner), Some(members)) =
            (schema.get("additionalProperties").filter(|inner| inner.is_object()), instance.as_object())
        {
            for (name, value) in members {
                let field = format!("{field}.*");
                self.visit(inner, value, &format!("{pointer}/{name}"), &field, &format!("{shown}.{name}"));
            }
        }
    }

    fn limits(&mut self, schema: &Value, instance: &Value, pointer: &str, field: &str, shown: &str) {
        let mut breaks = |limit: &str, pointer: &str, value: Value, expected: String| {
            let limit = format!("{field} {limit}");
            self.violations.push(Violation { limit, pointer: pointer.to_owned(), value, expected });
        };
        let number = |key: &str| schema[key].as_f64();
        let count = |key: &str| schema[key].as_u64().and_then(|n| usize::try_from(n).ok());
        let whole = schema["type"] == "integer";
        let numeric = |n: f64| if whole { json!(n as i64) } else { json!(n) };

        if let Some(n) = count("maxLength") {
            breaks("maxLength", pointer, json!("a".repeat(n + 1)), shown.to_owned());
        }
        if count("minLength").is_some_and(|n| n > 0) {
            breaks("minLength", pointer, json!(""), shown.to_owned());
        }
        if schema["pattern"].is_string() {
            breaks("pattern", pointer, json!("!"), shown.to_owned());
        }
        if schema["enum"].is_array() {
            breaks("enum", pointer, json!("Nonsense"), format!("{shown}: Unsupported value"));
        }
        if let Some(n) = number("minimum") {
            breaks("minimum", pointer, numeric(n - 1.0), shown.to_owned());
        }
        if let Some(n) = number("maximum") {
            breaks("maximum", pointer, numeric(n + 1.0), shown.to_owned());
        }
        if whole {
            // Ours are of 32 bits: a larger one that came through could not be read.
            breaks("32 bits", pointer, json!(1_u64 << 40), shown.to_owned());
        }
        let wrong = match schema["type"].as_str() {
            Some("string") => Some(json!(7)),
            Some("array") => Some(json!({"a": 1})),
            Some(_) => Some(json!("text")),
            None => None,
        };
        if let Some(wrong) = wrong {
            breaks("type", pointer, wrong, shown.to_owned());
        }
        if let Some(items) = instance.as_array() {
            if let Some(n) = count("maxItems") {
                breaks("maxItems", pointer, json!(vec![&items[0]; n + 1]), shown.to_owned());
            }
            if count("minItems").is_some_and(|n| n > 0) {
                breaks("minItems", pointer, json!([]), shown.to_owned());
            }
            if matches!(schema["x-kubernetes-list-type"].as_str(), Some("map" | "set")) {
                let twice: Vec<_> = items.iter().chain(&items[..1]).collect();
                breaks("unique", pointer, json!(twice), format!("{shown}[{}]: Duplicate value", items.len()));
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            breaks(
                &format!("required {name}"),
                &format!("{pointer}/{name}"),
                Value::Null,
                format!("{shown}.{name}"),
            );
        }
        if schema["properties"].is_object() {
            let expected = format!("unknown field \"{shown}.bogus\"");
            breaks("unknown field", &format!("{pointer}/bogus"), json!(1), expected);
        }
    }
}

#[tokio::test]
async fn each_broken_limit_is_refused_with_the_path_of_the_field() {
    let client = client().await;
    for kind in KINDS {
        let (schema, full) = (kind.schema(), kind.full());
        let mut walk = Walk::default();
        walk.visit(&schema["properties"]["spec"], &full["spec"], "/spec", "spec", "spec");
        let missing: Vec<_> = walk.declared.difference(&walk.reached).collect();
        assert!(missing.is_empty(), "the full {kind:?} of this test leaves out {missing:?}");
        assert!(walk.violations.len() > 30, "{kind:?} has only {} limits", walk.violations.len());

        let wrong: Vec<String> = stream::iter(walk.violations)
            .map(|violation| {
                let (client, full) = (&client, &full);
                async move {
                    let object = with(full.clone(), &[(violation.pointer.as_str(), violation.value)]);
                    match try_create(client, kind, &object).await {
                        Ok(_) => Some(format!("{}: accepted", violation.limit)),
                        Err(refusal)
                            if matches!(refusal.code, 400 | 422)
                                && refusal.message.contains(&violation.expected) =>
                        {
                            None
                        }
                        Err(refusal) => Some(format!("{}: {refusal}", violation.limit)),
                    }
                }
            })
            .buffer_unordered(8)
            .filter_map(async |wrong| wrong)
            .collect()
            .await;
        assert!(wrong.is_empty(), "{kind:?}:\n{}", wrong.join("\n"));
    }
}

#[tokio::test]
async fn a_manifest_with_every_field_is_accepted_and_can_be_read() {
    let client = client().await;
    for kind in KINDS {
        let stored =
            try_create(&client, kind, &kind.full()).await.unwrap_or_else(|e| panic!("{kind:?}: {e}"));
        assert!(keeps(&stored["spec"], &kind.full()["spec"]), "{kind:?} lost something: {}", stored["spec"]);
        kind.read(stored).unwrap();
    }
}

/// Whether `stored` has all that was `given`; defaults may have come on top.
fn keeps(stored: &Value, given: &Value) -> bool {
    match (stored, given) {
        (Value::Object(stored), Value::Object(given)) => {
            given.iter().all(|(name, value)| stored.get(name).is_some_and(|kept| keeps(kept, value)))
        }
        (Value::Array(stored), Value::Array(given)) => {
            stored.len() == given.len() && stored.iter().zip(given).all(|(kept, value)| keeps(kept, value))
        }
        _ => stored == given,
    }
}
