//! A real database with hand-made tenants, for tests that need no operator.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use tenantry_crds::{
    core_app,
    definition::AppDefinition,
    names::{AppName, OwnerRole, SchemaName, TenantName, TenantRole, TrafficLogin},
    v1alpha1::OnDelete,
};
use tenantry_migrations::{
    layout::{Composition, DefaultValue},
    logins::{LoginKey, LoginName, LoginShard},
    platform,
    sql::{Ident, Literal},
};
use tenantry_rig::Stack;
use uuid::Uuid;

use crate::{
    instances::Home,
    postgres::{Address, DatabaseMetrics, TenantDatabase, Tuning},
    registry::{Availability, InstalledApps, TenantEntry},
    vault::Vault,
};

/// A shard of its own for each fixture: logins belong to the whole server.
static NEXT_SHARD: AtomicU32 = AtomicU32::new(0);

/// Roles belong to the whole server too, so two fixtures must not make them at the same moment.
static ROLES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A database with the platform schema, as superuser.
pub struct Fixture {
    pub url: String,
    pub admin: PgPool,
    key: LoginKey,
    shard: LoginShard,
}

impl Fixture {
    pub async fn new() -> Self {
        let stack = Stack::shared().await.unwrap();
        let url = stack.create_database("controlplane").await.unwrap();
        let key = LoginKey::new(SecretString::from("a key of the control plane's own tests")).unwrap();
        let process = i16::try_from(std::process::id() % 200).unwrap();
        let shard = i16::try_from(NEXT_SHARD.fetch_add(1, Ordering::Relaxed)).unwrap();
        let shard = LoginShard::new(1000 + process * 100 + shard);
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let password = key.password(&shard.traffic());
        let roles = ROLES.lock().await;
        let login = Ident(shard.traffic().as_str()).to_string();
        for statement in [
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tenantry_operator') THEN
                CREATE ROLE tenantry_operator CREATEROLE; END IF; END $$"
                .to_owned(),
            "ALTER ROLE tenantry_operator SUPERUSER".to_owned(),
            "CREATE SCHEMA tenantry AUTHORIZATION tenantry_operator".to_owned(),
            format!("DROP ROLE IF EXISTS {login}"),
            format!("CREATE ROLE {login} LOGIN NOINHERIT PASSWORD {}", Literal(password.expose_secret())),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        }
        let admin = PgPoolOptions::new()
            .max_connections(4)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    let session = "SET SESSION AUTHORIZATION tenantry_operator; SET search_path = tenantry";
                    sqlx::raw_sql(session).execute(connection).await.map(drop)
                })
            })
            .connect(&url)
            .await
            .unwrap();
        platform::migrate(&admin).await.unwrap();
        drop(roles);
        connection.close().await.unwrap();
        Self { url, admin, key, shard }
    }

    /// What serves this fixture's tenants.
    pub fn database(&self, tuning: Tuning) -> TenantDatabase {
        self.counted(tuning, DatabaseMetrics::unregistered().unwrap())
    }

    /// The same with metrics.
    pub fn counted(&self, tuning: Tuning, metrics: DatabaseMetrics) -> TenantDatabase {
        TenantDatabase::new(Address::parse(&self.url).unwrap(), self.key.clone(), tuning, metrics)
    }

    /// A tenant with the tables of `core` and of `apps`, named after `prefix`.
    pub async fn tenant(&self, prefix: &str, apps: &[Arc<AppDefinition>]) -> Arc<TenantEntry> {
        let unique = Uuid::new_v4().simple().to_string();
        let name = TenantName::new(&format!("{prefix}-{}", &unique[..12])).unwrap();
        let entry = TenantEntry {
            uid: Uuid::new_v4(),
            origin: Uuid::new_v4(),
            schema: SchemaName::of(&name),
            role: TenantRole::of(&name),
            login_shard: self.shard,
            connections: Default::default(),
            home: Arc::new(Home::with_vault(Vault::of_keys("tests", None), None)),
            availability: Availability::Serving,
            auth: Arc::default(),
            quotas: Default::default(),
            cors: Default::default(),
            hosts: Vec::new(),
            apps: Arc::new(InstalledApps::new(with_core(apps))),
            search: Default::default(),
            streams: Default::default(),
            name,
        };
        let mut sql = self.roles(&entry);
        sql.push_str(&tables(&entry, apps));
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.admin).await.unwrap();
        Arc::new(entry)
    }

    /// Gives `tenant` a login of its own and takes it from its shard's, as the operator does.
    pub async fn dedicate(&self, tenant: &TenantEntry) {
        let login = TrafficLogin::of(&tenant.name);
        let password = self.key.password(&LoginName::of_tenant(&login));
        let (own, role, shard) = (Ident(login.as_str()), Ident(tenant.role.as_str()), self.shard.traffic());
        self.admin(&format!(
            "CREATE ROLE {own} LOGIN NOINHERIT PASSWORD {}; GRANT {role} TO {own} WITH INHERIT FALSE, SET TRUE;
             REVOKE {role} FROM {};",
            Literal(password.expose_secret()),
            Ident(shard.as_str())
        ))
        .await;
    }

    /// Gives `tenant` back to its shard's login. Its own may still log in, and may not become it.
    pub async fn share(&self, tenant: &TenantEntry) {
        let login = TrafficLogin::of(&tenant.name);
        let (own, role, shard) = (Ident(login.as_str()), Ident(tenant.role.as_str()), self.shard.traffic());
        let shard = Ident(shard.as_str());
        self.admin(&format!(
            "REVOKE {role} FROM {own}; GRANT {role} TO {shard} WITH INHERIT FALSE, SET TRUE;"
        ))
        .await;
    }

    /// Runs statements as superuser, in one transaction.
    pub async fn admin(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.admin).await.unwrap();
    }

    fn roles(&self, tenant: &TenantEntry) -> String {
        let owner = OwnerRole::of(&tenant.name);
        let (owner, role, schema) =
            (Ident(owner.as_str()), Ident(tenant.role.as_str()), Ident(tenant.schema.as_str()));
        let login = self.shard.traffic();
        let login = Ident(login.as_str());
        format!(
            "CREATE ROLE {owner} NOLOGIN; CREATE ROLE {role} NOLOGIN;
             GRANT {role} TO {login} WITH INHERIT FALSE, SET TRUE; GRANT tenantry_tenants TO {role};
             CREATE SCHEMA {schema} AUTHORIZATION {owner}; GRANT USAGE ON SCHEMA {schema} TO {role};
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}
                GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO {role};
             SET ROLE {owner};"
        )
    }
}

