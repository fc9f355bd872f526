//! Things that people break by hand, on stacks of their own where the operator looks for drift every second.

use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::json;
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::cluster::{Cluster, LIMIT, operate_with};
use tenantry_e2e::manifests::{customer, search_of, shop, shop_with_invoices, uses};
use tenantry_e2e::program::{Program, ProgramOptions};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::{Stack, eventually};

const SETTINGS: [(&str, &str); 3] = [
    ("TENANTRY__RECONCILE__DRIFT_SCAN_SECONDS", "1"),
    // A killed operator's lease runs out soon.
    ("TENANTRY__LEADER__DURATION_SECONDS", "2"),
    ("TENANTRY__LEADER__RENEW_SECONDS", "1"),
];

struct Watched {
    cluster: Cluster,
    operator: Program,
    _stack: Stack,
}

impl Watched {
    async fn start() -> Self {
        let stack = Stack::private("the operator looks for drift every second there").await.unwrap();
        let settings = SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let options = ProgramOptions { settings, ..ProgramOptions::default() };
        let operator = operate_with(&stack, &options).await;
        Self { cluster: Cluster::of(stack.endpoints()).await, operator, _stack: stack }
    }

    /// The sum of the operator's series that start so.
    async fn metric(&self, start: &str) -> f64 {
        let url = format!("{}/metrics", self.operator.metrics_url());
        let text = http_client().unwrap().get(url).send().await.unwrap().text().await.unwrap();
        let values = text.lines().filter(|line| line.starts_with(start));
        values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    async fn until_caught_up(&self) {
        eventually("the operator has caught up", LIMIT, || async {
            if self.metric("tenantry_caught_up").await == 1.0 { Ok(()) } else { Err("not yet") }
        })
        .await
        .unwrap();
    }

    /// Waits for `more` whole looks at everything.
    async fn until_scanned(&self, more: f64) {
        const SCANS: &str = "tenantry_drift_scans_total{result=\"complete\"}";
        let before = self.metric(SCANS).await;
        eventually("everything was looked at", LIMIT, || async {
            let scans = self.metric(SCANS).await;
            if scans >= before + more { Ok(()) } else { Err(format!("{scans}")) }
        })
        .await
        .unwrap();
    }

    /// The notes of the Events about repaired drift of a tenant, oldest first.
    async fn notes(&self, tenant: &str) -> Vec<String> {
        self.cluster.notes(tenant, "DriftRepaired").await
    }

    /// Waits until the drift of `tenant` was repaired for the `number`th time; what the Event says.
    async fn until_repaired(&self, tenant: &str, number: usize) -> String {
        self.cluster.until_note(tenant, "DriftRepaired", number).await
    }
}

/// Ready, and never anything else since it first was.
fn ready_since(tenant: &Tenant) -> String {
    let conditions = &tenant.status.as_ref().unwrap().conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "True");
    format!("{:?}", ready.last_transition_time)
}

