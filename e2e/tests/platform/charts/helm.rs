//! helm, and what it renders.

use std::process::Stdio;

use serde::Deserialize;
use serde_json::Value;
use tenantry_rig::toolchain::Toolchain;

pub const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/tenantry-crds");
pub const TENANTRY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/tenantry");

/// Runs helm without a cluster; yields its output, or what it complained about.
pub async fn helm(args: &[&str]) -> Result<String, String> {
    let output = tokio::process::Command::new(Toolchain::ensure_helm().await.unwrap())
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stdout) + &text(&output.stderr))
    }
}

/// The objects that a chart renders with these values.
pub async fn render(chart: &str, values: &[&str]) -> Vec<Value> {
    let mut args = vec!["template", "tenantry", chart, "--namespace", "tenantry-system"];
    args.extend(values.iter().flat_map(|value| ["--set", value]));
    let text = helm(&args).await.unwrap();
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| !object.is_null())
        .collect()
}

/// The one object with this kind and name.
pub fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// The only container of a Deployment or Job.
pub fn container(workload: &Value) -> &Value {
    let containers = workload["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    &containers[0]
}
