//! A document as the index has it. Pure.
//!
//! The engine's keys allow few letters, so the key is a digest of the id. Decimals are texts in documents and numbers in the
//! index, where they are compared; the texts are kept beside them, since a number is not exact.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tenantry_crds::{
    definition::{DocType, FieldKind},
    names::IndexUid,
};

/// Where the texts of decimals are kept.
const EXACT: &str = "_exact";

/// The key of a document: the same for the same id, always fit for the engine.
pub fn key(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(id.as_bytes()))
}

/// `document`, as a reader sees it, for the index. Nothing for what is no document.
pub fn index(doc_type: &DocType, id: &str, document: Value) -> Option<Value> {
    let Value::Object(mut fields) = document else { return None };
    let mut exact = Map::new();
    for field in &doc_type.fields {
        if field.write_only {
            // Readers do not see it; an index that has it could be asked for it.
            fields.remove(field.name.as_str());
        } else if matches!(field.kind, FieldKind::Decimal { .. })
            && let Some(value) = fields.get_mut(field.name.as_str())
            && let Some(number) = value.as_str().and_then(|text| text.parse::<f64>().ok())
        {
            exact.insert(field.name.as_str().to_owned(), std::mem::replace(value, number.into()));
        }
    }
    if !exact.is_empty() {
        fields.insert(EXACT.to_owned(), exact.into());
    }
    fields.insert(IndexUid::PRIMARY_KEY.to_owned(), key(id).into());
    Some(fields.into())
}

/// The document that `indexed` was made of, as far as readers see it today.
pub fn document(doc_type: &DocType, indexed: Value) -> Option<Map<String, Value>> {
    let Value::Object(mut fields) = indexed else { return None };
    fields.remove(IndexUid::PRIMARY_KEY);
    if let Some(Value::Object(exact)) = fields.remove(EXACT) {
        fields.extend(exact);
    }
    // A field may have become write-only after the document was indexed.
    for field in doc_type.fields.iter().filter(|field| field.write_only) {
        fields.remove(field.name.as_str());
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tenantry_crds::{
        definition::AppDefinition,
        names::{AppName, DocTypeName},
    };

    use super::*;

    fn customer() -> DocType {
        let spec = json!({"version": "1.0.0", "docTypes": [{"name": "customer", "fields": [
            {"name": "name", "type": "String"},
            {"name": "credit", "type": "Decimal", "precision": 18, "scale": 2},
            {"name": "pin", "type": "Secret"},
        ]}]});
        let spec = serde_json::from_value(spec).unwrap();
        let app = AppDefinition::compile(&AppName::new("crm").unwrap(), &spec).unwrap();
        app.doc_type(&DocTypeName::new("customer").unwrap()).unwrap().clone()
    }

    #[test]
    fn a_document_comes_back_as_it_was_but_for_what_nobody_may_read() {
        let document_in =
            json!({"id": "a/b c", "name": "Ann", "credit": "100000000000000.10", "pin": "1234"});
        let indexed = index(&customer(), "a/b c", document_in).unwrap();
        assert_eq!(indexed["credit"], json!(100_000_000_000_000.1));
        assert!(!indexed.to_string().contains("1234"), "{indexed}");
        let back = document(&customer(), indexed).unwrap();
        let expected = json!({"id": "a/b c", "name": "Ann", "credit": "100000000000000.10"});
        assert_eq!(Value::Object(back), expected);
    }

    #[test]
    fn a_field_that_became_write_only_is_not_shown() {
        let old = json!({"_pk": "x", "id": "1", "name": "Ann", "pin": "1234"});
        assert_eq!(Value::Object(document(&customer(), old).unwrap()), json!({"id": "1", "name": "Ann"}));
    }

    #[test]
    fn keys_are_fit_for_the_engine_and_differ_with_the_ids() {
        let ids = ["1", "a/b", "a b", "é", "SO-00001", &"x".repeat(500)];
        let keys: std::collections::HashSet<_> = ids.iter().map(|id| key(id)).collect();
        assert_eq!(keys.len(), ids.len());
        let fit = |key: &String| {
            key.len() == 43 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        assert!(keys.iter().all(fit));
    }
}
