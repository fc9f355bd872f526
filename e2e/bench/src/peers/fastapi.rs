//! FastAPI on uvicorn, with asyncpg: the service that many write by hand.

use std::path::Path;

use tenantry_e2e::Platform;
use tenantry_rig::process::Launch;
use tenantry_rig::toolchain::{FASTAPI_VERSION, Peers};

use super::super::Outcome;
use super::super::crowd::{User, plain_by_id, plain_insert, plain_list};
use super::server::{About, Peer};

const SETUP: &str = "uvicorn with uvloop and httptools, two workers with 8 connections each, statements prepared and kept, one \
                         round trip and JSON made by PostgreSQL; it chooses the tenant's schema by a header and knows neither \
                         tokens nor permissions";

/// Starts it on the platform's database.
pub async fn start(installed: &Peers, platform: &Platform<'_>, user: &User) -> Outcome<Peer> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/peers");
    let paths = std::env::join_paths([installed.site_packages.as_path(), Path::new(source)])?;
    let database = platform.endpoints().database_url.clone();
    let about = About {
        name: format!("FastAPI {FASTAPI_VERSION}"),
        setup: SETUP,
        requests: [plain_by_id, plain_list, plain_insert],
        tenants: usize::MAX,
    };
    Peer::start(about, user, |port| {
        Launch::new("fastapi", &installed.python)
            .args(["-m", "uvicorn", "fastapi_peer:app", "--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--workers", "2", "--loop", "uvloop", "--http", "httptools"])
            .args(["--no-access-log", "--log-level", "warning"])
            .env("PYTHONPATH", &paths)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("DATABASE_URL", &database)
    })
    .await
}
