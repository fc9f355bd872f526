//! Published client libraries of PostgREST and Supabase, unchanged, against the control plane.

mod smuggling;

use std::process::Stdio;

use serde_json::{Value, json};
use tenantry_e2e::World;
use tenantry_rig::toolchain::Toolchain;
use tokio::process::Command;

/// The app of these tests: customers with contacts, and orders that refer to customers twice.
pub fn app_spec() -> Value {
    let all = json!(["Read", "Create", "Update", "Delete"]);
    json!({
        "version": "1.0.0",
        "roles": [{"name": "sales"}, {"name": "clerk"}],
        "docTypes": [
            {
                "name": "customer",
                "fields": [
                    {"name": "name", "type": "String", "required": true},
                    {"name": "email", "type": "Email", "unique": true},
                    {"name": "status", "type": "Enum", "values": ["lead", "active", "churned"], "default": "lead"},
                    {"name": "credit", "type": "Decimal", "precision": 18, "scale": 2},
                    {"name": "rank", "type": "Integer"},
                    {"name": "vip", "type": "Boolean"},
                    {"name": "notes", "type": "Text"},
                    {"name": "meta", "type": "Json"},
                    {"name": "pin", "type": "Secret"}
                ],
                "permissions": [
                    {"role": "sales", "allow": all},
                    {"role": "clerk", "allow": ["Read"], "match": {"status": "active"}},
                    {"role": "owner", "allow": ["Read", "Create", "Update"]}
                ]
            },
            {
                "name": "contact",
                "fields": [
                    {"name": "customer", "type": "Reference", "to": "customer", "required": true},
                    {"name": "phone", "type": "String"}
                ],
                "permissions": [{"role": "sales", "allow": all}, {"role": "clerk", "allow": ["Read"]}]
            },
            {
                "name": "order",
                "naming": {"strategy": "Series", "pattern": "SO-.#####"},
                "fields": [
                    {"name": "customer", "type": "Reference", "to": "customer", "required": true, "index": true},
                    {"name": "payer", "type": "Reference", "to": "customer"},
                    {"name": "total", "type": "Decimal", "precision": 18, "scale": 2},
                    {"name": "placed", "type": "DateTime"}
                ],
                "permissions": [{"role": "sales", "allow": all}]
            }
        ]
    })
}

/// A tenant that is Ready with [`app_spec`].
pub async fn shop() -> World {
    World::builder().app(app_spec()).build().await
}

/// Runs `command` with what a client has to know; the test fails with what it printed.
async fn run(world: &World, command: &mut Command) {
    let admin = world.user("root", &["admin"]).await;
    let key = world.post("/api/v1/auth/keys", &admin, json!({"name": "web", "roles": ["anon"]})).await;
    let output = command
        .env("KEY", key.body["key"].as_str().unwrap_or_else(|| panic!("{key:?}")))
        .env("TENANTRY_URL", world.platform.url().unwrap())
        .env("APP", &world.app)
        .env("SALES", world.user("sally", &["sales"]).await)
        .env("CLERK", world.user("cleo", &["clerk"]).await)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(120), output).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
}

async fn node(script: &str) {
    let clients = Toolchain::ensure_clients().await.unwrap();
    let world = shop().await;
    let script = format!("{}/tests/api/clients/{script}", env!("CARGO_MANIFEST_DIR"));
    run(&world, Command::new(&clients.node).arg(script).env("NODE_PATH", &clients.node_modules)).await;
}

#[tokio::test]
async fn postgrest_js() {
    node("postgrest.cjs").await;
}

#[tokio::test]
async fn supabase_js() {
    node("supabase.cjs").await;
}

#[tokio::test]
async fn postgrest_py() {
    let clients = Toolchain::ensure_clients().await.unwrap();
    let world = shop().await;
    let script = format!("{}/tests/api/clients/postgrest_client.py", env!("CARGO_MANIFEST_DIR"));
    run(&world, Command::new(&clients.python).arg(script).env("PYTHONPATH", &clients.site_packages)).await;
}
