//! Supabase's clients as they are published, against `/auth/v1` and `/rest/v1`.

use std::{process::Stdio, time::Duration};

use serde_json::json;
use tenantry_rig::toolchain::Toolchain;
use tokio::process::Command;

use super::place::{PASSWORD, Place};

/// Runs a client with what it has to know; the test fails with what it printed.
async fn run(mut client: Command) {
    let place = Place::new(json!({"signUp": "Open"})).await;
    let person = place.person(&["reader", "writer"]).await;
    let key =
        place.world.post("/api/v1/auth/keys", &place.admin, json!({"name": "web", "roles": ["anon"]})).await;
    assert_eq!(key.status, 201, "{key:?}");
    let run = client
        .env("SUPABASE_URL", place.world.platform.url().unwrap())
        .env("SUPABASE_KEY", key.body["key"].as_str().unwrap())
        .env("APP", &place.world.app)
        .env("EMAIL", &person.email)
        .env("PASSWORD", PASSWORD)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(60), run).await.unwrap().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn supabase_js_signs_in_refreshes_reads_and_signs_out_unchanged() {
    let (node, modules) = Toolchain::ensure_supabase_js().await.unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/sign_in/supabase.js");
    let mut client = Command::new(node);
    client.arg(script).env("NODE_PATH", modules).env("NODE_NO_WARNINGS", "1");
    run(client).await;
}

#[tokio::test]
async fn supabase_py_takes_a_session_over_and_reads_its_claims_unchanged() {
    let clients = Toolchain::ensure_clients().await.unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/sign_in/supabase_auth_client.py");
    let mut client = Command::new(clients.python);
    client.arg(script).env("PYTHONPATH", clients.site_packages);
    run(client).await;
}