fn with_core(apps: &[Arc<AppDefinition>]) -> Vec<Arc<AppDefinition>> {
    let core = Arc::new(core_app::definition().unwrap());
    std::iter::once(core).chain(apps.iter().cloned()).collect()
}

/// The DDL that the operator runs, in its shortest form.
fn tables(tenant: &TenantEntry, apps: &[Arc<AppDefinition>]) -> String {
    let (mut sql, mut references) = (String::new(), String::new());
    let composition = with_core(apps);
    let schema = Ident(tenant.schema.as_str());
    for layout in Composition(&composition).tables().unwrap() {
        let table = Ident(layout.table.as_str());
        let columns: Vec<String> = layout
            .columns
            .iter()
            .map(|column| {
                let name = Ident(&column.name);
                let mut text = format!("{name} {}", column.sql_type);
                match &column.default {
                    Some(DefaultValue::Literal(literal)) => text.push_str(&format!(" DEFAULT {literal}")),
                    Some(DefaultValue::Now) => text.push_str(" DEFAULT now()"),
                    None => {}
                }
                if column.not_null {
                    text.push_str(" NOT NULL");
                }
                if let Some(values) = &column.one_of {
                    let values: Vec<_> = values.iter().map(|value| Literal(value).to_string()).collect();
                    text.push_str(&format!(" CHECK ({name} IN ({}))", values.join(", ")));
                }
                text
            })
            .collect();
        sql.push_str(&format!("CREATE TABLE {schema}.{table} ({}, PRIMARY KEY (id));", columns.join(", ")));
        if let Some(series) = &layout.series {
            sql.push_str(&format!("CREATE SEQUENCE {schema}.{};", Ident(series.as_str())));
        }
        for index in &layout.indexes {
            let unique = if index.unique { "UNIQUE" } else { "" };
            let (name, column) = (Ident(index.name.as_str()), Ident(&index.column));
            sql.push_str(&format!("CREATE {unique} INDEX {name} ON {schema}.{table} ({column});"));
        }
        for key in &layout.foreign_keys {
            let (name, column) = (Ident(key.name.as_str()), Ident(&key.column));
            let target = Ident(key.target.as_str());
            let action = match key.on_delete {
                OnDelete::Restrict => "",
                OnDelete::Cascade => "ON DELETE CASCADE",
                OnDelete::SetNull => "ON DELETE SET NULL",
            };
            references.push_str(&format!(
                "ALTER TABLE {schema}.{table} ADD CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {schema}.{target} {action};"
            ));
        }
    }
    sql + &references + "RESET ROLE;"
}

/// The app `name` with this spec, in YAML.
pub fn app(name: &str, spec: &str) -> Arc<AppDefinition> {
    let spec = serde_yaml::from_str(spec).unwrap();
    Arc::new(AppDefinition::compile(&AppName::new(name).unwrap(), &spec).unwrap())
}
