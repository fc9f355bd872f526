//! What is in the backends.

use reqwest::Method;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tenantry_e2e::rig::{endpoints::http_client, eventually};

use super::operated::{Cluster, LIMIT};

impl Cluster {
    pub async fn database(&self) -> PgConnection {
        PgConnection::connect(&self.endpoints.database_url).await.unwrap()
    }

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
             UNION ALL SELECT 'audit' FROM tenantry.audit WHERE role = '{schema}' ORDER BY 1"
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

    pub async fn keys(&self, tenant: &str) -> Vec<String> {
        redis::cmd("KEYS").arg(format!("*:{tenant}:*")).query_async(&mut self.redis().await).await.unwrap()
    }

    pub async fn redis_command(&self, words: &[&str]) -> redis::Value {
        let (name, arguments) = words.split_first().unwrap();
        redis::cmd(name).arg(arguments).query_async(&mut self.redis().await).await.unwrap()
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

    pub async fn create_index(&self, uid: &str) {
        self.search_task(Method::POST, "indexes", serde_json::json!({"uid": uid})).await;
    }

    pub async fn change_index(&self, uid: &str, settings: Value) {
        self.search_task(Method::PATCH, &format!("indexes/{uid}/settings"), settings).await;
    }

    pub async fn delete_index(&self, uid: &str) {
        self.search_task(Method::DELETE, &format!("indexes/{uid}"), Value::Null).await;
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
