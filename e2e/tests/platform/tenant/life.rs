//! Taking back what was kept, protection, and backends that are gone for good.

use serde_json::json;
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::cluster::{Cluster, LIMIT, condition_of, operate};
use tenantry_e2e::manifests::{customer, search_of, shop, uses};
use tenantry_rig::{Stack, eventually};

use super::access::{access, command, query, secret_values};

/// Everything that any backend has: roles, schemas, the rows of every table of the registry, keys, indexes. What of it
/// counts or grows by itself is left out.
async fn everything(cluster: &Cluster) -> Vec<String> {
    let mut all = cluster
        .texts(
            "SELECT 'role ' || r.rolname || coalesce(' in ' || string_agg(g.rolname, ',' ORDER BY g.rolname), '')
             FROM (SELECT r.oid, r.rolname FROM pg_roles r WHERE r.rolname NOT LIKE 'pg\\_%') r
             LEFT JOIN pg_auth_members m ON m.member = r.oid LEFT JOIN pg_roles g ON g.oid = m.roleid
                  AND g.rolname NOT LIKE 'tenantry%'
             GROUP BY r.rolname
             UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
             UNION ALL SELECT 'relation ' || c.oid::regclass FROM pg_class c
                  JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
             UNION ALL SELECT 'session ' || usename FROM pg_stat_activity WHERE usename LIKE 'tenant\\_%'",
        )
        .await;
    let tables = cluster
        .texts(
            "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = 'tenantry'::regnamespace
             AND c.relkind IN ('r', 'p') AND NOT c.relispartition
             AND c.relname NOT IN ('leader_epoch', 'login_shard', '_sqlx_migrations',
                 -- That a tenant is gone: replicas look there, and the worker sweeps it.
                 'registry_change')",
        )
        .await;
    for table in tables {
        let rows = format!("SELECT '{table} ' || to_jsonb(t)::text FROM tenantry.\"{table}\" t");
        all.extend(cluster.texts(&rows).await);
    }
    let keys = cluster.redis_command(&["KEYS", "*"]).await;
    let keys: Vec<String> = redis::FromRedisValue::from_redis_value(keys).unwrap();
    all.extend(keys.into_iter().map(|key| format!("key {key}")));
    all.extend(cluster.indexes().await.into_iter().map(|uid| format!("index {uid}")));
    all.sort();
    all
}

async fn filled(cluster: &Cluster, app: &str, tenant: &str, policy: &str) {
    cluster.tenant(tenant, uses(app, policy)).await;
    cluster.until_ready(tenant).await;
    cluster.add_customer(app, tenant).await;
    let schema = format!("tenant_{}", tenant.replace('-', "_"));
    cluster
        .run_sql(&format!(
            "INSERT INTO tenantry.outbox (role, app, doc_type, doc_id, doc_version, operation)
               VALUES ('{schema}', '{app}', 'customer', '1', 1, 'Delete');
             INSERT INTO tenantry.audit (role, actor, action, app, doc_type, doc_id, doc_version, request_id)
               VALUES ('{schema}', 'u', 'Create', '{app}', 'customer', '1', 1, 'r')"
        ))
        .await;
    let stream = cluster.keys(tenant).await.remove(0);
    for (from, to) in [("q:", "d:"), ("q:", "q:")] {
        cluster.redis_command(&["XADD", &stream.replacen(from, to, 1), "*", "id", "1"]).await;
    }
    cluster.redis_command(&["ZADD", &stream.replacen("q:", "z:", 1), "1", "job"]).await;
}

#[tokio::test]
async fn delete_leaves_every_backend_as_it_was() {
    let stack = Stack::private("all that any backend has is compared").await.unwrap();
    let _operator = operate(&stack).await;
    let cluster = Cluster::of(stack.endpoints()).await;
    cluster.app("trace", shop("1.0.0", customer())).await;
    cluster.search_index("trace", search_of("trace")).await;
    // The first tenant makes the logins of its shard, which stay for others.
    filled(&cluster, "trace", "trace-zero", "Delete").await;
    cluster.delete::<Tenant>("trace-zero").await;
    let before = everything(&cluster).await;
    filled(&cluster, "trace", "trace-one", "Delete").await;
    let during = everything(&cluster).await;
    for kind in ["role tenant_trace_one", "schema tenant_trace_one", "outbox ", "audit ", "index ", "key "] {
        assert!(during.iter().any(|line| line.starts_with(kind)), "{kind} is seen: {during:?}");
    }
    cluster.delete::<Tenant>("trace-one").await;
    assert_eq!(everything(&cluster).await, before);
}

