//! A thin client of Meilisearch. Answers are read from raw JSON, tolerant of what newer engines add.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tenantry_config::settings;
use tenantry_crds::names::IndexUid;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const SEARCH_LIMIT: Duration = Duration::from_secs(5);
/// A batch of documents is megabytes, and a busy engine takes its time to write it down.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// The engine.
#[derive(Debug, Clone)]
pub struct Meilisearch {
    client: Client,
    url: String,
    key: SecretString,
}

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It does not answer.
    #[error("the search engine does not answer")]
    Unreachable(#[source] reqwest::Error),
    /// It refused.
    #[error("the search engine refused: {status} {code}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its stable code.
        code: String,
    },
    /// Its answer is not what its API says.
    #[error("the search engine's answer cannot be read")]
    Unreadable,
}

impl Fault {
    /// The engine has no such index.
    pub fn is_missing_index(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "index_not_found")
    }
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has not ended.
    Running,
    /// It did what was asked.
    Succeeded,
    /// It failed, with the engine's stable code; `canceled` when somebody ended it.
    Failed(String),
}

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// The documents as the index has them.
    pub hits: Vec<Value>,
    /// How many there are in all, about.
    pub estimated_total: u64,
    /// How often each value of the facets asked for occurs.
    pub facets: Option<Value>,
}

impl Meilisearch {
    /// The engine of `settings`; no connection is opened yet.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(settings: &settings::Search) -> Result<Self, reqwest::Error> {
        let client = Client::builder().connect_timeout(CONNECT_LIMIT).timeout(WRITE_LIMIT).build()?;
        let url = settings.url.trim_end_matches('/').to_owned();
        Ok(Self { client, url, key: settings.master_key.clone() })
    }

    /// Whether the engine answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> Result<(), Fault> {
        read(self.request(Method::GET, &["version"]).timeout(SEARCH_LIMIT)).await.map(|_| ())
    }

    /// Searches one index.
    ///
    /// # Errors
    /// When the engine does not answer or refuses.
    pub async fn search(&self, index: &str, query: &Value, trace: Option<&str>) -> Result<Found, Fault> {
        let mut request = self.request(Method::POST, &["indexes", index, "search"]);
        if let Some(trace) = trace {
            request = request.header("traceparent", trace);
        }
        let mut answer = read(request.timeout(SEARCH_LIMIT).json(query)).await?;
        let Value::Array(hits) = answer["hits"].take() else { return Err(Fault::Unreadable) };
        let facets = answer["facetDistribution"].take();
        Ok(Found {
            hits,
            estimated_total: answer["estimatedTotalHits"].as_u64().unwrap_or_default(),
            facets: facets.is_object().then_some(facets),
        })
    }

    /// Whether there is an index with this uid.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn has(&self, index: &str) -> Result<bool, Fault> {
        match read(self.request(Method::GET, &["indexes", index]).timeout(SEARCH_LIMIT)).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.is_missing_index() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Puts documents in the place of those with their keys; the task that does it.
    ///
    /// # Errors
    /// When the engine does not take the request.
    pub async fn put(&self, index: &str, documents: &[&Value]) -> Result<u64, Fault> {
        // The engine makes an index that it does not have; at least with the key that all of ours have.
        let key = [("primaryKey", IndexUid::PRIMARY_KEY)];
        let request = self.request(Method::POST, &["indexes", index, "documents"]).query(&key);
        task(read(request.json(documents)).await?)
    }

    /// Removes the documents with these keys; the task that does it.
    ///
    /// # Errors
    /// When the engine does not take the request.
    pub async fn delete(&self, index: &str, keys: &[String]) -> Result<u64, Fault> {
        task(
            read(self.request(Method::POST, &["indexes", index, "documents", "delete-batch"]).json(keys))
                .await?,
        )
    }

    /// What became of `tasks`, in their order and in one request.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn outcomes(&self, tasks: &[u64]) -> Result<Vec<Outcome>, Fault> {
        let uids: Vec<String> = tasks.iter().map(u64::to_string).collect();
        let query = [("uids", uids.join(",")), ("limit", tasks.len().to_string())];
        let answer = read(self.request(Method::GET, &["tasks"]).timeout(SEARCH_LIMIT).query(&query)).await?;
        let known = answer["results"].as_array().ok_or(Fault::Unreadable)?;
        Ok(tasks.iter().map(|task| outcome(*task, known)).collect())
    }

    /// `path` is of constants and of uids from the registry, which hold letters, digits, `_` and `-` only.
    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let url = format!("{}/{}", self.url, path.join("/"));
        self.client.request(method, url).bearer_auth(self.key.expose_secret())
    }
}

async fn read(request: RequestBuilder) -> Result<Value, Fault> {
    // Without the address, which a message must not show.
    let unreachable = |error: reqwest::Error| Fault::Unreachable(error.without_url());
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let body = response.bytes().await.map_err(unreachable)?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_| Fault::Unreadable);
    }
    let error: Value = serde_json::from_slice(&body).unwrap_or(json!({}));
    let code = error["code"].as_str().unwrap_or_default().to_owned();
    Err(Fault::Refused { status: status.as_u16(), code })
}

fn task(answer: Value) -> Result<u64, Fault> {
    answer["taskUid"].as_u64().ok_or(Fault::Unreadable)
}

fn outcome(task: u64, known: &[Value]) -> Outcome {
    let found = known.iter().find(|found| found["uid"].as_u64() == Some(task));
    match found.map(|found| (found["status"].as_str().unwrap_or_default(), &found["error"]["code"])) {
        Some(("enqueued" | "processing", _)) => Outcome::Running,
        Some(("succeeded", _)) => Outcome::Succeeded,
        Some(("failed", code)) => Outcome::Failed(code.as_str().unwrap_or("unknown").to_owned()),
        Some(("canceled", _)) => Outcome::Failed("canceled".to_owned()),
        // Neither known to us nor to the engine: what it came to cannot be told, so it has to be done again.
        Some(_) | None => Outcome::Failed("unknown".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_succeeded_only_when_the_engine_says_so() {
        let known = [
            json!({"uid": 1, "status": "succeeded"}),
            json!({"uid": 2, "status": "processing"}),
            json!({"uid": 3, "status": "failed", "error": {"code": "index_not_found"}}),
            json!({"uid": 4, "status": "canceled"}),
            json!({"uid": 5, "status": "somethingNew"}),
        ];
        assert_eq!(outcome(1, &known), Outcome::Succeeded);
        assert_eq!(outcome(2, &known), Outcome::Running);
        assert_eq!(outcome(3, &known), Outcome::Failed("index_not_found".into()));
        for task in 4..=6 {
            assert!(matches!(outcome(task, &known), Outcome::Failed(_)), "{task}");
        }
    }
}
