//! The examples of the API guide do what it says.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// A command of the guide with the answer that it promises.
struct Example {
    command: String,
    answer: Value,
}

/// The examples of a page: each block `sh`, with the block `json` behind it.
fn examples(page: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut command = None;
    for block in page.split("\n```").skip(1).step_by(2) {
        let (kind, text) = block.split_once('\n').unwrap();
        match kind {
            "sh" => assert!(command.replace(text.to_owned()).is_none(), "no answer to {text}"),
            "json" => {
                let command = command.take().unwrap_or_else(|| panic!("no command before {text}"));
                let answer = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
                examples.push(Example { command, answer });
            }
            other => panic!("a block of kind {other:?}"),
        }
    }
    examples
}

/// Whether `found` has all that `promised` has; objects may have more members.
fn keeps(promised: &Value, found: &Value) -> bool {
    match (promised, found) {
        (Value::Object(promised), Value::Object(found)) => {
            promised.iter().all(|(name, value)| found.get(name).is_some_and(|found| keeps(value, found)))
        }
        (Value::Array(promised), Value::Array(found)) => {
            promised.len() == found.len() && promised.iter().zip(found).all(|(a, b)| keeps(a, b))
        }
        (promised, found) => promised == found,
    }
}

#[tokio::test]
async fn the_pages_on_queries_are_true() {
    let world = crate::shop().await;
    let token = world.user("sally", &["sales"]).await;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api/queries.md");
    let page = std::fs::read_to_string(page).unwrap();
    let examples = examples(&page);
    assert!(examples.len() > 12, "{}", examples.len());
    for Example { command, answer } in examples {
        // Apps belong to the whole cluster, so that of the test has a name of its own.
        let script = command
            .replace("/crm/", &format!("/{}/", world.app))
            .replace(": crm", &format!(": {}", world.app));
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .env("TENANTRY_URL", world.platform.url().unwrap())
            .env("AUTH", format!("Authorization: Bearer {token}"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command}\n{text}{}", String::from_utf8_lossy(&output.stderr));
        let found: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{command}\n{error}: {text}"));
        assert!(keeps(&answer, &found), "{command}\npromised {answer}\nfound {found}");
    }
}
