//! One document for all callers with the same roles of tenants with the same apps.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::HeaderValue;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::openapi;
use crate::{auth::Caller, data::Catalog};

/// Sets of roles that are kept for a set of apps.
const KEPT: usize = 32;

/// The OpenAPI documents of a set of apps, by the roles of callers.
#[derive(Debug, Default)]
pub struct Described(Mutex<HashMap<String, Arc<Description>>>);

/// An OpenAPI document.
#[derive(Debug)]
pub struct Description {
    /// The JSON.
    pub json: Bytes,
    /// Its entity tag.
    pub tag: HeaderValue,
}

impl Described {
    /// The document for `caller`.
    pub fn get(&self, catalog: &Catalog, caller: &Caller) -> Arc<Description> {
        let key = roles(caller);
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(description) = known().get(&key) {
            return Arc::clone(description);
        }
        // Outside of the lock: it takes a while, and twice is once too many only.
        let json = openapi::of_caller(catalog, caller).to_string();
        let digest: String = Sha256::digest(&json)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let tag = HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        let description = Arc::new(Description { json: json.into(), tag });
        let mut all = known();
        if all.len() >= KEPT {
            all.clear();
        }
        all.insert(key, Arc::clone(&description));
        description
    }
}

/// All that the document depends on beside the apps.
fn roles(caller: &Caller) -> String {
    if caller.admin {
        return "admin".to_owned();
    }
    let mut roles: Vec<_> = caller.roles.iter().map(|held| format!("{}:{}", held.app, held.role)).collect();
    roles.sort();
    roles.dedup();
    roles.join(" ")
}