#[tokio::test]
async fn what_somebody_took_away_is_put_back_and_told_once() {
    let watched = Watched::start().await;
    let cluster = &watched.cluster;
    cluster.app("drift", shop_with_invoices("1.0.0")).await;
    cluster.search_index("drift", search_of("drift")).await;
    cluster.tenant("drift-one", uses("drift", "Delete")).await;
    let since = ready_since(&cluster.until_ready("drift-one").await);
    cluster.tenant("drift-two", uses("drift", "Delete")).await;
    cluster.until_ready("drift-two").await;
    watched.until_caught_up().await;
    watched.until_scanned(2.0).await;
    let stream = cluster.keys("drift-one").await.remove(0);

    // What is broken, what of it the metric counts, and what the Event says.
    let in_postgres: &[(&str, &str, &str)] = &[
        ("DROP TABLE $.drift_order", "table", "table drift_order (made again empty: its rows are lost)"),
        (
            "DROP TABLE $.\"drift_invoice-history\"",
            "table",
            "table drift_invoice-history (made again empty: its rows are lost)",
        ),
        (
            "DROP TABLE $.\"drift_invoice-counter\"",
            "table",
            "table drift_invoice-counter (made again empty: its rows are lost)",
        ),
        (
            "ALTER TABLE $.\"drift_invoice-history\" DROP COLUMN actor",
            "column",
            "column drift_invoice-history.actor",
        ),
        ("REVOKE INSERT ON $.\"drift_invoice-counter\" FROM $", "grant", "grants on drift_invoice-counter"),
        ("ALTER TABLE $.drift_customer DROP COLUMN credit", "column", "column drift_customer.credit"),
        ("DROP INDEX $.\"drift_customer-region-idx\"", "index", "index drift_customer-region-idx"),
        ("REVOKE INSERT ON $.drift_customer FROM $", "grant", "grants on drift_customer"),
        ("REVOKE USAGE ON SCHEMA $ FROM $", "grant", "grant on the schema"),
        (
            "ALTER DEFAULT PRIVILEGES FOR ROLE $_owner IN SCHEMA $ REVOKE ALL ON TABLES FROM $",
            "default_privileges",
            "default privileges on tables",
        ),
        (
            "ALTER TABLE $.drift_customer DROP CONSTRAINT \"drift_customer-status-check\"",
            "constraint",
            "check of drift_customer.status",
        ),
        (
            "REVOKE tenantry_tenants FROM $ GRANTED BY tenantry_provisioner_00",
            "membership",
            "the role's right to the journals",
        ),
        (
            "REVOKE $ FROM tenantry_shard_00 GRANTED BY tenantry_provisioner_00",
            "membership",
            "the traffic login's membership",
        ),
        (
            "DELETE FROM tenantry.stream_binding WHERE tenant = 'drift-one'",
            "registry",
            "1 row of the registry",
        ),
        ("DELETE FROM tenantry.tenant WHERE name = 'drift-one'", "registry", "rows of the registry"),
        ("DROP SCHEMA $ CASCADE", "schema", "the schema (made again empty: all documents are lost)"),
        (
            "DROP SCHEMA $ CASCADE; DROP OWNED BY $; DROP ROLE $; DROP OWNED BY $_owner; DROP ROLE $_owner",
            "role",
            "the owner role",
        ),
    ];
    let mut repairs = 0;
    for (break_it, kind, said) in in_postgres {
        let series = format!("tenantry_drift_total{{backend=\"postgres\",kind=\"{kind}\"}}");
        let before = watched.metric(&series).await;
        cluster.run_sql(&break_it.replace('$', "tenant_drift_one")).await;
        repairs += 1;
        let note = watched.until_repaired("drift-one", repairs).await;
        assert!(note.contains(said), "{break_it}: {note}");
        assert!(watched.metric(&series).await > before, "{break_it}: {series}");
        if *kind == "sequence" {
            let next = "SELECT nextval('tenant_drift_one.\"drift_order-id-series\"')::text";
            assert_eq!(cluster.texts(next).await, ["42"], "a number in use is not given twice");
        }
    }
    assert_eq!(ready_since(&cluster.until_ready("drift-one").await), since, "Ready throughout");

    for (break_it, kind, said) in [
        (vec!["XGROUP", "DESTROY", &stream, "workers"], "group", "consumer group"),
        (vec!["DEL", &stream], "stream", "its jobs are lost"),
    ] {
        cluster.redis_command(&break_it).await;
        repairs += 1;
        let note = watched.until_repaired("drift-one", repairs).await;
        assert!(note.contains(&stream) && note.contains(said), "{note}");
        let series = format!("tenantry_drift_total{{backend=\"redis\",kind=\"{kind}\"}}");
        assert_eq!(watched.metric(&series).await, 1.0, "{series}");
    }

    let index = "drift-one_drift_customer";
    cluster.change_index(index, json!({"filterableAttributes": ["name"]})).await;
    let note = watched.until_repaired("drift-one", repairs + 1).await;
    assert!(note.contains(&format!("settings of search index {index}")), "{note}");
    let settings = cluster.index_settings(index).await.unwrap();
    assert_eq!(settings["filterableAttributes"], json!(["created_by", "id", "region", "status"]));
    cluster.delete_index(index).await;
    let note = watched.until_repaired("drift-one", repairs + 2).await;
    assert!(note.contains(&format!("search index {index} (made again empty: it is filled again)")), "{note}");
    assert_eq!(watched.metric("tenantry_drift_total{backend=\"search\"").await, 2.0);

    // Somebody else's index under the name of ours: what the worker knows of its contents is forgotten.
    let progress = "SELECT index_uid FROM tenantry.search_progress WHERE tenant = 'drift-one'";
    watched.until_scanned(2.0).await;
    cluster
        .run_sql(&format!(
            "INSERT INTO tenantry.search_progress (tenant, app, doc_type, index_uid)
                 VALUES ('drift-one', 'drift', 'customer', '{index}') ON CONFLICT DO NOTHING"
        ))
        .await;
    cluster.replace_index(index).await;
    let note = watched.until_repaired("drift-one", repairs + 3).await;
    assert!(note.contains("which somebody made anew"), "{note}");
    assert_eq!(cluster.texts(progress).await, [""; 0]);

    watched.until_scanned(2.0).await;
    assert_eq!(watched.notes("drift-one").await.len(), repairs + 3, "each is told once");
    assert_eq!(watched.notes("drift-two").await, [""; 0]);
    assert_eq!(watched.metric("tenantry_drifted_tenants").await, 0.0);
}

