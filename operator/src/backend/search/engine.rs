//! A thin client. Answers are read from raw JSON, tolerant of what newer engines add.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tenantry_config::settings;
use tenantry_crds::names::IndexUid;
use tenantry_migrations::registry::SearchSettings;

use crate::{
    error::{Error, SearchFault},
    killpoint::killpoint,
    metrics::Metrics,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Entries of a list that are asked for at once, ...
const PAGE: usize = 1000;
/// ... and how often: an engine holds a million tasks.
const MOST_PAGES: usize = 1000;
/// The settings that are ours; others are left to whoever runs the engine.
const SETTINGS: [&str; 3] = ["searchableAttributes", "filterableAttributes", "sortableAttributes"];

/// The routes of the engine that are used.
#[derive(Debug, Clone)]
pub struct Engine {
    client: Client,
    pub(super) url: String,
    pub(super) key: SecretString,
    metrics: Metrics,
}

/// The settings of an index as the engine has them. The order of filters and orders does not count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IndexSettings {
    searchable: Vec<String>,
    filterable: BTreeSet<String>,
    sortable: BTreeSet<String>,
}

/// A task that changes the settings of an index, whoever asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsTask {
    /// The task.
    pub task: u64,
    /// The index.
    pub index: String,
    /// The digest of the settings that it gives the index; nothing when it gives only some of ours.
    pub settings: Option<u64>,
    /// It has ended.
    pub ended: bool,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskOutcome {
    /// The task.
    pub task: u64,
    /// The `code` of its error, or `canceled`; nothing when it succeeded.
    pub failure: Option<String>,
}

impl IndexSettings {
    /// The same as the registry says it.
    pub fn of(settings: &SearchSettings) -> Self {
        Self {
            searchable: settings.searchable.clone(),
            filterable: settings.filterable.iter().cloned().collect(),
            sortable: settings.sortable.iter().cloned().collect(),
        }
    }

    /// To tell two settings apart within this process.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn read(answer: &Value) -> Self {
        // A filterable attribute can be an object since 1.14; ours are plain, so such a one makes a difference.
        let names = |key: &str| {
            answer[key].as_array().into_iter().flatten().map(|name| match name.as_str() {
                Some(name) => name.to_owned(),
                None => name.to_string(),
            })
        };
        Self {
            searchable: names("searchableAttributes").collect(),
            filterable: names("filterableAttributes").collect(),
            sortable: names("sortableAttributes").collect(),
        }
    }
}

