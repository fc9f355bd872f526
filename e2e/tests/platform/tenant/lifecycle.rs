use serde_json::json;
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::cluster::{Cluster, condition_of};
use tenantry_e2e::manifests::{customer, search_of, shop, uses};

#[tokio::test]
async fn a_tenant_becomes_schema_roles_streams_and_indexes() {
    let cluster = Cluster::shared().await;
    cluster.app("born", shop("1.0.0", customer())).await;
    cluster.search_index("born", search_of("born")).await;
    let mut spec = uses("born", "Delete");
    spec["hosts"] = json!(["born.example.com"]);
    cluster.tenant("born-one", spec).await;
    let tenant = cluster.until_ready("born-one").await;

    let uid = tenant.metadata.uid.clone().unwrap();
    let mark = format!("tenantry.dev/tenant {uid}");
    let marks = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'tenant_born_one'
         UNION ALL SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname LIKE 'tenant\\_born\\_one%'";
    assert_eq!(cluster.texts(marks).await, [mark.clone(), mark.clone(), mark]);
    assert_eq!(
        cluster.columns("tenant_born_one", "born_customer").await,
        [
            "id uuid!",
            "version bigint!",
            "created_at timestamp with time zone!",
            "updated_at timestamp with time zone!",
            "created_by text!",
            "updated_by text!",
            "extra jsonb!",
            "name text!",
            "email text",
            "region text",
            "status text",
            "credit numeric(18,2)",
        ]
    );
    let may = "SELECT concat_ws(' ',
             has_table_privilege('tenant_born_one', 'tenant_born_one.born_order', 'SELECT,INSERT,UPDATE,DELETE')::text,
             has_table_privilege('tenant_born_one', 'tenant_born_one.born_order', 'TRUNCATE')::text,
             has_schema_privilege('tenant_born_one', 'tenant_born_one', 'CREATE')::text,
             has_sequence_privilege('tenant_born_one', 'tenant_born_one.\"born_order-id-series\"', 'USAGE')::text,
             has_table_privilege('tenant_born_one', 'tenantry.tenant', 'SELECT')::text,
             has_table_privilege('tenant_born_one', 'tenantry.outbox', 'INSERT')::text)";
    assert_eq!(cluster.texts(may).await, ["true false false true false true"]);

    let row = "SELECT concat_ws(' ', state, ready, generation, schema_name, tenant_role,
             (SELECT string_agg(host, ',') FROM tenantry.tenant_host WHERE tenant = name),
             (SELECT string_agg(app || '@' || version || ' ' || a.state, ',' ORDER BY app) FROM tenantry.tenant_app a WHERE tenant = name),
             (SELECT bool_and(live) FROM tenantry.search_binding WHERE tenant = name))
         FROM tenantry.tenant WHERE name = 'born-one'";
    let expected = "Active t 1 tenant_born_one tenant_born_one born.example.com core@1.2.0 Installed,born@1.0.0 Installed t";
    let expected = expected
        .replace("core@1.2.0 Installed,born@1.0.0 Installed", "born@1.0.0 Installed,core@1.2.0 Installed");
    assert_eq!(cluster.texts(row).await, [expected]);

    let stream =
        cluster.texts("SELECT stream_key FROM tenantry.stream_binding WHERE tenant = 'born-one'").await;
    assert_eq!(cluster.keys("born-one").await, stream);
    let groups = format!("{:?}", cluster.redis_command(&["XINFO", "GROUPS", &stream[0]]).await);
    assert!(groups.contains("workers"), "{groups}");

    let settings = cluster.index_settings("born-one_born_customer").await.unwrap();
    assert_eq!(settings["searchableAttributes"], json!(["name", "email"]));
    assert_eq!(settings["filterableAttributes"], json!(["created_by", "id", "region", "status"]));

    let status = tenant.status.as_ref().unwrap();
    assert_eq!(status.apps_installed.as_deref(), Some("born 1.0.0"));
    assert_eq!(status.schema.as_deref(), Some("tenant_born_one"));
    for condition in ["AppsReady", "DatabaseReady", "StreamsReady", "SearchReady"] {
        assert_eq!(condition_of(&tenant, condition).unwrap().0, "True", "{condition}");
    }
}

