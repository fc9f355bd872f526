//! What there is of a tenant and its app in all backends and in Secrets, with the names taken out: two dumps are equal when
//! nothing but the names differs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tenantry_crds::names::{AccessName, AccessRole, TenantName};
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::cluster::Cluster;
use tenantry_rig::endpoints::http_client;

use super::scenario::ACCESSES;

pub type Dump = BTreeSet<String>;

/// Of the tenant and the app `name`. A line that is there several times says how often.
pub async fn dump(cluster: &Cluster, name: &str) -> Dump {
    let api: Api<Tenant> = Api::all(cluster.kube());
    let uid = api.get_opt(name).await.unwrap().and_then(|tenant| tenant.uid());
    let uid = uid.unwrap_or_else(|| "no uid".to_owned());
    // One for all of them: a dump asks some fifty times.
    let mut database = cluster.database().await;
    let mut lines = texts(&mut database, &in_postgres(name)).await;
    lines.extend(registry(&mut database, name, &uid).await);
    lines.extend(rows(&mut database, name).await);
    lines.extend(elsewhere(cluster, name).await);
    for key in cluster.keys(name).await {
        let groups = cluster.redis_command(&["XINFO", "GROUPS", &key]).await;
        lines.push(format!("key {key} {groups:?}"));
    }
    for index in cluster.indexes().await.into_iter().filter(|uid| uid.starts_with(&format!("{name}_"))) {
        let settings = cluster.index_settings(&index).await.unwrap_or_default();
        let ours = ["searchableAttributes", "filterableAttributes", "sortableAttributes"];
        let ours: Vec<String> = ours.iter().map(|key| settings[key].to_string()).collect();
        lines.push(format!("index {index} {}", ours.join(" ")));
    }
    lines.extend(secrets(cluster, name).await);
    lines.extend(users(cluster, name).await);
    lines.extend(search_keys(cluster, name).await);
    let schema = name.replace('-', "_");
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines {
        let mut line = line.replace(&uid, "UID");
        for (access, role) in roles(name) {
            line = line.replace(&role, &format!("ACCESS-{access}"));
        }
        let line = without_shards(&line.replace(name, "NAME").replace(&schema, "NAME"));
        *counted.entry(line).or_default() += 1;
    }
    counted
        .into_iter()
        .map(|(line, times)| if times == 1 { line } else { format!("{line} x{times}") })
        .collect()
}

/// The files of a tenant's snapshots, and how many rows their manifests count.
pub fn files(snapshots: &Path, name: &str) -> Dump {
    fn visit(folder: &Path, depth: &str, found: &mut Dump) {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                visit(&path, &format!("{depth}{file}/"), found);
            } else if file == "manifest.json" {
                let text: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                let rows: u64 =
                    text["tables"].as_array().unwrap().iter().map(|t| t["rows"].as_u64().unwrap()).sum();
                found.insert(format!("file {depth}{file} {rows} rows"));
            } else if !file.contains('#') {
                // What a write that did not end leaves has a `#` in its name, and is in no listing of the store.
                found.insert(format!("file {depth}{file}"));
            }
        }
    }
    let mut found = Dump::new();
    for taken in std::fs::read_dir(snapshots.join(name)).into_iter().flatten() {
        visit(&taken.unwrap().path(), "", &mut found);
    }
    found.into_iter().map(|line| line.replace(name, "NAME")).collect()
}

/// The names of the tenant's users in Redis.
pub async fn redis_users(cluster: &Cluster, name: &str) -> Vec<String> {
    let users = cluster.redis_command(&["ACL", "USERS"]).await;
    let users: Vec<String> = redis::FromRedisValue::from_redis_value(users).unwrap();
    let ours = roles(name);
    users.into_iter().filter(|user| ours.iter().any(|(_, role)| user.starts_with(role.as_str()))).collect()
}

/// The role of each access.
fn roles(name: &str) -> Vec<(&'static str, String)> {
    let tenant = TenantName::new(name).unwrap();
    let role = |access: &str| AccessRole::of(&tenant, &AccessName::new(access).unwrap()).to_string();
    ACCESSES.into_iter().map(|access| (access, role(access))).collect()
}