impl Engine {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(settings: &settings::Search, metrics: Metrics) -> Result<Self, Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .map_err(Error::data("making the client of the search engine"))?;
        let url = settings.url.trim_end_matches('/').to_owned();
        Ok(Self { client, url, key: settings.master_key.clone(), metrics })
    }

    /// Whether the engine has an index with this uid, whoever made it.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn has_index(&self, uid: &str) -> Result<bool, Error> {
        let answer = self.send("get_index", self.request(Method::GET, &["indexes", uid])).await;
        present(answer).map(|index| index.is_some()).map_err(Error::search("looking for a search index"))
    }

    /// Whether there is an index with this uid whose documents have the key that ours have.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn has_our_key(&self, uid: &str) -> Result<bool, Error> {
        let answer = present(self.send("get_index", self.request(Method::GET, &["indexes", uid])).await);
        let found = answer.map_err(Error::search("looking for a search index"))?;
        Ok(found.is_some_and(|index| index["primaryKey"].as_str() == Some(IndexUid::PRIMARY_KEY)))
    }

    /// The settings of an index; nothing when there is none.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn settings(&self, uid: &str) -> Result<Option<IndexSettings>, Error> {
        let request = self.request(Method::GET, &["indexes", uid, "settings"]);
        let answer = present(self.send("get_settings", request).await);
        Ok(answer.map_err(Error::search("reading search settings"))?.as_ref().map(IndexSettings::read))
    }

    /// Asks for a new index; the task that makes it.
    ///
    /// # Errors
    /// When the engine does not take the request.
    pub async fn create_index(&self, uid: &str) -> Result<u64, Error> {
        let body = json!({"uid": uid, "primaryKey": IndexUid::PRIMARY_KEY});
        let request = self.request(Method::POST, &["indexes"]).json(&body);
        task(killpoint!("search.create", self.send("create_index", request).await))
            .map_err(Error::search("creating a search index"))
    }

    /// Asks for new settings, all in one; the task that applies them.
    ///
    /// # Errors
    /// When the engine does not take the request.
    pub async fn update_settings(&self, uid: &str, settings: &SearchSettings) -> Result<u64, Error> {
        let body = json!({
            "searchableAttributes": settings.searchable,
            "filterableAttributes": settings.filterable,
            "sortableAttributes": settings.sortable,
        });
        let request = self.request(Method::PATCH, &["indexes", uid, "settings"]).json(&body);
        task(killpoint!("search.settings", self.send("update_settings", request).await))
            .map_err(Error::search("changing search settings"))
    }

    /// Asks for the end of an index; the task that removes it.
    ///
    /// # Errors
    /// When the engine does not take the request.
    pub async fn delete_index(&self, uid: &str) -> Result<u64, Error> {
        let request = self.request(Method::DELETE, &["indexes", uid]);
        task(killpoint!("search.delete", self.send("delete_index", request).await))
            .map_err(Error::search("removing a search index"))
    }

    /// What became of those of `tasks` that ended. One the engine does not know counts as ended: whoever waits looks again.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn ended(&self, tasks: &[u64]) -> Result<Vec<TaskOutcome>, Error> {
        let uids: Vec<String> = tasks.iter().map(u64::to_string).collect();
        let query = [("uids", uids.join(",")), ("limit", tasks.len().to_string())];
        let request = self.request(Method::GET, &["tasks"]).query(&query);
        let answer =
            self.send("get_tasks", request).await.map_err(Error::search("looking at search tasks"))?;
        let known = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(tasks.iter().filter_map(|task| outcome(*task, known)).collect())
    }

    /// When each index of the engine was created, by its uid.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn indexes(&self) -> Result<HashMap<String, String>, Error> {
        let mut all = HashMap::new();
        for page in 0..MOST_PAGES {
            let query = [("limit", PAGE), ("offset", page * PAGE)];
            let request = self.request(Method::GET, &["indexes"]).query(&query);
            let answer =
                self.send("list_indexes", request).await.map_err(Error::search("listing search indexes"))?;
            let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
            let named = |index: &Value| {
                Some((
                    index["uid"].as_str()?.to_owned(),
                    index["createdAt"].as_str().unwrap_or_default().to_owned(),
                ))
            };
            all.extend(results.iter().filter_map(named));
            if results.len() < PAGE {
                break;
            }
        }
        Ok(all)
    }

    /// The tasks after `since` that change settings of ours, newest first.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn settings_tasks(&self, since: Option<u64>) -> Result<Vec<SettingsTask>, Error> {
        let mut tasks = Vec::new();
        let mut from: Option<u64> = None;
        for _ in 0..MOST_PAGES {
            let mut query = vec![("types", "settingsUpdate".to_owned()), ("limit", PAGE.to_string())];
            query.extend(from.map(|from| ("from", from.to_string())));
            let request = self.request(Method::GET, &["tasks"]).query(&query);
            let answer = self
                .send("list_tasks", request)
                .await
                .map_err(Error::search("reading the log of search settings"))?;
            let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
            let new =
                |task: &&Value| since.is_none_or(|since| task["uid"].as_u64().is_some_and(|uid| uid > since));
            let fresh = results.iter().take_while(new).count();
            tasks.extend(results[..fresh].iter().filter_map(settings_task));
            from = answer["next"].as_u64();
            if from.is_none() || fresh < results.len() {
                break;
            }
        }
        Ok(tasks)
    }

    /// `path` is of constants and of uids, which hold letters, digits, `_` and `-` only.
    pub(super) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.client
            .request(method, format!("{}/{}", self.url, path.join("/")))
            .bearer_auth(self.key.expose_secret())
    }

    pub(super) async fn send(&self, op: &str, request: RequestBuilder) -> Result<Value, SearchFault> {
        self.metrics.call("search", op, read(request)).await
    }
}

async fn read(request: RequestBuilder) -> Result<Value, SearchFault> {
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let body = response.bytes().await.map_err(unreachable)?;
    if status.is_success() && body.is_empty() {
        return Ok(Value::Null);
    }
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(SearchFault::Unreadable);
    }
    let error: Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = error["code"].as_str().unwrap_or_default().to_owned();
    Err(SearchFault::Refused { status: status.as_u16(), code })
}

/// Without the address, which a message must not show.
fn unreachable(error: reqwest::Error) -> SearchFault {
    SearchFault::Unreachable(error.without_url())
}

