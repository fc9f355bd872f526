//! Many tasks, many tenants, few connections; requests that are dropped half way, tasks that panic, transactions that fail,
//! connections that break. Whatever happens, a tenant sees its own rows and all that was acknowledged, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::task::JoinSet;

use crate::postgres::{
    DatabaseError, Group, TenantDatabase, Tuning,
    on_servers::{bound, read, write},
};
use crate::{fixture::Fixture, registry::TenantEntry};

const TENANTS: usize = 100;
const TASKS: usize = 200;
const STEPS: usize = 25;
const SEED: u64 = 20_261_121;

const INSERT: &str = "INSERT INTO @.core_setting (id, key, created_by, updated_by) VALUES ($1::text, $1::text, current_user, current_user)";
const KEYS: &str = "SELECT key, current_user::text, created_by FROM @.core_setting";

struct World {
    database: TenantDatabase,
    tenants: Vec<Arc<TenantEntry>>,
    /// Keys that were acknowledged, and those of which nobody waited for the answer, by tenant.
    acknowledged: Mutex<BTreeMap<usize, BTreeSet<String>>>,
    open: Mutex<BTreeMap<usize, BTreeSet<String>>>,
    refused: AtomicUsize,
}

impl World {
    fn note(&self, of: &Mutex<BTreeMap<usize, BTreeSet<String>>>, tenant: usize, key: String) {
        of.lock().unwrap().entry(tenant).or_default().insert(key);
    }

    /// What the tenant sees; every row must be its own.
    async fn keys(&self, n: usize) -> Result<BTreeSet<String>, DatabaseError> {
        let tenant = &self.tenants[n];
        let reply = self.database.run(tenant, read(KEYS, &[])).await?;
        for row in &reply.rows {
            assert!(row.text(0).unwrap().starts_with(&format!("{n}:")), "tenant {n} sees {:?}", row.text(0));
            assert_eq!(row.text(1), Some(tenant.role.as_str()), "whose rights");
            assert_eq!(row.text(2), Some(tenant.role.as_str()), "whose rights it was written with");
        }
        Ok(reply.rows.iter().filter_map(|row| row.text(0)).map(str::to_owned).collect())
    }

    async fn step(self: Arc<Self>, n: usize, key: String, what: u8, patience: Duration) {
        let tenant = Arc::clone(&self.tenants[n]);
        match what {
            // A write that is waited for.
            0..=3 => match self.database.run(&tenant, write(INSERT, &[&key])).await {
                Ok(_) => self.note(&self.acknowledged, n, key),
                Err(DatabaseError::OutcomeUnknown) => self.note(&self.open, n, key),
                Err(DatabaseError::Refused(error)) => panic!("{error}"),
                Err(_) => {}
            },
            // A write of which somebody stops waiting.
            4 | 5 => {
                self.note(&self.open, n, key.clone());
                let dropped =
                    tokio::time::timeout(patience, self.database.run(&tenant, write(INSERT, &[&key])));
                drop(dropped.await);
            }
            // A transaction whose second half fails: nothing of it may be there.
            6 => {
                let group = Group::write(vec![bound(INSERT, &[&key]), bound("SELECT 1 / $1::int", &["0"])]);
                let failed = self.database.run(&tenant, group).await;
                assert!(failed.is_err(), "{failed:?}");
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            // A reach for somebody else's schema.
            7 => {
                let other = &self.tenants[(n + 1) % TENANTS];
                let sql = format!("SELECT key FROM {}.core_setting", other.schema);
                let reached = self.database.run(&tenant, read(&sql, &[])).await;
                assert!(reached.is_err(), "{reached:?}");
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            // A task that panics while its request is on the way.
            8 => {
                self.note(&self.open, n, key.clone());
                let world = Arc::clone(&self);
                let task = tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        _ = world.database.run(&world.tenants[n], write(INSERT, &[&key])) => {}
                        () = tokio::time::sleep(patience) => std::panic::resume_unwind(Box::new("on purpose")),
                    }
                });
                drop(task.await);
            }
            _ => drop(self.keys(n).await),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_tasks_on_a_hundred_tenants_contaminate_nothing() {
    let fixture = Fixture::new().await;
    let tuning = Tuning { connections_per_shard: 2, ..Tuning::default() };
    let mut tenants = Vec::with_capacity(TENANTS);
    for _ in 0..TENANTS {
        tenants.push(fixture.tenant("c", &[]).await);
    }
    let world = Arc::new(World {
        database: fixture.database(tuning),
        tenants,
        acknowledged: Mutex::default(),
        open: Mutex::default(),
        refused: AtomicUsize::new(0),
    });
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let world = Arc::clone(&world);
        tasks.spawn(async move {
            let mut random = StdRng::seed_from_u64(SEED + task as u64);
            for step in 0..STEPS {
                let n = random.random_range(0..TENANTS);
                let what = *[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9].choose(&mut random).unwrap();
                let patience = Duration::from_micros(random.random_range(0..3000));
                Arc::clone(&world).step(n, format!("{n}:{task}:{step}"), what, patience).await;
            }
        });
    }
    // Twice, the server drops every connection in the middle of it.
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = 'tenantry-controlplane' AND datname = current_database() AND pid <> pg_backend_pid()",
        )
        .execute(&fixture.admin)
        .await
        .unwrap();
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let mut acknowledged = 0;
    for n in 0..TENANTS {
        let seen = world.keys(n).await.unwrap();
        let sure = world.acknowledged.lock().unwrap().remove(&n).unwrap_or_default();
        let open = world.open.lock().unwrap().remove(&n).unwrap_or_default();
        let lost: Vec<_> = sure.difference(&seen).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let strange: Vec<_> =
            seen.iter().filter(|key| !sure.contains(*key) && !open.contains(*key)).collect();
        assert!(strange.is_empty(), "of transactions that failed: {strange:?}");
        acknowledged += sure.len();
    }
    assert!(acknowledged > TASKS * STEPS / 5, "only {acknowledged} were acknowledged");
    assert!(world.refused.load(Ordering::Relaxed) > TASKS, "failures were among it");
}