#[tokio::test]
async fn delete_leaves_no_residue() {
    let cluster = Cluster::shared().await;
    cluster.app("gone", shop("1.0.0", customer())).await;
    cluster.search_index("gone", search_of("gone")).await;
    cluster.tenant("gone-one", uses("gone", "Delete")).await;
    cluster.until_ready("gone-one").await;
    cluster
        .run_sql(
            "INSERT INTO tenant_gone_one.gone_customer (id, name, created_by, updated_by)
                 VALUES (gen_random_uuid(), 'Ada', 'u', 'u');
             INSERT INTO tenantry.outbox (role, app, doc_type, doc_id, doc_version, operation)
                 VALUES ('tenant_gone_one', 'gone', 'customer', '1', 1, 'Put');
             INSERT INTO tenantry.audit (role, actor, action, app, doc_type, doc_id, doc_version, request_id)
                 VALUES ('tenant_gone_one', 'u', 'Create', 'gone', 'customer', '1', 1, 'r')",
        )
        .await;
    assert_eq!(cluster.traces("gone-one").await.len(), 6);
    let stream = cluster.keys("gone-one").await.remove(0);
    for (from, to) in [("q:", "d:"), ("q:", "q:")] {
        cluster.redis_command(&["XADD", &stream.replacen(from, to, 1), "*", "id", "1"]).await;
    }
    cluster.redis_command(&["ZADD", &stream.replacen("q:", "z:", 1), "1", "job"]).await;

    cluster.delete::<Tenant>("gone-one").await;
    assert_eq!(cluster.traces("gone-one").await, [""; 0]);
    assert_eq!(cluster.keys("gone-one").await, [""; 0]);
    assert_eq!(cluster.index_settings("gone-one_gone_customer").await, None);
}

#[tokio::test]
async fn retain_keeps_the_data_and_no_successor_gets_it() {
    let cluster = Cluster::shared().await;
    cluster.app("kept", shop("1.0.0", customer())).await;
    cluster.search_index("kept", search_of("kept")).await;
    cluster.tenant("kept-one", uses("kept", "Retain")).await;
    cluster.until_ready("kept-one").await;
    cluster.add_customer("kept", "kept-one").await;
    cluster.delete::<Tenant>("kept-one").await;

    let everything = ["role tenant_kept_one", "role tenant_kept_one_owner", "row Retained", "schema"];
    assert_eq!(cluster.traces("kept-one").await, everything);
    let served = format!(
        "SELECT ready::text FROM tenantry.tenant WHERE name = 'kept-one'
         UNION ALL SELECT pg_has_role('tenantry_shard_{}', 'tenant_kept_one', 'SET')::text",
        cluster.shard_of("kept-one").await
    );
    assert_eq!(cluster.texts(&served).await, ["false", "false"]);
    assert_eq!(cluster.keys("kept-one").await.len(), 1, "jobs are data");
    assert_eq!(cluster.index_settings("kept-one_kept_customer").await, None, "an index can be made again");

    cluster.tenant("kept-one", uses("kept", "Delete")).await;
    let successor = cluster.until("kept-one", "Stalled", "True", "NameConflict").await;
    let (_, _, message) = condition_of(&successor, "Ready").unwrap();
    assert!(message.contains("retained data of a deleted Tenant"), "{message}");
    cluster.delete::<Tenant>("kept-one").await;
    assert_eq!(cluster.traces("kept-one").await, everything, "the successor owned nothing of it");
    assert_eq!(cluster.texts("SELECT name FROM tenant_kept_one.kept_customer").await, ["Ada"]);
    assert_eq!(cluster.keys("kept-one").await.len(), 1);
}

#[tokio::test]
async fn a_suspended_tenant_is_said_to_be_so() {
    let cluster = Cluster::shared().await;
    let suspended = json!({"state": "Suspended", "suspendedMessage": "Unpaid", "deletionPolicy": "Delete"});
    cluster.tenant("paused-one", suspended).await;
    cluster.until_ready("paused-one").await;
    let row = "SELECT state || ' ' || suspended_message FROM tenantry.tenant WHERE name = 'paused-one'";
    assert_eq!(cluster.texts(row).await, ["Suspended Unpaid"]);
    cluster.tenant("paused-one", json!({"deletionPolicy": "Delete"})).await;
    cluster.until_ready("paused-one").await;
    let state = "SELECT state FROM tenantry.tenant WHERE name = 'paused-one'";
    assert_eq!(cluster.texts(state).await, ["Active"]);

    let broken = json!({"state": "Suspended", "apps": [{"name": "nowhere"}], "deletionPolicy": "Delete"});
    cluster.tenant("paused-one", broken).await;
    cluster.until("paused-one", "Stalled", "True", "AppNotFound").await;
    assert_eq!(cluster.texts(state).await, ["Suspended"], "whatever else is wrong");
    assert!(cluster.until_note("paused-one", "AppNotFound", 1).await.contains("nowhere"));
    cluster.tenant("paused-one", json!({"deletionPolicy": "Delete"})).await;
    cluster.until_note("paused-one", "Ready", 1).await;
    assert_eq!(cluster.notes("paused-one", "AppNotFound").await.len(), 1, "on transitions only");
}
