//! The guide to the API (`docs/api`): every page's examples are run, and yield what the page says.
//!
//! The rules by which an example is written are in `docs/api/README.md`.

mod page;
mod promise;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use tenantry_e2e::Platform;
use tenantry_e2e::program::{ProgramOptions, command_line, token};
use tenantry_rig::eventually;
use tenantry_rig::process::Sandbox;
use tenantry_rig::toolchain::Toolchain;
use tokio::process::Command;

use page::{Example, Language, Page};
use promise::{Promise, is_part};

const LIMIT: Duration = Duration::from_secs(60);
/// Names that the pages use, which are those of the whole cluster. Each page gets its own for them.
const NAMES: [&str; 4] = ["acme", "crm", "hooli", "ops"];

fn guide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api")
}

/// Where the examples of a page are run.
struct Place {
    sandbox: Sandbox,
    variables: BTreeMap<String, String>,
}

impl Place {
    /// A tenant with the manifests of the guide.
    async fn new(manifests: &str, names: &dyn Fn(&str) -> String) -> Self {
        let platform = Platform::shared().await.unwrap();
        let endpoints = platform.endpoints();
        let sandbox = Sandbox::create("guide", None).unwrap();
        let file = sandbox.folder().join("manifests.yaml");
        std::fs::write(&file, names(manifests)).unwrap();
        endpoints.kubectl(&["apply", "-f", file.to_str().unwrap()]).await.unwrap();
        let tenant = names("acme");
        let ready = ["wait", "--for=condition=Ready", &format!("tenant/{tenant}"), "--timeout=60s"];
        endpoints.kubectl(&ready).await.unwrap();

        let header = async |user: &str, role: &str| {
            let role = names(role);
            let args = ["--tenant", &tenant, "--user", user, "--role", &role];
            let token = token(endpoints, &ProgramOptions::default(), &args).await.unwrap();
            format!("Authorization: Bearer {token}")
        };
        let mut variables = command_line(endpoints, &ProgramOptions::default()).unwrap();
        let clients = Toolchain::ensure_clients().await.unwrap();
        variables.extend([
            ("TENANTRY_URL".to_owned(), platform.url().unwrap().to_owned()),
            ("AUTH".to_owned(), header("alice", "crm:sales").await),
            ("ADMIN".to_owned(), header("root", "admin").await),
            ("PATH".to_owned(), endpoints.path.clone()),
            ("KUBECONFIG".to_owned(), endpoints.kubeconfig.display().to_string()),
            ("NODE".to_owned(), clients.node.display().to_string()),
            ("NODE_PATH".to_owned(), clients.node_modules.display().to_string()),
        ]);
        let refused = sandbox.folder().join("refused");
        std::fs::create_dir(&refused).unwrap();
        std::fs::write(refused.join(".curlrc"), "fail-with-body\n").unwrap();
        std::fs::write(sandbox.folder().join("left"), "").unwrap();
        Self { sandbox, variables }
    }

    /// Runs an example with the variables and functions that those before it left.
    async fn run(&self, example: &Example) -> Result<(), String> {
        let folder = self.sandbox.folder();
        let script = match example.language {
            Language::Shell => example.command.clone(),
            Language::JavaScript => {
                let text = format!("(async () => {{\n{}\n}})();\n", example.command);
                std::fs::write(folder.join("example.js"), text).map_err(|error| error.to_string())?;
                r#""$NODE" "$PLACE/example.js""#.to_owned()
            }
        };
        // curl's settings in `refused` make a refused request a failure.
        let curl = if matches!(example.promise, Promise::Success) { "refused" } else { "" };
        let script = format!(
            ". \"$PLACE/left\"; CURL_HOME=\"$PLACE/{curl}\"; set -a\n{script}\n{{ export -p; declare -f; }} > \"$PLACE/left\"\n"
        );
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(folder)
            .envs(&self.variables)
            .env("PLACE", folder);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(LIMIT, output).await.map_err(|late| late.to_string())?;
        let output = output.map_err(|error| error.to_string())?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            return Err(format!("{}\n{out}{err}", output.status));
        }
        example.promise.broken_by(&out)
    }
}

/// What of a page is not true.
async fn check(path: &Path, manifests: &str) -> Result<usize, String> {
    let suffix = uuid::Uuid::new_v4().simple().to_string();
    let words = regex::Regex::new(&format!(r"\b({})\b", NAMES.join("|"))).unwrap();
    let names = |text: &str| words.replace_all(text, format!("${{1}}{}", &suffix[..8])).into_owned();
    let page = Page::read(path, &names);
    let whole: Vec<Value> = serde_yaml::Deserializer::from_str(&names(manifests))
        .map(|manifest| Value::deserialize(manifest).unwrap())
        .collect();
    for part in &page.manifests {
        if !whole.iter().any(|whole| is_part(part, whole)) {
            return Err(format!("{}: not in crm.yaml: {part}", page.name));
        }
    }
    let place = Place::new(manifests, &names).await;
    for example in &page.examples {
        let kept = if example.eventually {
            eventually("the example is true", LIMIT, || place.run(example))
                .await
                .map_err(|error| error.to_string())
        } else {
            place.run(example).await
        };
        kept.map_err(|broken| format!("{}: {}\n{broken}", page.name, example.command))?;
    }
    Ok(page.examples.len())
}

#[tokio::test]
async fn every_page_is_true() {
    let manifests = std::fs::read_to_string(guide().join("crm.yaml")).unwrap();
    let pages = std::fs::read_dir(guide()).unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<_> = pages.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    let index = std::fs::read_to_string(guide().join("README.md")).unwrap();
    let checked = futures::future::join_all(pages.iter().map(|path| check(path, &manifests))).await;
    let mut broken = Vec::new();
    for (path, checked) in pages.iter().zip(checked) {
        let name = path.file_name().unwrap().to_string_lossy();
        match checked {
            Ok(0) => broken.push(format!("{name}: no examples")),
            Ok(_) if name != "README.md" && !index.contains(&format!("({name})")) => {
                broken.push(format!("{name}: not in the index"));
            }
            Ok(_) => {}
            Err(why) => broken.push(why),
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    assert!(pages.len() > 8, "{pages:?}");
}
