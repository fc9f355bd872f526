//! The rig itself: every server answers, faults can be made, and nothing outlives the process that started it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta, PostParams};
use sqlx::{ConnectOptions, Connection, Row};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::process::{Launch, Sandbox, Signal};
use tenantry_rig::toolchain::Toolchain;
use tenantry_rig::{RigError, Stack, eventually};

#[tokio::test]
async fn every_server_of_the_shared_stack_answers() {
    let stack = Stack::shared().await.unwrap();
    let endpoints = stack.endpoints();

    let client = endpoints.kube_client().await.unwrap();
    let version = client.apiserver_version().await.unwrap();
    assert_eq!(version.major, "1", "{version:?}");
    let name = format!("rig-{}", uuid::Uuid::new_v4().simple());
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.clone()), ..Default::default() },
        ..Default::default()
    };
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    assert_eq!(namespaces.get(&name).await.unwrap().metadata.name.as_deref(), Some(name.as_str()));

    let url = stack.create_database("rig").await.unwrap();
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let mut postgres = options.connect().await.unwrap();
    let row = sqlx::query("SELECT version(), current_database()").fetch_one(&mut postgres).await.unwrap();
    assert!(row.get::<String, _>(0).starts_with("PostgreSQL "));
    assert!(row.get::<String, _>(1).starts_with("rig_"));
    postgres.close().await.unwrap();

    let redis = redis::Client::open(endpoints.redis_url.as_str()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let pong: String = redis::cmd("PING").query_async(&mut redis).await.unwrap();
    assert_eq!(pong, "PONG");
    let policy: (String, String) =
        redis::cmd("CONFIG").arg("GET").arg("maxmemory-policy").query_async(&mut redis).await.unwrap();
    assert_eq!(policy.1, "noeviction");

    let health = http_client().unwrap().get(format!("{}/health", endpoints.meili_url)).send().await.unwrap();
    assert!(health.status().is_success());
}