#[tokio::test]
async fn what_was_retained_is_taken_back_when_the_manifest_says_so() {
    let cluster = Cluster::shared().await;
    cluster.app("heir", shop("1.0.0", customer())).await;
    cluster.search_index("heir", search_of("heir")).await;
    filled(&cluster, "heir", "heir-one", "Retain").await;
    let jobs = |keys: &[String]| {
        let stream = keys.iter().find(|key| key.starts_with("q:") || key.contains("q:")).unwrap().clone();
        async move { cluster_xlen(&Cluster::shared().await, &stream).await }
    };
    let keys = cluster.keys("heir-one").await;
    assert_eq!(jobs(&keys).await, 1);
    cluster.delete::<Tenant>("heir-one").await;

    cluster.tenant("heir-one", uses("heir", "Delete")).await;
    let stalled = cluster.until("heir-one", "Stalled", "True", "NameConflict").await;
    assert!(condition_of(&stalled, "Ready").unwrap().2.contains("spec.adoptRetained"));
    let before = cluster.texts("SELECT now()::text").await.remove(0);
    let mut adopting = uses("heir", "Delete");
    adopting["adoptRetained"] = json!(true);
    cluster.tenant("heir-one", adopting).await;
    let tenant = cluster.until_ready("heir-one").await;

    let uid = tenant.metadata.uid.unwrap();
    let mark = format!("tenantry.dev/tenant {uid}");
    let marks = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'tenant_heir_one'
         UNION ALL SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname LIKE 'tenant\\_heir\\_one%'";
    assert_eq!(cluster.texts(marks).await, [mark.clone(), mark.clone(), mark]);
    let row = format!(
        "SELECT concat_ws(' ', uid, state, ready, deleted_at IS NULL,
             pg_has_role('tenantry_shard_{}', 'tenant_heir_one', 'SET')) FROM tenantry.tenant WHERE name = 'heir-one'",
        cluster.shard_of("heir-one").await
    );
    assert_eq!(cluster.texts(&row).await, [format!("{uid} Active t t t")]);
    assert_eq!(cluster.texts("SELECT name FROM tenant_heir_one.heir_customer").await, ["Ada"]);
    assert_eq!(jobs(&keys).await, 1, "jobs are data");
    assert!(cluster.index_settings("heir-one_heir_customer").await.is_some());
    // A worker that runs beside may have filled the new index by now.
    let filled = format!(
        "SELECT count(*)::text FROM tenantry.search_progress WHERE tenant = 'heir-one' AND backfilled_at < '{before}'"
    );
    assert_eq!(cluster.texts(&filled).await, ["0"], "the worker fills the new index from the tables");
    cluster.delete::<Tenant>("heir-one").await;
    assert_eq!(cluster.traces("heir-one").await, [""; 0]);
    assert_eq!(cluster.keys("heir-one").await, [""; 0]);
}

async fn cluster_xlen(cluster: &Cluster, stream: &str) -> i64 {
    redis::FromRedisValue::from_redis_value(cluster.redis_command(&["XLEN", stream]).await).unwrap()
}

#[tokio::test]
async fn nothing_but_retained_data_is_taken_over() {
    let cluster = Cluster::shared().await;
    let adopting = json!({"adoptRetained": true, "deletionPolicy": "Delete"});
    cluster.run_sql("CREATE SCHEMA tenant_usurp_one; CREATE TABLE tenant_usurp_one.report (n int)").await;
    cluster.tenant("usurp-one", adopting.clone()).await;
    cluster.until("usurp-one", "Stalled", "True", "NameConflict").await;
    let other = "tenantry.dev/tenant 00000000-0000-0000-0000-000000000001";
    cluster.run_sql(&format!("COMMENT ON SCHEMA tenant_usurp_one IS '{other}'")).await;
    cluster.nudge("usurp-one").await;
    cluster.until("usurp-one", "Stalled", "True", "NameConflict").await;
    cluster.run_sql(&format!("COMMENT ON SCHEMA tenant_usurp_one IS '{other} retained'")).await;
    cluster.nudge("usurp-one").await;
    // A schema alone, without the roles of its tenant, is nobody's.
    cluster.until("usurp-one", "Stalled", "True", "NameConflict").await;
    cluster.delete::<Tenant>("usurp-one").await;
    assert_eq!(cluster.columns("tenant_usurp_one", "report").await, ["n integer"]);
    cluster.run_sql("DROP SCHEMA tenant_usurp_one CASCADE").await;
}

#[tokio::test]
async fn a_protected_tenant_stays_as_it_is_until_it_may_go() {
    let cluster = Cluster::shared().await;
    let spec = |protected: bool| json!({"deletionPolicy": "Delete", "deletionProtection": protected});
    cluster.tenant("safe-one", spec(true)).await;
    cluster.until_ready("safe-one").await;
    cluster.begin_delete("safe-one").await;
    let held = cluster.until("safe-one", "Ready", "False", "DeletionProtected").await;
    assert!(condition_of(&held, "Ready").unwrap().2.contains("spec.deletionProtection"));
    let row = "SELECT state || ready FROM tenantry.tenant WHERE name = 'safe-one'";
    assert_eq!(cluster.texts(row).await, ["Activetrue"], "served, too");
    cluster.tenant("safe-one", spec(false)).await;
    cluster.until_gone("safe-one").await;
    assert_eq!(cluster.traces("safe-one").await, [""; 0]);
}

