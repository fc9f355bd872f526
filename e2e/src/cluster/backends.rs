//! What is in the backends.

use reqwest::Method;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

use super::{Cluster, LIMIT};

impl Cluster {
    /// A connection as superuser.
    pub async fn database(&self) -> PgConnection {
        PgConnection::connect(&self.endpoints.database_url).await.unwrap()
    }

    /// Runs statements as superuser.
    pub async fn run_sql(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&mut self.database().await).await.unwrap();
    }

    /// The first column of the rows, as text.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        sqlx::query_scalar(sql).fetch_all(&mut self.database().await).await.unwrap()
    }

    /// Everything in Postgres that bears the tenant's name: schema, roles, registry row.
    pub async fn traces(&self, tenant: &str) -> Vec<String> {
        let schema = format!("tenant_{}", tenant.replace('-', "_"));
        self.texts(&format!(
            "SELECT 'schema' FROM pg_namespace WHERE nspname = '{schema}'
             UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname IN ('{schema}', '{schema}_owner')
             UNION ALL SELECT 'row ' || state FROM tenantry.tenant WHERE name = '{tenant}'
             UNION ALL SELECT 'outbox' FROM tenantry.outbox WHERE role = '{schema}'
             UNION ALL SELECT 'audit' FROM tenantry.audit WHERE role = '{schema}'
             UNION ALL SELECT 'seal' FROM tenantry.audit_seal WHERE role = '{schema}'
             UNION ALL SELECT 'seal' FROM tenantry.audit_head WHERE role = '{schema}' ORDER BY 1"
        ))
        .await
    }

    /// The columns of a table, as `name type` with `!` for NOT NULL.
    pub async fn columns(&self, schema: &str, table: &str) -> Vec<String> {
        self.texts(&format!(
            "SELECT attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN '!' ELSE '' END
             FROM pg_attribute WHERE attrelid = '{schema}.{table}'::regclass AND attnum > 0 ORDER BY attnum"
        ))
        .await
    }

    async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.endpoints.redis_url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// The tenant's keys in Redis.
    pub async fn keys(&self, tenant: &str) -> Vec<String> {
        redis::cmd("KEYS").arg(format!("*:{tenant}:*")).query_async(&mut self.redis().await).await.unwrap()
    }

    /// Runs a command of Redis.
    pub async fn redis_command(&self, words: &[&str]) -> redis::Value {
        let (name, arguments) = words.split_first().unwrap();
        redis::cmd(name).arg(arguments).query_async(&mut self.redis().await).await.unwrap()
    }

    /// Changes of Redis since it started that would be saved to disk.
    pub async fn dirty_keys(&self) -> String {
        let info: String =
            redis::cmd("INFO").arg("persistence").query_async(&mut self.redis().await).await.unwrap();
        info.lines().find(|line| line.starts_with("rdb_changes_since_last_save")).unwrap().to_owned()
    }

    /// The last thing that the search engine was asked to do.
    pub async fn newest_search_task(&self) -> String {
        let url = format!("{}/tasks?limit=1", self.endpoints.meili_url);
        let request = http_client().unwrap().get(url).bearer_auth(&self.endpoints.meili_master_key);
        request.send().await.unwrap().json::<Value>().await.unwrap()["results"][0]["uid"].to_string()
    }

    /// The settings of a search index; nothing when there is none.
    pub async fn index_settings(&self, uid: &str) -> Option<Value> {
        let url = format!("{}/indexes/{uid}/settings", self.endpoints.meili_url);
        let request = http_client().unwrap().get(url).bearer_auth(&self.endpoints.meili_master_key);
        let answer = request.send().await.unwrap();
        if answer.status() == 404 { None } else { Some(answer.json().await.unwrap()) }
    }

    /// The uids of all search indexes.
    pub async fn indexes(&self) -> Vec<String> {
        let url = format!("{}/indexes?limit=1000", self.endpoints.meili_url);
        let request = http_client().unwrap().get(url).bearer_auth(&self.endpoints.meili_master_key);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let uids = answer["results"].as_array().unwrap().iter();
        uids.map(|index| index["uid"].as_str().unwrap().to_owned()).collect()
    }

    /// Makes a search index.
    pub async fn create_index(&self, uid: &str) {
        self.search_task(Method::POST, "indexes", serde_json::json!({"uid": uid})).await;
    }

    /// Changes the settings of a search index.
    pub async fn change_index(&self, uid: &str, settings: Value) {
        self.search_task(Method::PATCH, &format!("indexes/{uid}/settings"), settings).await;
    }

    /// Deletes a search index.
    pub async fn delete_index(&self, uid: &str) {
        self.search_task(Method::DELETE, &format!("indexes/{uid}"), Value::Null).await;
    }

    /// Puts another index with the same settings in the place of `uid`, at one stroke.
    pub async fn replace_index(&self, uid: &str) {
        let (other, settings) = (format!("{uid}-other"), self.index_settings(uid).await.unwrap());
        self.create_index(&other).await;
        let ours = ["searchableAttributes", "filterableAttributes", "sortableAttributes"];
        let settings: Value = ours.iter().map(|key| ((*key).to_owned(), settings[key].clone())).collect();
        self.change_index(&other, settings).await;
        self.search_task(Method::POST, "swap-indexes", serde_json::json!([{"indexes": [uid, other]}])).await;
    }

    /// Waits until the engine has done it.
    async fn search_task(&self, method: Method, path: &str, body: Value) {
        let send = |method, path: &str, body: Value| {
            let url = format!("{}/{path}", self.endpoints.meili_url);
            let request = http_client().unwrap().request(method, url);
            let request = request.bearer_auth(&self.endpoints.meili_master_key).json(&body);
            async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
        };
        let task = format!("tasks/{}", send(method, path, body).await["taskUid"]);
        eventually("the search task", LIMIT, || async {
            let status = send(Method::GET, &task, Value::Null).await["status"].to_string();
            if status == "\"succeeded\"" { Ok(()) } else { Err(status) }
        })
        .await
        .unwrap();
    }
}
