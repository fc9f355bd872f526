//! Export, and back.

use serde_json::{Value, json};
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::cluster::{Cluster, condition_of, operate_with};
use tenantry_e2e::manifests::{customer, search_of, shop, shop_with_invoices, uses};
use tenantry_e2e::program::ProgramOptions;
use tenantry_rig::Stack;

/// An operator with a folder for snapshots, on a stack of its own.
pub struct Archive {
    pub cluster: Cluster,
    pub folder: std::path::PathBuf,
    _operator: tenantry_e2e::program::Program,
    _stack: Stack,
}

impl Archive {
    pub async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("tenantry-snapshots-{}", uuid::Uuid::new_v4()));
        let stack = Stack::private("its operator has a folder for snapshots").await.unwrap();
        let url = format!("file://{}", folder.display());
        let settings = vec![("TENANTRY__SNAPSHOTS__URL".to_owned(), url)];
        let operator = operate_with(&stack, &ProgramOptions { settings, ..ProgramOptions::default() }).await;
        let cluster = Cluster::of(stack.endpoints()).await;
        Self { cluster, folder, _operator: operator, _stack: stack }
    }

    fn manifest(&self, snapshot: &str) -> Value {
        let text = std::fs::read(self.folder.join(snapshot).join("manifest.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

/// Every row of every table of a schema, as text, whatever the order of the columns.
async fn rows(cluster: &Cluster, schema: &str) -> Vec<String> {
    let tables = format!(
        "SELECT relname::text FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind = 'r' ORDER BY 1"
    );
    let mut rows = Vec::new();
    for table in cluster.texts(&tables).await {
        let of_table =
            format!("SELECT '{table} ' || to_jsonb(t)::text FROM {schema}.\"{table}\" t ORDER BY 1");
        rows.extend(cluster.texts(&of_table).await);
    }
    rows
}

pub async fn uid_of(cluster: &Cluster, tenant: &str) -> String {
    cluster.until_ready(tenant).await.metadata.uid.unwrap()
}

#[tokio::test]
async fn a_snapshot_holds_everything_and_comes_back_under_another_name() {
    let archive = Archive::start().await;
    let cluster = &archive.cluster;
    cluster.app("vault", shop_with_invoices("1.0.0")).await;
    cluster.app("attic", shop("1.0.0", customer())).await;
    cluster.search_index("vault", search_of("vault")).await;
    let both = json!({"apps": [{"name": "vault"}, {"name": "attic"}], "deletionPolicy": "Snapshot"});
    cluster.tenant("vault-one", both).await;
    cluster.until_ready("vault-one").await;
    cluster
        .run_sql(
            r#"INSERT INTO tenant_vault_one.vault_customer
                 (id, version, created_at, updated_at, name, email, credit, created_by, updated_by, extra)
               SELECT gen_random_uuid(), n, '2020-02-29 12:34:56.789012+00', now(),
                      E'N\\a"m\te\n' || n || 'ä💾', n || '@x.io', n + 0.50, 'u', 'u',
                      jsonb_build_object('k', E'a\nb\\', 'n', 1e3::numeric, 'l', '[1, null, {}]'::jsonb)
               FROM generate_series(1, 500) n;
             INSERT INTO tenant_vault_one.vault_order (id, customer, created_by, updated_by)
               SELECT 'SO-' || n, (SELECT id FROM tenant_vault_one.vault_customer LIMIT 1), 'u', 'u'
               FROM generate_series(1, 7) n;
             SELECT setval('tenant_vault_one."vault_order-id-series"', 41);
             INSERT INTO tenant_vault_one.vault_invoice (id, version, total, created_by, updated_by)
               VALUES ('INV-0012', 2, 7.50, 'u', 'v');
             INSERT INTO tenant_vault_one."vault_invoice-history" (id, doc_id, doc_version, action, actor, body)
               VALUES (gen_random_uuid(), 'INV-0012', 1, 'Create', 'u', '{"total": "7.00"}'),
                      (gen_random_uuid(), 'INV-0012', 2, 'Update', 'v', '{"total": "7.50", "note": "ä\n"}');
             INSERT INTO tenant_vault_one."vault_invoice-counter" (id, last) VALUES ('series', 12);
             INSERT INTO tenant_vault_one.attic_customer (id, name, created_by, updated_by)
               VALUES (gen_random_uuid(), 'kept', 'u', 'u');
             INSERT INTO tenant_vault_one.core_user (id, email, created_by, updated_by)
               VALUES (gen_random_uuid(), 'ada@x.io', 'u', 'u')"#,
        )
        .await;
    // The tables of an app that was taken out are part of the tenant.
    cluster.tenant("vault-one", uses("vault", "Snapshot")).await;
    let uid = uid_of(cluster, "vault-one").await;
    let before = rows(cluster, "tenant_vault_one").await;
    for table in ["attic_customer ", "vault_invoice-history ", "vault_invoice-counter "] {
        assert!(before.iter().any(|row| row.starts_with(table)), "{table}");
    }
    cluster.delete::<Tenant>("vault-one").await;
    assert_eq!(cluster.traces("vault-one").await, [""; 0]);
    assert_eq!(cluster.texts("SELECT tenant FROM tenantry.snapshot").await, [""; 0]);

    let snapshot = format!("vault-one/{uid}");
    let manifest = archive.manifest(&snapshot);
    assert_eq!(manifest["formatVersion"], 2);
    let counted: u64 =
        manifest["tables"].as_array().unwrap().iter().map(|t| t["rows"].as_u64().unwrap()).sum();
    assert_eq!(counted, u64::try_from(before.len()).unwrap());

    let mut back = uses("vault", "Delete");
    back["restoreFrom"] = json!({"snapshot": snapshot});
    cluster.tenant("vault-two", back).await;
    cluster.until_ready("vault-two").await;
    assert_eq!(rows(cluster, "tenant_vault_two").await, before);
    let series = "SELECT last_value::text || is_called FROM tenant_vault_two.\"vault_order-id-series\"";
    assert_eq!(cluster.texts(series).await, ["41true"]);
    let apps = "SELECT app || ' ' || version || ' ' || state FROM tenantry.tenant_app WHERE tenant = 'vault-two' ORDER BY 1";
    assert_eq!(
        cluster.texts(apps).await,
        ["attic 1.0.0 Removed", "core 1.2.0 Installed", "vault 1.0.0 Installed"]
    );
    let keys = "SELECT conname::text FROM pg_constraint WHERE conrelid = 'tenant_vault_two.vault_order'::regclass AND contype = 'f'";
    assert_eq!(cluster.texts(keys).await.len(), 1, "what the definitions want is there, too");
    assert!(cluster.index_settings("vault-two_vault_customer").await.is_some());

    // Never twice: what changed since stays changed.
    cluster.run_sql("DELETE FROM tenant_vault_two.vault_order").await;
    cluster.nudge("vault-two").await;
    cluster.until_ready("vault-two").await;
    assert_eq!(cluster.texts("SELECT id::text FROM tenant_vault_two.vault_order").await, [""; 0]);
    cluster.delete::<Tenant>("vault-two").await;
    assert_eq!(cluster.traces("vault-two").await, [""; 0]);
}

#[tokio::test]
async fn a_damaged_or_missing_snapshot_fills_nothing() {
    let archive = Archive::start().await;
    let cluster = &archive.cluster;
    cluster.app("worn", shop("1.0.0", customer())).await;
    cluster.tenant("worn-one", uses("worn", "Snapshot")).await;
    let uid = uid_of(cluster, "worn-one").await;
    cluster
        .run_sql(
            "INSERT INTO tenant_worn_one.worn_customer (id, name, created_by, updated_by)
               SELECT gen_random_uuid(), 'n' || n, 'u', 'u' FROM generate_series(1, 10) n",
        )
        .await;
    cluster.delete::<Tenant>("worn-one").await;
    let rows = archive.folder.join(format!("worn-one/{uid}/tables/worn_customer.ndjson"));
    let text = std::fs::read_to_string(&rows).unwrap();
    std::fs::write(&rows, text.replace("\"n7\"", "\"n8\"")).unwrap();

    let from = |snapshot: &str| {
        let mut spec = uses("worn", "Delete");
        spec["restoreFrom"] = json!({"snapshot": snapshot});
        spec
    };
    cluster.tenant("worn-two", from(&format!("worn-one/{uid}"))).await;
    let stalled = cluster.until("worn-two", "Stalled", "True", "SnapshotFailed").await;
    let (_, _, message) = condition_of(&stalled, "Ready").unwrap();
    assert!(message.contains("worn_customer") && message.contains("changed or cut"), "{message}");
    let nothing = "SELECT ready::text || (SELECT count(*) FROM pg_class WHERE relnamespace = 'tenant_worn_two'::regnamespace
                     AND relkind = 'r') FROM tenantry.tenant WHERE name = 'worn-two'";
    assert_eq!(cluster.texts(nothing).await, ["false0"], "all or nothing, and not served");
    std::fs::write(&rows, text).unwrap();
    cluster.nudge("worn-two").await;
    cluster.until_ready("worn-two").await;
    assert_eq!(cluster.texts("SELECT count(*)::text FROM tenant_worn_two.worn_customer").await, ["10"]);

    cluster.tenant("worn-three", from("worn-one/00000000-0000-0000-0000-000000000000")).await;
    let stalled = cluster.until("worn-three", "Stalled", "True", "SnapshotFailed").await;
    assert!(condition_of(&stalled, "Ready").unwrap().2.contains("there is no snapshot"));
    for tenant in ["worn-two", "worn-three"] {
        cluster.delete::<Tenant>(tenant).await;
        assert_eq!(cluster.traces(tenant).await, [""; 0]);
    }
}

#[tokio::test]
async fn a_bucket_holds_a_hundred_thousand_rows_and_its_outage_drops_nothing() {
    let stack = Stack::private("its operator has a bucket for snapshots").await.unwrap();
    let bucket = stack.bucket().await.unwrap();
    let settings = [
        ("URL", format!("s3://{}/of/tests", bucket.name)),
        ("ENDPOINT", bucket.endpoint.clone()),
        ("REGION", "us-east-1".to_owned()),
        ("ACCESS_KEY_ID", bucket.access_key_id.clone()),
        ("SECRET_ACCESS_KEY", bucket.secret_access_key.clone()),
    ];
    let settings = settings.map(|(key, value)| (format!("TENANTRY__SNAPSHOTS__{key}"), value)).to_vec();
    let options = ProgramOptions { settings, ..ProgramOptions::default() };
    let operator = operate_with(&stack, &options).await;
    let cluster = Cluster::of(stack.endpoints()).await;
    cluster.app("bulk", shop("1.0.0", customer())).await;
    cluster.tenant("bulk-one", uses("bulk", "Snapshot")).await;
    let uid = uid_of(&cluster, "bulk-one").await;
    cluster
        .run_sql(
            "INSERT INTO tenant_bulk_one.bulk_customer (id, name, email, credit, created_by, updated_by)
               SELECT gen_random_uuid(), repeat(md5(n::text), 4), n || '@x.io', n, 'u', 'u'
               FROM generate_series(1, 100000) n",
        )
        .await;
    let before = rows(&cluster, "tenant_bulk_one").await;

    bucket.server().kill().await.unwrap();
    cluster.begin_delete("bulk-one").await;
    let failed = cluster.until("bulk-one", "Ready", "False", "BackendUnavailable").await;
    let (_, _, message) = condition_of(&failed, "Ready").unwrap();
    assert!(message.contains("snapshots.url") && !message.contains(&bucket.secret_access_key), "{message}");
    assert_eq!(cluster.texts("SELECT count(*)::text FROM tenant_bulk_one.bulk_customer").await, ["100000"]);
    bucket.server().start().await.unwrap();
    cluster.until("bulk-one", "Ready", "False", "SnapshotRunning").await;
    operator.server().kill().await.unwrap();
    operator.server().start().await.unwrap();
    cluster.until_gone("bulk-one").await;
    assert_eq!(cluster.traces("bulk-one").await, [""; 0]);

    let mut back = uses("bulk", "Delete");
    back["restoreFrom"] = json!({"snapshot": format!("bulk-one/{uid}")});
    cluster.tenant("bulk-two", back).await;
    cluster.until("bulk-two", "Ready", "False", "Restoring").await;
    operator.server().kill().await.unwrap();
    operator.server().start().await.unwrap();
    cluster.until_ready("bulk-two").await;
    assert!(rows(&cluster, "tenant_bulk_two").await == before, "every row as it was");
    cluster.delete::<Tenant>("bulk-two").await;
    assert_eq!(cluster.traces("bulk-two").await, [""; 0]);
}

#[tokio::test]
async fn without_a_store_the_data_stays() {
    let cluster = Cluster::shared().await;
    cluster.app("nostore", shop("1.0.0", customer())).await;
    cluster.tenant("nostore-one", uses("nostore", "Snapshot")).await;
    cluster.until_ready("nostore-one").await;
    cluster.begin_delete("nostore-one").await;
    let stalled = cluster.until("nostore-one", "Stalled", "True", "SnapshotStoreMissing").await;
    assert!(condition_of(&stalled, "Ready").unwrap().2.contains("snapshots.url"));
    let ready = "SELECT ready::text FROM tenantry.tenant WHERE name = 'nostore-one'";
    assert_eq!(cluster.texts(ready).await, ["true"]);
    cluster.tenant("nostore-one", uses("nostore", "Delete")).await;
    cluster.until_gone("nostore-one").await;
    assert_eq!(cluster.traces("nostore-one").await, [""; 0]);
}
