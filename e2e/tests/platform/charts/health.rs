//! What Argo CD and Flux make of every state that the operator writes, beside what kstatus makes of it.

use cel::{Context, Program};
use mlua::{Lua, LuaSerdeExt};
use serde_json::{Value, json};
use tenantry_rig::kstatus::{Computed, compute};

const LUA: &str = include_str!("../../../../charts/gitops/argocd/health.lua");
const FLUX: &str = include_str!("../../../../charts/gitops/flux/health-check-exprs.yaml");

fn argocd(object: &Value) -> (String, String) {
    let lua = Lua::new();
    let options = mlua::SerializeOptions::new().serialize_none_to_null(false).serialize_unit_to_null(false);
    lua.globals().set("obj", lua.to_value_with(object, options).unwrap()).unwrap();
    let health: mlua::Table = lua.load(LUA).eval().unwrap();
    (health.get("status").unwrap(), health.get("message").unwrap())
}

/// As Flux does: in progress, else failed, else current, else in progress.
fn flux(object: &Value, kind: &str) -> &'static str {
    let list: Vec<Value> = serde_yaml::from_str(FLUX).unwrap();
    let expressions = list.iter().find(|entry| entry["kind"] == kind).unwrap();
    let holds = |key: &str| {
        let mut context = Context::default();
        for part in ["metadata", "status"] {
            context.add_variable(part, object[part].clone()).unwrap();
        }
        let program = Program::compile(expressions[key].as_str().unwrap()).unwrap();
        program.execute(&context).unwrap() == cel::Value::Bool(true)
    };
    ["inProgress", "failed", "current"].into_iter().find(|key| holds(key)).unwrap_or("inProgress")
}

fn object(observed: i64, conditions: &[(&str, &str, &str)]) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(kind, status, reason)| json!({"type": kind, "status": status, "reason": reason, "message": "so"}))
        .collect();
    let status = json!({"observedGeneration": observed, "conditions": conditions});
    json!({"metadata": {"name": "acme", "generation": 2}, "status": status})
}

#[test]
fn every_state_is_read_the_same() {
    let ready = ("Ready", "True", "Succeeded");
    let not_ready = ("Ready", "False", "BackendUnavailable");
    let new = json!({"metadata": {"name": "acme", "generation": 1}, "status": {"observedGeneration": -1}});
    let cases = [
        (new, "Progressing", "inProgress", Computed::InProgress),
        (object(1, &[ready]), "Progressing", "inProgress", Computed::InProgress),
        (object(2, &[ready]), "Healthy", "current", Computed::Current),
        (
            object(2, &[not_ready, ("Reconciling", "True", "ProgressingWithRetry")]),
            "Progressing",
            "inProgress",
            Computed::InProgress,
        ),
        (object(2, &[not_ready, ("Stalled", "True", "InvalidSpec")]), "Degraded", "failed", Computed::Failed),
        (object(2, &[("Ready", "Unknown", "Paused")]), "Suspended", "inProgress", Computed::InProgress),
    ];
    for (object, health, check, computed) in cases {
        assert_eq!(argocd(&object).0, health, "{object}");
        for kind in ["Tenant", "App", "SearchIndex"] {
            assert_eq!(flux(&object, kind), check, "{object}");
        }
        assert_eq!(compute(&object), computed, "{object}");
    }
}

#[test]
fn a_failure_is_told_with_its_reason_and_a_deletion_is_under_way() {
    let mut stalled = object(2, &[("Ready", "False", "InvalidSpec"), ("Stalled", "True", "InvalidSpec")]);
    assert_eq!(argocd(&stalled).1, "InvalidSpec: so");
    stalled["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(argocd(&stalled).0, "Progressing");
}
