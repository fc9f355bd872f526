use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::{data::model::Catalog, fixture};

const SPEC: &str = r##"
version: 1.0.0
docTypes:
  - name: part
    naming: {strategy: Field, field: code}
    fields:
      - {name: code, type: String, required: true, unique: true, maxLength: 8, pattern: "[A-Z]+-[0-9]+"}
      - {name: state, type: Enum, values: [new, used], default: new, required: true}
      - {name: price, type: Decimal, precision: 6, scale: 2, min: 0}
      - {name: stock, type: Integer, min: 0, max: 1000}
      - {name: weight, type: Float}
      - {name: total, type: BigInt}
      - {name: active, type: Boolean}
      - {name: made, type: Date}
      - {name: sold, type: DateTime}
      - {name: mail, type: Email}
      - {name: site, type: Url}
      - {name: token, type: Secret}
      - {name: seen, type: Integer, readOnly: true, default: 7, required: true}
      - {name: more, type: Json}
      - name: lines
        type: List
        fields:
          - {name: sku, type: String, required: true, maxLength: 3}
          - {name: amount, type: Decimal, precision: 4, scale: 1}
"##;

fn check(mode: Mode<'_>, body: Value) -> (Values, Vec<String>) {
    let catalog = Catalog::compile(&[fixture::app("shop", SPEC)]);
    let mut errors = Vec::new();
    let values =
        document(catalog.doc_type("shop", "parts").unwrap(), mode, &body, "", &|_| true, &mut errors);
    (values, errors.into_iter().map(|error| format!("{}: {}", error.pointer, error.message)).collect())
}

/// The text forms of what is set, by the names of the columns.
fn right(mode: Mode<'_>, body: Value) -> BTreeMap<String, Option<String>> {
    let (values, errors) = check(mode, body);
    assert!(errors.is_empty(), "{errors:?}");
    let catalog = Catalog::compile(&[fixture::app("shop", SPEC)]);
    let columns = &catalog.doc_type("shop", "parts").unwrap().columns;
    values.columns.into_iter().map(|(n, text)| (columns[n].name.clone(), text)).collect()
}

fn wrong(body: Value) -> String {
    check(Mode::Patch("A-1"), body).1.join("; ")
}

#[test]
fn a_new_document_gets_its_defaults() {
    let set = right(Mode::Create, json!({"code": "A-1", "price": 12.5, "lines": [{"sku": "x"}]}));
    assert_eq!(set["state"].as_deref(), Some("new"));
    assert_eq!(set["seen"].as_deref(), Some("7"), "a read-only field has its default, too");
    assert_eq!(set["price"].as_deref(), Some("12.5"));
    assert_eq!(set["lines"].as_deref(), Some(r#"[{"sku":"x"}]"#));
    assert_eq!(set["stock"], None);
}

#[test]
fn everything_that_is_wrong_is_listed() {
    let (_, errors) =
        check(Mode::Create, json!({"color": "red", "id": "x", "seen": 1, "stock": "1", "a/b~c": 1}));
    for expected in [
        "/color: is no field",
        "/id: is kept by the platform",
        "/seen: cannot be set",
        "/stock: must be an integer",
        "/code: is required",
        "/a~1b~0c: is no field",
    ] {
        assert!(errors.iter().any(|error| error.starts_with(expected)), "{expected} in {errors:?}");
    }
    assert_eq!(errors.len(), 6);
}

#[test]
fn each_kind_refuses_what_it_cannot_hold() {
    for (body, expected) in [
        (json!({"code": "a-1"}), "/code: must match the pattern"),
        (json!({"code": "AAAAAAA-1"}), "/code: must have at most 8"),
        (json!({"code": null}), "/code: is required"),
        (json!({"state": "lost"}), "/state: must be one of new, used"),
        (json!({"state": null}), "/state: is required"),
        (json!({"price": "10000"}), "/price: write a decimal"),
        (json!({"price": "1.005"}), "/price: write a decimal"),
        (json!({"price": -1}), "/price: must be at least 0"),
        (json!({"price": true}), "/price: must be a decimal"),
        (json!({"stock": 1001}), "/stock: must be at most 1000"),
        (json!({"stock": 1.5}), "/stock: must be an integer"),
        (json!({"stock": 99_999_999_999_i64}), "/stock: must be an integer"),
        (json!({"total": 1e19}), "/total: must be an integer"),
        (json!({"weight": "1"}), "/weight: must be a number"),
        (json!({"active": 1}), "/active: must be true or false"),
        (json!({"made": "2026-02-30"}), "/made: write a date"),
        (json!({"sold": "2026-02-03T00:00:00"}), "/sold: write a time in RFC 3339"),
        (json!({"mail": "ann"}), "/mail: write an e-mail"),
        (json!({"site": "javascript:1"}), "/site: write a URL"),
        (json!({"token": "a\0b"}), "/token: must not contain the character NUL"),
        (json!({"more": {"a\0": 1}}), "/more: must not contain the character NUL"),
        (json!({"lines": {}}), "/lines: must be an array"),
        (json!({"lines": [1]}), "/lines/0: must be an object"),
        (
            json!({"lines": [{"sku": "ab"}, {"sku": "abcd", "x": 1}]}),
            "/lines/1/x: is no field of this list; /lines/1/sku: must have",
        ),
        (json!({"lines": [{}]}), "/lines/0/sku: is required"),
        (json!({}), ": must have at least one field"),
        (json!([]), ": must be an object"),
    ] {
        let errors = wrong(body.clone());
        assert!(errors.starts_with(expected), "{body}: {errors:?}");
    }
}

#[test]
fn json_is_not_endlessly_deep() {
    let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(wrong(json!({"more": deep(32)})), "");
    assert!(wrong(json!({"more": deep(33)})).contains("deeper"));
}

#[test]
fn json_keeps_its_form_and_text_is_not_quoted() {
    let (values, _) = check(Mode::Patch("A-1"), json!({"more": "text", "mail": "a@b.cd"}));
    let texts: Vec<_> = values.columns.iter().map(|(_, text)| text.as_deref()).collect();
    assert_eq!(texts, [Some("a@b.cd"), Some("\"text\"")]);
}

#[test]
fn a_replacement_keeps_what_nobody_can_read_and_a_patch_only_sets_what_it_has() {
    let replaced = right(Mode::Replace("A-1"), json!({"code": "A-1"}));
    assert!(!replaced.contains_key("token") && !replaced.contains_key("seen"));
    assert_eq!((replaced["state"].as_deref(), &replaced["price"]), (Some("new"), &None));
    assert_eq!(right(Mode::Patch("A-1"), json!({"price": null})).len(), 1);
}

#[test]
fn a_secret_is_no_value_of_a_column_before_it_is_sealed() {
    let (mut values, _) = check(Mode::Patch("A-1"), json!({"token": "s3cret"}));
    assert!(values.columns.is_empty() && !values.given.is_empty());
    let sealed = values.seal(|_, clear| Ok::<_, ()>(format!("sealed {}", clear.len())));
    assert_eq!((sealed, values.columns.len()), (Ok(()), 1));
    assert_eq!(values.columns[0].1.as_deref(), Some("sealed 6"));
}

#[test]
fn the_field_that_names_a_document_cannot_change() {
    assert_eq!(right(Mode::Patch("A-1"), json!({"code": "A-1"})).len(), 1);
    assert!(wrong(json!({"code": "A-2"})).contains("cannot change"));
}