#[tokio::test]
async fn a_backend_that_is_gone_is_named_and_left_behind_only_when_asked() {
    let stack = Stack::private("backends are stopped").await.unwrap();
    let _operator = operate(&stack).await;
    let cluster = Cluster::of(stack.endpoints()).await;
    cluster.app("lost", shop("1.0.0", customer())).await;
    cluster.search_index("lost", search_of("lost")).await;
    for tenant in ["lost-one", "lost-two", "lost-three"] {
        filled(&cluster, "lost", tenant, "Delete").await;
    }

    stack.redis().unwrap().kill().await.unwrap();
    cluster.begin_delete("lost-one").await;
    let stuck = cluster.until("lost-one", "StreamsReady", "False", "BackendUnavailable").await;
    let (status, _, message) = condition_of(&stuck, "Ready").unwrap();
    assert_eq!(status, "False");
    for part in ["Redis does not answer", "3 keys", "tenantry.dev/force-release=redis"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    gone_from_search(&cluster, "lost-one").await;
    cluster.annotate("lost-one", "tenantry.dev/force-release", "search").await;
    cluster.nudge("lost-one").await;
    cluster.until("lost-one", "StreamsReady", "False", "BackendUnavailable").await;
    cluster.annotate("lost-one", "tenantry.dev/force-release", "redis,search").await;
    cluster.until_gone("lost-one").await;
    assert_eq!(cluster.traces("lost-one").await, [""; 0]);
    assert_eq!(orphans(&cluster, "lost-one").await, ["redis 3 keys"]);
    cluster.until_note("lost-one", "Orphaned", 1).await;
    stack.redis().unwrap().start().await.unwrap();

    stack.meilisearch().unwrap().kill().await.unwrap();
    cluster.begin_delete("lost-two").await;
    let stuck = cluster.until("lost-two", "SearchReady", "False", "BackendUnavailable").await;
    assert!(condition_of(&stuck, "Ready").unwrap().2.contains("lost-two_lost_customer"));
    eventually("Redis is cleaned all the same", LIMIT, || async {
        let keys = cluster.keys("lost-two").await;
        if keys.is_empty() { Ok(()) } else { Err(format!("{keys:?}")) }
    })
    .await
    .unwrap();
    cluster.annotate("lost-two", "tenantry.dev/force-release", "search").await;
    cluster.until_gone("lost-two").await;
    assert_eq!(cluster.traces("lost-two").await, [""; 0]);
    assert_eq!(orphans(&cluster, "lost-two").await, ["search 1 indexes"]);
    stack.meilisearch().unwrap().start().await.unwrap();

    let mut spec = uses("lost", "Delete");
    let mut site = access("site", "Write", "lost-site");
    site["backends"] = json!(["Redis", "Search"]);
    spec["access"] = json!([site]);
    cluster.tenant("lost-three", spec).await;
    cluster.until_ready("lost-three").await;
    let (redis, search) = (
        secret_values(&cluster, "lost-site-redis").await.unwrap(),
        secret_values(&cluster, "lost-site-search").await.unwrap(),
    );
    assert_eq!(query(&search, "lost-three_lost_customer").await, 200);
    stack.postgres().unwrap().kill().await.unwrap();
    cluster.begin_delete("lost-three").await;
    let stuck = cluster.until("lost-three", "DatabaseReady", "False", "BackendUnavailable").await;
    assert!(condition_of(&stuck, "Ready").unwrap().2.contains("tenantry.dev/force-release=postgres"));
    cluster.annotate("lost-three", "tenantry.dev/force-release", "postgres").await;
    cluster.until_gone("lost-three").await;
    cluster.until_note("lost-three", "Orphaned", 1).await;
    assert_eq!(cluster.keys("lost-three").await, [""; 0], "what answers is cleaned");
    gone_from_search(&cluster, "lost-three").await;
    assert_eq!(command(&redis, &["PING"]).await, Err("WRONGPASS".into()));
    assert_eq!(query(&search, "lost-three_lost_customer").await, 403);
    for secret in ["lost-site-redis", "lost-site-search"] {
        assert_eq!(secret_values(&cluster, secret).await, None, "{secret}");
    }
    stack.postgres().unwrap().start().await.unwrap();
    let kept =
        ["audit", "outbox", "role tenant_lost_three", "role tenant_lost_three_owner", "row Active", "schema"];
    assert_eq!(cluster.traces("lost-three").await, kept, "with their marks");
}

async fn gone_from_search(cluster: &Cluster, tenant: &str) {
    let index = format!("{tenant}_lost_customer");
    eventually("the search engine is cleaned", LIMIT, || async {
        match cluster.index_settings(&index).await {
            None => Ok(()),
            Some(_) => Err("still there"),
        }
    })
    .await
    .unwrap();
}

async fn orphans(cluster: &Cluster, tenant: &str) -> Vec<String> {
    let sql = format!(
        "SELECT backend || ' ' || jsonb_array_length(what -> kind) || ' ' || kind
         FROM tenantry.orphan, jsonb_object_keys(what - 'why') kind WHERE tenant = '{tenant}' AND by <> '' ORDER BY 1"
    );
    cluster.texts(&sql).await
}
