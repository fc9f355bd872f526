//! Tokens for tenants that are too new, or too many, for a program to be started for each.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tenantry_e2e::Credentials;
use tenantry_rig::Endpoints;

use super::Outcome;

const LIFETIME: Duration = Duration::from_secs(4 * 3600);

/// An access token of user `bench` with `role` for the tenant with this uid.
pub fn token(endpoints: &Endpoints, tenant: &str, role: &str) -> Outcome<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let claims = json!({
        "iss": "tenantry", "aud": "tenantry", "sub": "bench", "tid": tenant, "roles": [role],
        "iat": now.as_secs(), "exp": (now + LIFETIME).as_secs(),
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "at+jwt"})), part(&claims));
    let secret = Credentials::of(endpoints).hs256_secret;
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?.chain_update(message.as_bytes());
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
}