/// The shard in a Redis key, as `{s2c}`, follows from the name.
fn without_shards(line: &str) -> String {
    let mut parts = line.split("{s");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + "{s" + part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

fn in_postgres(name: &str) -> String {
    let schema = format!("tenant_{}", name.replace('-', "_"));
    let like = format!("{}%", schema.replace('_', r"\_"));
    let access: Vec<String> = roles(name).iter().map(|(_, role)| format!("rolname LIKE '{role}%'")).collect();
    let access = access.join(" OR ");
    format!(
        r"WITH s AS (SELECT oid FROM pg_namespace WHERE nspname = '{schema}'),
               c AS (SELECT * FROM pg_class WHERE relnamespace IN (SELECT oid FROM s)),
               r AS (SELECT * FROM pg_roles WHERE rolname LIKE '{like}' OR {access})
          SELECT concat_ws(' ', 'schema', nspname, nspowner::regrole, obj_description(oid, 'pg_namespace'))
            FROM pg_namespace WHERE oid IN (SELECT oid FROM s)
          UNION ALL SELECT concat_ws(' ', 'on schema', unnest(nspacl)) FROM pg_namespace WHERE oid IN (SELECT oid FROM s)
          UNION ALL SELECT concat_ws(' ', 'role', rolname, rolcanlogin, rolinherit, rolsuper, rolcreaterole,
                                     rolconnlimit, rolconfig, shobj_description(oid, 'pg_authid')) FROM r
          UNION ALL SELECT concat_ws(' ', 'member', member::regrole, 'of', roleid::regrole, admin_option,
                                     inherit_option, set_option)
            FROM pg_auth_members WHERE roleid IN (SELECT oid FROM r) OR member IN (SELECT oid FROM r)
          UNION ALL SELECT concat_ws(' ', 'relation', relname, relkind, relowner::regrole, relrowsecurity,
                                     obj_description(oid, 'pg_class')) FROM c
          UNION ALL SELECT concat_ws(' ', 'on relation', relname, unnest(relacl)) FROM c
          UNION ALL SELECT concat_ws(' ', 'column', c.relname, attname, format_type(atttypid, atttypmod), attnotnull,
                                     pg_get_expr(adbin, adrelid))
            FROM pg_attribute a JOIN c ON c.oid = attrelid AND c.relkind = 'r'
            LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum WHERE attnum > 0 AND NOT attisdropped
          UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, convalidated,
                                     pg_get_constraintdef(oid))
            FROM pg_constraint WHERE connamespace IN (SELECT oid FROM s)
          UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisvalid)
            FROM pg_index WHERE indrelid IN (SELECT oid FROM c)
          UNION ALL SELECT concat_ws(' ', 'default', defaclrole::regrole, defaclobjtype, unnest(defaclacl))
            FROM pg_default_acl WHERE defaclnamespace IN (SELECT oid FROM s)"
    )
}

/// A row as text, without what two runs of the same differ in.
const ROW: &str = r#"regexp_replace(regexp_replace(ROW,
    '"[0-9]{4}-[0-9]{2}-[0-9]{2}T[^"]*"', 'TIME', 'g'),
    '[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}', 'ID', 'g')"#;

async fn texts(database: &mut PgConnection, sql: &str) -> Vec<String> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(database).await.unwrap()
}

/// Every row of the registry that has the tenant or the app in it, without times, digests of random passwords, what counts
/// writes, and what a backend that is gone says.
async fn registry(database: &mut PgConnection, name: &str, uid: &str) -> Vec<String> {
    let tables =
        "SELECT c.relname::text || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind = 'r' AND c.relname NOT LIKE '%audit%'
           AND c.relname NOT LIKE '%outbox%'
           AND (a.attname IN ('tenant', 'app') OR c.relname = 'tenant' AND a.attname = 'name')";
    let mut rows = Vec::new();
    for place in texts(database, tables).await {
        let (table, column) = place.split_once('.').unwrap();
        // What of a row is of the app, and not of the tenant, has its digest from the name.
        let row = "(to_jsonb(t) - '{revision,id,digest,checksum,transaction}'::text[]) #- '{what,why}'";
        let row = ROW.replace("ROW", &format!("replace(({row})::text, '{uid}', 'UID')"));
        let sql =
            format!("SELECT '{table} ' || {row} FROM tenantry.{table} t WHERE {column}::text = '{name}'");
        rows.extend(texts(database, &sql).await);
    }
    rows
}

