//! What differs between two versions. Pure.

use serde::Serialize;
use serde_json::{Map, Value};

/// A field that differs.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Change {
    field: String,
    from: Value,
    to: Value,
}

/// Kept by the platform, and different in every version.
const BESIDE: [&str; 3] = ["version", "updated_at", "updated_by"];

/// The fields that differ, in the order of their names; a field that one of both lacks is null there.
pub(super) fn changes(from: &Map<String, Value>, to: &Map<String, Value>) -> Vec<Change> {
    let mut names: Vec<&String> = from.keys().chain(to.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let of = |document: &Map<String, Value>, name: &str| document.get(name).cloned().unwrap_or(Value::Null);
    names
        .into_iter()
        .filter(|name| !BESIDE.contains(&name.as_str()))
        .map(|name| Change { field: name.clone(), from: of(from, name), to: of(to, name) })
        .filter(|change| change.from != change.to)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_listed() {
        let document = |value: Value| value.as_object().unwrap().clone();
        let from = document(json!({"a": 1, "b": [1], "gone": "x", "version": 1}));
        let to = document(json!({"a": 1, "b": [1, 2], "new": null, "version": 2}));
        let found = changes(&from, &to);
        let fields: Vec<&str> = found.iter().map(|change| change.field.as_str()).collect();
        assert_eq!(fields, ["b", "gone"]);
        assert_eq!((&found[1].from, &found[1].to), (&json!("x"), &Value::Null));
    }
}