fn present(answer: Result<Value, SearchFault>) -> Result<Option<Value>, SearchFault> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(SearchFault::Refused { status, code })
            if status == StatusCode::NOT_FOUND.as_u16() && code == "index_not_found" =>
        {
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

fn task(answer: Result<Value, SearchFault>) -> Result<u64, SearchFault> {
    let answer = answer?;
    answer["taskUid"].as_u64().ok_or_else(|| {
        SearchFault::Unreadable(<serde_json::Error as serde::de::Error>::missing_field("taskUid"))
    })
}

fn settings_task(task: &Value) -> Option<SettingsTask> {
    let ended = match task["status"].as_str()? {
        "succeeded" => true,
        "enqueued" | "processing" => false,
        _ => return None,
    };
    let given = |key: &&&str| task["details"].get(**key).is_some();
    let settings = match SETTINGS.iter().filter(given).count() {
        0 => return None,
        all if all == SETTINGS.len() => Some(IndexSettings::read(&task["details"]).digest()),
        _ => None,
    };
    Some(SettingsTask {
        task: task["uid"].as_u64()?,
        index: task["indexUid"].as_str()?.to_owned(),
        settings,
        ended,
    })
}

fn outcome(task: u64, known: &[Value]) -> Option<TaskOutcome> {
    let found = known.iter().find(|found| found["uid"].as_u64() == Some(task));
    let failure = match found.and_then(|found| found["status"].as_str()) {
        Some("enqueued" | "processing") => return None,
        Some("failed") => failure_code(found),
        Some("canceled") => Some("canceled".to_owned()),
        _ => None,
    };
    Some(TaskOutcome { task, failure })
}

/// What was to be made is there, or what was to be removed is not: what was asked for holds.
fn failure_code(task: Option<&Value>) -> Option<String> {
    let task = task?;
    let code = task["error"]["code"].as_str().unwrap_or("unknown");
    match (task["type"].as_str(), code) {
        (Some("indexCreation"), "index_already_exists") | (Some("indexDeletion"), "index_not_found") => None,
        _ => Some(code.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_end_in_success_in_failure_or_unknown() {
        let known = [
            json!({"uid": 1, "status": "succeeded"}),
            json!({"uid": 2, "status": "processing"}),
            json!({"uid": 3, "status": "failed", "type": "settingsUpdate", "error": {"code": "internal"}}),
            json!({"uid": 4, "status": "failed", "type": "indexDeletion", "error": {"code": "index_not_found"}}),
            json!({"uid": 5, "status": "canceled"}),
        ];
        let failure = |task| outcome(task, &known).map(|outcome| outcome.failure);
        assert_eq!(failure(1), Some(None));
        assert_eq!(failure(2), None, "still running");
        assert_eq!(failure(3), Some(Some("internal".into())));
        assert_eq!(failure(4), Some(None), "what was asked for holds");
        assert_eq!(failure(5), Some(Some("canceled".into())));
        assert_eq!(failure(6), Some(None), "unknown to the engine");
    }

    #[test]
    fn a_settings_task_tells_what_it_gives() {
        let task = |status: &str, details: Value| {
            settings_task(&json!({"uid": 7, "indexUid": "i", "status": status, "details": details}))
        };
        let ours = json!({"searchableAttributes": ["name"], "filterableAttributes": ["id"], "sortableAttributes": []});
        let digest = IndexSettings::read(&ours).digest();
        let full = task("succeeded", ours.clone()).unwrap();
        assert_eq!((full.task, full.settings, full.ended), (7, Some(digest), true));
        assert_eq!(task("succeeded", json!({"filterableAttributes": null})).unwrap().settings, None);
        assert_eq!(task("succeeded", json!({"rankingRules": ["words"]})), None, "not ours");
        assert_eq!(task("failed", ours.clone()), None);
        assert!(!task("processing", ours).unwrap().ended);
    }

    #[test]
    fn settings_compare_without_the_order_of_filters() {
        let answer = json!({
            "searchableAttributes": ["name", "email"],
            "filterableAttributes": ["status", "id"],
            "sortableAttributes": [],
            "rankingRules": ["words"],
        });
        let wanted = |searchable: [&str; 2]| SearchSettings {
            searchable: searchable.map(str::to_owned).into(),
            filterable: vec!["id".into(), "status".into()],
            sortable: vec![],
        };
        assert_eq!(IndexSettings::read(&answer), IndexSettings::of(&wanted(["name", "email"])));
        assert_ne!(IndexSettings::read(&answer), IndexSettings::of(&wanted(["email", "name"])));
    }
}
