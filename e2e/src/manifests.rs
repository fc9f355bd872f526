//! The manifests of the tests: a shop with customers and their orders.

use serde_json::{Value, json};

/// Customers and their orders; `version` and the fields of a customer are the test's.
pub fn shop(version: &str, customer: Value) -> Value {
    shop_of(version, vec![customers(customer), orders()])
}

/// The same with a document type that has tables beside its own: versions of its documents, and the last number.
pub fn shop_with_invoices(version: &str) -> Value {
    let invoices = json!({
        "name": "invoice", "trackChanges": true,
        "naming": {"strategy": "Series", "pattern": "INV-.####", "gapless": true},
        "fields": [{"name": "total", "type": "Decimal", "precision": 18, "scale": 2}],
    });
    shop_of(version, vec![customers(customer()), orders(), invoices])
}

fn shop_of(version: &str, doc_types: Vec<Value>) -> Value {
    json!({"version": version, "docTypes": doc_types, "queues": [{"name": "default", "class": "Fast"}]})
}

fn customers(fields: Value) -> Value {
    json!({
        "name": "customer", "fields": fields,
        "permissions": [{"role": "owner", "allow": ["Read"], "match": {"region": "north"}}],
    })
}

fn orders() -> Value {
    json!({
        "name": "order", "naming": {"strategy": "Series", "pattern": "SO-.#####"},
        "fields": [{"name": "customer", "type": "Reference", "to": "customer", "required": true}],
    })
}

/// The fields of a customer.
pub fn customer() -> Value {
    json!([
        {"name": "name", "type": "String", "required": true},
        {"name": "email", "type": "Email", "unique": true},
        {"name": "region", "type": "String", "index": true},
        {"name": "status", "type": "Enum", "values": ["lead", "active"], "default": "lead"},
        {"name": "credit", "type": "Decimal", "precision": 18, "scale": 2},
    ])
}

/// A search index for the customers of an app.
pub fn search_of(app: &str) -> Value {
    json!({
        "app": app, "docType": "customer", "engine": "Meilisearch",
        "searchable": ["name", "email"], "filterable": ["status"], "sortable": ["created_at"],
    })
}

/// A tenant with this app and deletion policy.
pub fn uses(app: &str, policy: &str) -> Value {
    json!({"apps": [{"name": app}], "deletionPolicy": policy})
}