#[tokio::test]
async fn drift_that_cannot_be_repaired_stalls_the_tenant_and_is_no_hot_loop() {
    let watched = Watched::start().await;
    let cluster = &watched.cluster;
    cluster.app("stuck", shop("1.0.0", customer())).await;
    cluster.tenant("stuck-one", uses("stuck", "Delete")).await;
    cluster.until_ready("stuck-one").await;
    watched.until_caught_up().await;
    // Without its mark, the schema could be anyone's.
    cluster.run_sql("COMMENT ON SCHEMA tenant_stuck_one IS NULL").await;
    cluster.until("stuck-one", "Stalled", "True", "NameConflict").await;
    let passes = watched.metric("controller_runtime_reconcile_total{controller=\"tenant\"").await;
    watched.until_scanned(3.0).await;
    let more = watched.metric("controller_runtime_reconcile_total{controller=\"tenant\"").await - passes;
    assert!(more <= 1.0, "{more} passes");
    assert_eq!(watched.notes("stuck-one").await, [""; 0]);
}

#[tokio::test]
async fn at_rest_nothing_is_written_and_a_restart_costs_no_pass_for_each() {
    const TENANTS: usize = 12;
    let watched = Watched::start().await;
    let cluster = &watched.cluster;
    cluster.app("calm", shop("1.0.0", customer())).await;
    cluster.search_index("calm", search_of("calm")).await;
    for n in 0..TENANTS {
        cluster.tenant(&format!("calm-{n}"), uses("calm", "Delete")).await;
    }
    for n in 0..TENANTS {
        cluster.until_ready(&format!("calm-{n}")).await;
    }
    watched.until_caught_up().await;
    watched.until_scanned(2.0).await;

    // Postgres itself may write now and then, as autovacuum does; a scan would write every time.
    eventually("looks that write nothing", LIMIT * 2, || async {
        let before = Written::read(cluster).await;
        watched.until_scanned(3.0).await;
        let after = Written::read(cluster).await;
        if after == before { Ok(()) } else { Err(format!("{before:?} became {after:?}")) }
    })
    .await
    .unwrap();

    let passes = "controller_runtime_reconcile_total{controller=\"tenant\"";
    watched.operator.server().kill().await.unwrap();
    // Gone while nobody looked.
    cluster.run_sql("DROP INDEX tenant_calm_3.\"calm_customer-region-idx\"").await;
    watched.operator.server().start().await.unwrap();
    watched.until_caught_up().await;
    watched.until_repaired("calm-3", 1).await;
    let index = "SELECT indexrelid::regclass::text FROM pg_index WHERE indexrelid = to_regclass('tenant_calm_3.\"calm_customer-region-idx\"')";
    assert_eq!(cluster.texts(index).await.len(), 1);
    assert_eq!(watched.metric(passes).await, 1.0, "only the one that drifted");

    // A definition that changed while nobody looked is no drift, and reaches the tenants all the same.
    watched.operator.server().kill().await.unwrap();
    let mut wider = search_of("calm");
    wider["filterable"] = json!(["status", "email"]);
    cluster.search_index("calm", wider).await;
    watched.operator.server().start().await.unwrap();
    watched.until_caught_up().await;
    let narrow =
        "SELECT tenant FROM tenantry.search_binding WHERE NOT live OR NOT settings->'filterable' ? 'email'";
    eventually("all are changed", LIMIT, || async {
        let narrow = cluster.texts(narrow).await;
        if narrow.is_empty() { Ok(()) } else { Err(format!("{narrow:?}")) }
    })
    .await
    .unwrap();
    assert_eq!(watched.metric("tenantry_drift_total").await, 0.0);
}