/// The rows of the tenant's own tables.
async fn rows(database: &mut PgConnection, name: &str) -> Vec<String> {
    let schema = format!("tenant_{}", name.replace('-', "_"));
    let tables = format!(
        "SELECT relname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
         WHERE nspname = '{schema}' AND relkind = 'r'"
    );
    let mut rows = Vec::new();
    for table in texts(database, &tables).await {
        let row = ROW.replace("ROW", "to_jsonb(t)::text");
        rows.extend(
            texts(database, &format!("SELECT 'row {table} ' || {row} FROM {schema}.\"{table}\" t")).await,
        );
    }
    rows
}

/// What the second Postgres instance knows of the app.
async fn elsewhere(cluster: &Cluster, name: &str) -> Vec<String> {
    let Some(second) = &cluster.endpoints.second else { return Vec::new() };
    let mut database = PgConnection::connect(&second.database_url).await.unwrap();
    sqlx::query_scalar("SELECT 'second ' || version FROM tenantry.app_version WHERE app = $1")
        .bind(name)
        .fetch_all(&mut database)
        .await
        .unwrap()
}

/// The tenant's Secrets: their keys, and whether they open what they are for.
async fn secrets(cluster: &Cluster, name: &str) -> Vec<String> {
    let api: Api<Secret> = Api::namespaced(cluster.kube(), "default");
    let ours = ListParams::default().labels(&format!("tenantry.dev/tenant={name}"));
    let mut lines = Vec::new();
    for secret in api.list(&ours).await.unwrap() {
        let called = secret.name_any();
        let values: BTreeMap<String, String> = secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, String::from_utf8(value.0).unwrap()))
            .collect();
        let keys: Vec<&str> = values.keys().map(String::as_str).collect();
        let generation = values.get("generation").map_or("none", String::as_str);
        let opens = opens(&values, name).await;
        lines.push(format!("secret {called} {} generation {generation} opens {opens}", keys.join(",")));
    }
    lines
}

async fn opens(values: &BTreeMap<String, String>, name: &str) -> bool {
    let Some(uri) = values.get("uri") else { return false };
    match values["type"].as_str() {
        "postgresql" => PgConnection::connect(uri).await.is_ok(),
        "redis" => {
            let client = redis::Client::open(uri.as_str()).unwrap();
            client.get_multiplexed_async_connection().await.is_ok()
        }
        _ => {
            let url = format!("{uri}/indexes/{name}_{name}_customer/stats");
            let request = http_client().unwrap().get(url).bearer_auth(&values["api-key"]);
            request.send().await.unwrap().status().is_success()
        }
    }
}

/// The tenant's users in Redis, without their passwords.
async fn users(cluster: &Cluster, name: &str) -> Vec<String> {
    let all = cluster.redis_command(&["ACL", "LIST"]).await;
    let all: Vec<String> = redis::FromRedisValue::from_redis_value(all).unwrap();
    let ours = roles(name);
    let is_ours = |line: &&String| ours.iter().any(|(_, role)| line.contains(role.as_str()));
    all.iter().filter(is_ours).map(|line| rules(line)).collect()
}

/// The rules of a user in an order of our own where theirs says nothing: Redis lists the subcommands of a command as they stand in
/// a hash table, and moves them when the table grows.
fn rules(line: &str) -> String {
    let plain = |word| if str::starts_with(word, '#') { "#" } else { word };
    let mut words: Vec<&str> = line.split(' ').map(plain).collect();
    for subcommands in words.chunk_by_mut(|one, other| one.contains('|') && other.contains('|')) {
        subcommands.sort_unstable();
    }
    words.join(" ")
}

/// The tenant's keys of the search engine.
async fn search_keys(cluster: &Cluster, name: &str) -> Vec<String> {
    let url = format!("{}/keys?limit=1000", cluster.endpoints.meili_url);
    let request = http_client().unwrap().get(url).bearer_auth(&cluster.endpoints.meili_master_key);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let keys = answer["results"].as_array().unwrap().iter();
    let ours = format!("Tenantry: {name}/");
    keys.filter(|key| key["name"].as_str().is_some_and(|text| text.starts_with(&ours)))
        .map(|key| format!("search key {} {} {}", key["name"], key["actions"], key["indexes"]))
        .collect()
}