#[tokio::test]
async fn kubectl_and_helm_of_the_stack_work() {
    let stack = Stack::shared().await.unwrap();
    // After the stack: its PATH leads to a Helm that comes later.
    Toolchain::ensure_helm().await.unwrap();
    let endpoints = stack.endpoints();
    for command in [&["kubectl", "version", "-o", "json"][..], &["helm", "list", "--all-namespaces"]] {
        let output = tokio::process::Command::new(command[0])
            .args(&command[1..])
            .env("PATH", &endpoints.path)
            .env("KUBECONFIG", &endpoints.kubeconfig)
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn a_private_stack_can_be_broken_and_is_gone_when_dropped() {
    let stack = Stack::private("its Redis is killed").await.unwrap();
    let redis = stack.redis().unwrap();
    let client = redis::Client::open(stack.endpoints().redis_url.as_str()).unwrap();
    let before = redis.process().pid();

    redis.kill().await.unwrap();
    assert!(client.get_multiplexed_async_connection().await.is_err(), "Redis was killed");
    redis.start().await.unwrap();
    assert!(client.get_multiplexed_async_connection().await.is_ok(), "Redis is back on its port");
    assert_ne!(before, redis.process().pid());

    let folder = stack.folder().unwrap().to_owned();
    let processes: Vec<u32> =
        [stack.etcd(), stack.kube_apiserver(), stack.postgres(), stack.redis(), stack.meilisearch()]
            .into_iter()
            .map(|server| server.unwrap().process().pid())
            .collect();
    drop(stack);
    assert!(!folder.exists(), "the scratch folder is gone");
    for pid in processes {
        assert!(has_ended(pid), "process {pid} is still there");
    }
}

#[tokio::test]
async fn an_account_known_by_its_token_has_only_its_own_rights() {
    let stack = Stack::shared().await.unwrap();
    let endpoints = stack.endpoints();
    let account = format!("rig-{}", uuid::Uuid::new_v4().simple());
    endpoints.kubectl(&["create", "serviceaccount", &account, "--namespace", "default"]).await.unwrap();
    let token = endpoints.kubectl(&["create", "token", &account, "--namespace", "default"]).await.unwrap();
    let sandbox = Sandbox::create("account", None).unwrap();
    let mut own = endpoints.clone();
    own.kubeconfig = sandbox.folder().join("kubeconfig");
    endpoints.write_kubeconfig(&token, &own.kubeconfig).unwrap();

    let who = own.kubectl(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).await.unwrap();
    assert_eq!(who, format!("system:serviceaccount:default:{account}"));
    let refused = own.kubectl(&["get", "namespaces"]).await.unwrap_err();
    assert!(
        matches!(&refused, RigError::Command { output, .. } if output.contains("Forbidden")),
        "{refused}"
    );
}

#[tokio::test]
async fn run_gives_its_command_a_stack_and_passes_its_exit_code_on() {
    let script = r#". "$TENANTRY_RIG_ENV" && kubectl get namespace default >/dev/null && exit 7"#;
    let output = rig(&["run", "--stack-only", "--", "sh", "-c", script]).await;
    assert_eq!(output.status.code(), Some(7), "{output:?}");

    // The command failed, so the logs must still be there, and only they.
    let errors = String::from_utf8(output.stderr).unwrap();
    let logs = errors.lines().find_map(|line| line.strip_prefix("rig: the logs are kept in ")).unwrap();
    let folder = std::path::Path::new(logs).parent().unwrap();
    assert!(folder.join("logs/postgres.log").exists() && !folder.join("postgres").exists());
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn up_keeps_a_stack_until_down() {
    let sandbox = Sandbox::create("up", None).unwrap();
    let folder = sandbox.folder().join("rig");
    let place = folder.to_str().unwrap();
    let up = rig(&["up", "--stack-only", "--folder", place]).await;
    assert!(up.status.success(), "{up:?}");
    let stack = Stack::attach(&folder.join("env")).unwrap();
    stack.endpoints().kubectl(&["get", "namespace", "default"]).await.unwrap();
    assert!(
        rig(&["up", "--stack-only", "--folder", place]).await.status.success(),
        "a second up changes nothing"
    );
    assert_eq!(Stack::attach(&folder.join("env")).unwrap().endpoints(), stack.endpoints());
    let pid: u32 = std::fs::read_to_string(folder.join("pid")).unwrap().trim().parse().unwrap();

    assert!(rig(&["down", "--folder", place]).await.status.success());
    assert!(has_ended(pid) && !folder.join("env").exists());
    assert!(!stack.endpoints().kubeconfig.exists(), "the scratch folder is gone");
}

#[tokio::test]
async fn up_ends_with_the_process_that_it_is_for() {
    let sandbox = Sandbox::create("until", None).unwrap();
    let folder = sandbox.folder().join("rig");
    let mut owner = tokio::process::Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
    let until = format!("--until={}", owner.id().unwrap());
    let up = rig(&["up", "--stack-only", &until, "--folder", folder.to_str().unwrap()]).await;
    assert!(up.status.success(), "{up:?}");
    let pid: u32 = std::fs::read_to_string(folder.join("pid")).unwrap().trim().parse().unwrap();
    assert!(!has_ended(pid), "it runs for as long as its owner");

    owner.kill().await.unwrap();
    eventually("the stack ends", Duration::from_secs(20), async || {
        if has_ended(pid) && !folder.join("env").exists() { Ok(()) } else { Err("it runs") }
    })
    .await
    .unwrap();
}

async fn rig(args: &[&str]) -> std::process::Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tenantry-rig"));
    tokio::time::timeout(Duration::from_secs(120), command.args(args).kill_on_drop(true).output())
        .await
        .unwrap()
        .unwrap()
}

/// Plays the victim of the next test: starts children, says so, and waits to be killed. Alone it does nothing.
#[test]
#[allow(clippy::disallowed_methods, reason = "it has no runtime, and waits to be killed")]
fn victim() {
    let Some(report) = std::env::var_os("TENANTRY_RIG_VICTIM") else { return };
    let sandbox = Sandbox::create("victim", None).unwrap();
    let children = [Signal::KILL, Signal::TERM].map(|signal| {
        // A grandchild as well: the whole group has to go.
        let launch = Launch::new("sleeper", "/bin/sh").args(["-c", "sleep 600 & wait"]).exit_signal(signal);
        sandbox.spawn(&launch).unwrap().pid()
    });
    let text = format!("{}\n{}\n{}\n", children[0], children[1], sandbox.folder().display());
    let partial = std::path::Path::new(&report).with_extension("partial");
    std::fs::write(&partial, text).unwrap();
    std::fs::rename(&partial, &report).unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

#[tokio::test]
async fn children_end_when_the_process_that_started_them_gets_sigkill() {
    let report = std::env::temp_dir().join(format!("tenantry-victim-{}", uuid::Uuid::new_v4().simple()));
    let mut victim = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["rig::victim", "--exact", "--nocapture"])
        .env("TENANTRY_RIG_VICTIM", &report)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let text =
        eventually("the victim reports", Duration::from_secs(20), async || std::fs::read_to_string(&report))
            .await
            .unwrap();
    let mut lines = text.lines();
    let children: Vec<u32> = lines.by_ref().take(2).map(|pid| pid.parse().unwrap()).collect();
    let folder = std::path::PathBuf::from(lines.next().unwrap());
    assert!(folder.exists() && children.iter().all(|pid| !has_ended(*pid)), "all alive before the kill");

    victim.kill().await.unwrap();

    eventually("the children end and the folder goes", Duration::from_secs(10), async || {
        let left: Vec<u32> = children.iter().copied().filter(|pid| !has_ended(*pid)).collect();
        if left.is_empty() && !folder.exists() { Ok(()) } else { Err(format!("{left:?} {folder:?}")) }
    })
    .await
    .unwrap();
    std::fs::remove_file(&report).unwrap();
}

/// Gone, or a zombie that nobody has reaped yet.
fn has_ended(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}
