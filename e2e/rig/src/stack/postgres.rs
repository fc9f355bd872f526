use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use super::{PLATFORM_DATABASE, reachable, secret};
use crate::RigError;
use crate::process::{Identity, Launch, Plan, Probe, Sandbox, Server, Signal, ports};
use crate::toolchain::PostgresPrograms;

/// How long the administrator's statements may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Starts PostgreSQL with the platform's database; yields its URL as superuser.
pub async fn start(
    sandbox: &Arc<Sandbox>,
    programs: &PostgresPrograms,
    durable: bool,
) -> Result<(Server, String), RigError> {
    let identity = Identity::unprivileged();
    if let Some(identity) = identity.filter(|identity| !identity.reaches(&sandbox.folder().join("postgres")))
    {
        return Err(RigError::Refused(format!(
            "PostgreSQL does not run as root, and {identity:?} may not enter {}: set TMPDIR to a folder open to all",
            sandbox.folder().display()
        )));
    }
    let programs = reachable::by(identity, programs, &sandbox.folder().join("postgres-programs"))?;
    let data = sandbox.subfolder("postgres", identity)?;
    let password = secret();
    initdb(sandbox, &programs, identity, &data, &password).await?;

    let (server, maintenance_url) = Server::launch(sandbox, || {
        let [port] = ports::free()?;
        let launch = program(&programs, "postgres", identity)
            .args(["-D"])
            .args([&data])
            .args(settings(port, durable).iter().flat_map(|setting| ["-c", setting]))
            // Immediate, so that the postmaster gives back its shared memory, which SIGKILL would leave behind.
            .exit_signal(Signal::QUIT);
        let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
        Ok((Plan { launch, graceful: Signal::INT, probe: probe(&url)? }, url))
    })
    .await?;
    let url = create(&maintenance_url, PLATFORM_DATABASE).await?;
    Ok((server, url))
}

/// Makes an empty database with a unique name; yields its URL.
pub async fn create_database(server_url: &str, prefix: &str) -> Result<String, RigError> {
    create(server_url, &format!("{prefix}_{}", &secret()[..12])).await
}

async fn create(server_url: &str, database: &str) -> Result<String, RigError> {
    if !database.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return Err(RigError::Refused(format!("{database:?} is no plain database name")));
    }
    let what = "creating a database";
    let mut connection = connect(server_url).await.map_err(|source| RigError::Postgres { what, source })?;
    // The name was checked above: an identifier cannot be a parameter.
    let statement = sqlx::AssertSqlSafe(format!("CREATE DATABASE {database}"));
    sqlx::raw_sql(statement)
        .execute(&mut connection)
        .await
        .map_err(|source| RigError::Postgres { what, source })?;
    let base = server_url.rsplit_once('/').map_or(server_url, |(base, _)| base);
    Ok(format!("{base}/{database}"))
}

async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    let options: PgConnectOptions = url.parse()?;
    tokio::time::timeout(LIMIT, options.connect()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

fn probe(url: &str) -> Result<Probe, RigError> {
    let options: PgConnectOptions =
        url.parse().map_err(|source| RigError::Postgres { what: "reading the URL", source })?;
    Ok(Box::new(move || {
        let options = options.clone();
        Box::pin(async move {
            let mut connection = options.connect().await.map_err(|error| error.to_string())?;
            connection.ping().await.map_err(|error| error.to_string())?;
            connection.close().await.map_err(|error| error.to_string())
        })
    }))
}

fn program(programs: &PostgresPrograms, name: &str, identity: Option<Identity>) -> Launch {
    let launch = Launch::new(name, programs.bin.join(name)).identity(identity);
    match &programs.libraries {
        Some(libraries) => launch.env("LD_LIBRARY_PATH", libraries),
        None => launch,
    }
}

async fn initdb(
    sandbox: &Sandbox,
    programs: &PostgresPrograms,
    identity: Option<Identity>,
    data: &Path,
    password: &str,
) -> Result<(), RigError> {
    let secrets = sandbox.subfolder("postgres-password", identity)?;
    let password_file = secrets.join("superuser");
    std::fs::write(&password_file, password).map_err(RigError::io("writing", &password_file))?;
    // The servers that initdb runs leave their shared memory behind on any signal, and it takes only a second.
    let launch = program(programs, "initdb", identity)
        .runs_to_end()
        .args([
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ])
        .args(["--no-instructions", "--pgdata"])
        .args([data])
        .args(["--pwfile"])
        .args([&password_file]);
    let process = sandbox.spawn(&launch)?;
    let status = process.exited(Duration::from_secs(60)).await?;
    sandbox.forget(&process);
    std::fs::remove_file(&password_file).map_err(RigError::io("removing", &password_file))?;
    if status.success() {
        return Ok(());
    }
    let tail = crate::process::tail(process.log(), 15);
    Err(RigError::Exited { name: "initdb".to_owned(), status, log: process.log().to_owned(), tail })
}

fn settings(port: u16, durable: bool) -> Vec<String> {
    let mut settings = vec![
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        // No socket file: nothing to place, to protect or to leave behind.
        "unix_socket_directories=".to_owned(),
        "max_connections=400".to_owned(),
        // A tenant with many tables is made or dropped in one transaction.
        "max_locks_per_transaction=1024".to_owned(),
        "max_wal_size=4GB".to_owned(),
        "log_line_prefix=%m [%p] %u@%d ".to_owned(),
    ];
    // What is measured is not how often a page is read again: thousands of tenants have a gigabyte of catalog.
    settings.push(format!("shared_buffers={}", if durable { "2GB" } else { "256MB" }));
    if durable {
        // Files of the log are kept, as on a server that writes all the time.
        settings.push("min_wal_size=2GB".to_owned());
    } else {
        // Commits stay synchronous: a commit that waits for nothing is lost when the server is killed, and tests kill it. What is
        // handed to the kernel survives that.
        settings.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
    }
    settings
}
