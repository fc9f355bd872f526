//! The watchdog: a session of direct access beyond a limit is ended, whatever it has set.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tenantry_e2e::cluster::{Cluster, operate};
use tenantry_rig::{Stack, eventually};

/// A minute, what the watchdog waits for Postgres itself, two of its looks, and some.
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
#[ignore = "takes a minute and a half; make sweep"]
async fn a_transaction_that_stays_open_is_ended() {
    let stack = Stack::private("it looks at the sessions of a whole server").await.unwrap();
    let _operator = operate(&stack).await;
    let cluster = Cluster::of(stack.endpoints()).await;
    let access =
        json!({"name": "read", "level": "Read", "secretRef": {"name": "sessions", "namespace": "default"}});
    cluster.tenant("sessions", json!({"deletionPolicy": "Delete", "access": [access]})).await;
    cluster.until_ready("sessions").await;
    let secrets: Api<Secret> = Api::namespaced(cluster.endpoints.kube_client().await.unwrap(), "default");
    let data = secrets.get("sessions").await.unwrap().data.unwrap_or_default();
    let values: BTreeMap<String, String> =
        data.into_iter().map(|(key, value)| (key, String::from_utf8(value.0).unwrap())).collect();
    let mut reader = PgConnection::connect(&values["uri"]).await.unwrap();
    let mut idle = PgConnection::connect(&values["uri"]).await.unwrap();
    let open = "SET idle_in_transaction_session_timeout = 0; BEGIN; SELECT count(*) FROM core_user";
    sqlx::raw_sql(open).execute(&mut reader).await.unwrap();
    // As somebody does who owns the server: nobody else sees what a session does.
    let sessions =
        format!("SELECT state FROM pg_stat_activity WHERE usename = '{}' ORDER BY state", values["username"]);
    assert_eq!(cluster.texts(&sessions).await, ["idle", "idle in transaction"]);
    eventually("the session is ended", LIMIT, || async {
        let left = cluster.texts(&sessions).await;
        if left == ["idle"] { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await
    .unwrap();
    assert!(sqlx::raw_sql("SELECT 1").execute(&mut reader).await.is_err());
    sqlx::raw_sql("SELECT 1").execute(&mut idle).await.unwrap();
}