#[tokio::test]
async fn a_new_leader_mends_logins_that_do_not_open_or_lack_a_right_and_leaves_the_others_alone() {
    let watched = Watched::start().await;
    let cluster = &watched.cluster;
    cluster.app("doors", shop("1.0.0", customer())).await;
    cluster.tenant("doors-one", uses("doors", "Delete")).await;
    cluster.until_ready("doors-one").await;
    let as_they_are = "SELECT concat_ws(' ', rolname, rolcanlogin, rolcreaterole, xmin) FROM pg_authid
                       WHERE rolname IN ('tenantry_shard_00', 'tenantry_provisioner_00') ORDER BY 1";
    let right = "SELECT pg_has_role('tenantry_provisioner_00', 'tenantry_migrators', 'MEMBER WITH ADMIN OPTION')::text";
    let restart = async |broken: Option<&str>| {
        watched.operator.server().kill().await.unwrap();
        if let Some(broken) = broken {
            cluster.run_sql(broken).await;
        }
        watched.operator.server().start().await.unwrap();
        watched.until_caught_up().await;
        cluster.texts(as_they_are).await
    };
    let mut standing = restart(None).await;
    for broken in [
        "ALTER ROLE tenantry_shard_00 PASSWORD 'another'",
        "ALTER ROLE tenantry_provisioner_00 PASSWORD 'another'",
        "ALTER ROLE tenantry_provisioner_00 NOCREATEROLE",
        "REVOKE tenantry_migrators FROM tenantry_provisioner_00 GRANTED BY tenantry_operator",
    ] {
        let mended = restart(Some(broken)).await;
        assert_ne!(mended, standing, "{broken}");
        assert_eq!(restart(None).await, mended, "in place again after {broken}");
        assert!(mended[0].contains("tenantry_provisioner_00 t t "), "{mended:?}");
        assert_eq!(cluster.texts(right).await, ["true"], "{broken}");
        standing = mended;
    }
}

/// What would move if anything were written.
#[derive(Debug, PartialEq)]
struct Written {
    postgres: Vec<String>,
    kubernetes: Vec<String>,
    redis: String,
    search: String,
}

impl Written {
    async fn read(cluster: &Cluster) -> Self {
        let client = cluster.endpoints.kube_client().await.unwrap();
        let tenants = Api::<Tenant>::all(client.clone()).list(&ListParams::default()).await.unwrap();
        let events = Api::<Event>::all(client).list(&ListParams::default()).await.unwrap();
        let versions = tenants.items.iter().map(|tenant| tenant.metadata.resource_version.clone());
        let events = events.items.iter().map(|event| event.metadata.resource_version.clone());
        // No transaction that wrote anything can end without an id of its own; the operator's statements show theirs.
        let postgres = cluster.texts("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").await;
        Self {
            postgres,
            kubernetes: versions.chain(events).flatten().collect(),
            redis: cluster.dirty_keys().await,
            search: cluster.newest_search_task().await,
        }
    }
}
