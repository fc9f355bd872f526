//! Every route of the OpenAPI document, called by the users of one tenant for what belongs to another: nothing is served, and no
//! byte of it is in any answer, errors included. A route with a parameter or a body that this does not know fails.

use std::collections::BTreeSet;
use std::sync::Mutex;

use reqwest::Method;
use serde_json::{Value, json};
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::program::{ProgramOptions, controlplane};
use tenantry_e2e::world::{Answer, World, answer, unique};
use tenantry_rig::endpoints::http_client;
use uuid::Uuid;

/// What belongs to the tenant that is attacked.
struct Victim {
    world: World,
    card: String,
    lease: String,
    /// Texts that no answer may have in it.
    canaries: Vec<String>,
    /// All that was not as it should be: one run tells the whole of it.
    wrong: Mutex<Vec<String>>,
}

/// A route of the document.
#[derive(Debug)]
struct Operation {
    name: String,
    method: Method,
    path: String,
    parameters: Vec<(String, String)>,
    body: Option<(String, Option<Value>)>,
    /// The names of its security schemes.
    security: BTreeSet<String>,
}

async fn operations(world: &World) -> Vec<Operation> {
    let printed =
        controlplane(world.platform.endpoints(), &ProgramOptions::default(), &["openapi"]).await.unwrap();
    let document: Value = serde_json::from_str(&printed).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let security = operation.get("security").unwrap_or(&document["security"]).as_array().unwrap();
            let content = operation["requestBody"]["content"].as_object();
            operations.push(Operation {
                name: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_ascii_uppercase().parse().unwrap(),
                path: path.clone(),
                parameters: operation["parameters"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|parameter| {
                        let text = |name: &str| parameter[name].as_str().unwrap().to_owned();
                        (text("in"), text("name"))
                    })
                    .collect(),
                body: content
                    .and_then(|content| content.iter().next())
                    .map(|(media, body)| (media.clone(), body.get("example").cloned())),
                security: security.iter().flat_map(|one| one.as_object().unwrap().keys().cloned()).collect(),
            });
        }
    }
    assert!(operations.len() > 15, "{operations:?}");
    operations
}

impl Victim {
    async fn new() -> Self {
        let world = World::new().await;
        let canary = format!("canary-{}", Uuid::new_v4().simple());
        let owner = unique("victim-");
        let user = world.user(&owner, &["reader", "writer", "worker"]).await;
        let card = world.post(&world.cards("data"), &user, json!({"title": canary, "pin": canary})).await;
        assert_eq!(card.status, 201, "{card:?}");
        let queue = format!("/api/v1/jobs/{}/steady", world.app);
        let job = world.post(&queue, &user, json!({"type": "secret", "payload": canary})).await;
        assert_eq!(job.status, 201, "{job:?}");
        let leased = world.post(&format!("{queue}/lease"), &user, json!({"max": 1})).await;
        let lease = leased.body["jobs"][0]["token"].as_str().unwrap().to_owned();
        let job = world.post(&queue, &user, json!({"type": "secret", "payload": canary})).await;
        assert_eq!(job.status, 201, "{job:?}");
        let uid = world.api::<Tenant>().await.get(&world.tenant).await.unwrap().metadata.uid.unwrap();
        let schema = format!("tenant_{}", world.tenant.replace('-', "_"));
        let card = card.body["id"].as_str().unwrap().to_owned();
        Self { card, lease, canaries: vec![canary, owner, uid, schema], wrong: Mutex::default(), world }
    }

    /// The path of an operation, with what belongs to this tenant in it; `card` in place of a document's id.
    fn path(&self, operation: &Operation, card: &str) -> String {
        let mut path = operation.path.clone();
        for (_, name) in operation.parameters.iter().filter(|(place, _)| place == "path") {
            let value = match name.as_str() {
                "app" => &self.world.app,
                "plural" => "cards",
                "id" => card,
                "queue" => "steady",
                "name" => &self.world.tenant,
                "version" => "1",
                other => {
                    panic!("{}: the matrix does not know the path parameter {other}; add it", operation.name)
                }
            };
            path = path.replace(&format!("{{{name}}}"), value);
        }
        // A list is asked for the foreign document by its id, and so is what changes or deletes by filter.
        if [Method::GET, Method::PATCH, Method::DELETE].contains(&operation.method)
            && path.ends_with("/cards")
            && !path.contains("/meta/")
            && !path.contains("/search/")
        {
            path.push_str(&format!("?id=eq.{card}"));
        }
        path
    }

    fn body(&self, operation: &Operation, card: &str) -> Option<Value> {
        let (media, example) = operation.body.as_ref()?;
        if !media.contains("json") {
            return Some(Value::String(String::new()));
        }
        let mut body = match (operation.name.as_str(), example) {
            (_, Some(example)) => example.clone(),
            // A document of the type that all of these are about.
            (_, None) if operation.path.contains("{plural}") => json!({"title": "mine"}),
            ("batch", None) => {
                let of = format!("{}/cards", self.world.app);
                json!({"operations": [
                    {"op": "update", "type": of, "id": card, "body": {"title": "mine"}},
                    {"op": "delete", "type": of, "id": card},
                ]})
            }
            (name, None) => {
                panic!("{name}: the matrix does not know what to send; give the route an example")
            }
        };
        if let Some(token) = body.get_mut("token") {
            // The lease of a job of the other tenant.
            *token = json!(self.lease);
        }
        Some(body)
    }

    async fn call(&self, operation: &Operation, card: &str, token: &str, headers: &[(&str, &str)]) -> Answer {
        let http = http_client().unwrap();
        let mut request = http.request(operation.method.clone(), self.world.url(&self.path(operation, card)));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if operation.path.starts_with("/rest/v1") {
            request =
                request.header("accept-profile", &self.world.app).header("content-profile", &self.world.app);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = self.body(operation, card) {
            request = request.json(&body);
        }
        let answer = answer(request).await;
        self.nothing_leaks(operation, &answer);
        let fault = answer.status >= 500 && answer.status != 503;
        self.must(!fault, || format!("{}: {answer:?}", operation.name));
        answer
    }

    fn nothing_leaks(&self, operation: &Operation, answer: &Answer) {
        let text = format!("{:?} {}", answer.headers, answer.body);
        for canary in &self.canaries {
            self.must(!text.contains(canary.as_str()), || {
                format!("{} leaks {canary}: {text}", operation.name)
            });
        }
    }

    fn must(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.lock().unwrap().push(what());
        }
    }
}

fn wants_token(operation: &Operation) -> bool {
    !operation.security.is_empty()
}

fn is_of_a_tenant(operation: &Operation) -> bool {
    operation.security.contains("token")
}

/// Whether the operation is about one thing that only the victim has.
fn names_a_foreign_thing(operation: &Operation) -> bool {
    operation.parameters.iter().any(|(place, name)| place == "path" && name == "id")
        || ["ackJob", "nackJob", "extendLease", "batch"].contains(&operation.name.as_str())
}

#[tokio::test]
async fn nothing_of_a_tenant_is_in_any_answer_to_another() {
    let victim = Victim::new().await;
    let world = &victim.world;
    let other = unique("t-");
    world.install(&other).await;
    let operations = operations(world).await;
    let app = |role: &str| format!("{}:{role}", world.app);
    let (reader, writer, worker) = (app("reader"), app("writer"), app("worker"));
    let roles: [(&str, Vec<&str>); 4] = [
        ("admin", vec!["admin"]),
        ("all roles", vec![&reader, &writer, &worker]),
        ("reader", vec![&reader]),
        ("nobody", vec![]),
    ];
    let victim_host = format!("{}.example.com", world.tenant);
    let stranger = world.token_of(&world.tenant, "stranger", &[]).await;
    for (role, roles) in &roles {
        let token = world.token_of(&other, "mallory", roles).await;
        for operation in &operations {
            let what = format!("{} {} as {role}", operation.method, operation.path);
            let foreign = victim.call(operation, &victim.card, &token, &[]).await;
            let is_one_of = |answer: &Answer, statuses: &[u16], why: &str| {
                victim.must(statuses.contains(&answer.status), || format!("{what}, {why}: {answer:?}"));
            };
            if operation.security.contains("cluster") {
                is_one_of(&foreign, &[401, 403], "a token of the cluster");
                continue;
            }
            if names_a_foreign_thing(operation) {
                // An administrator may be told that it is done, where that is what is said of things that never were: see below.
                let done = *role == "admin" && operation.method == Method::DELETE && foreign.status == 204;
                if !done {
                    is_one_of(&foreign, &[403, 404, 409], "a foreign thing");
                }
                if *role == "admin" && operation.path.contains("{id}") {
                    if operation.path.contains("{plural}") {
                        is_one_of(&foreign, &[404], "a foreign document");
                    }
                    // As if it had never existed.
                    let random = victim.call(operation, &Uuid::new_v4().to_string(), &token, &[]).await;
                    let same = (foreign.status, &foreign.body) == (random.status, &random.body);
                    victim.must(same, || format!("{what}: {foreign:?} is not {random:?}"));
                }
            }
            if is_of_a_tenant(operation) {
                for named in [("x-tenant", world.tenant.as_str()), ("host", victim_host.as_str())] {
                    let refused = victim.call(operation, &victim.card, &token, &[named]).await;
                    is_one_of(&refused, &[403], "a token of another tenant");
                }
                // A user of the victim itself who may do nothing.
                let inside = victim.call(operation, &victim.card, &stranger, &[]).await;
                if names_a_foreign_thing(operation) {
                    is_one_of(&inside, &[403, 404], "a user without rights");
                }
            }
        }
    }
    for operation in operations.iter().filter(|operation| wants_token(operation)) {
        for forged in ["", "x", "x.y.z", "eyJhbGciOiJub25lIn0.e30."] {
            let refused = victim.call(operation, &victim.card, forged, &[]).await;
            let is_refused = refused.status == 401 || (refused.status == 403 && !forged.is_empty());
            victim.must(is_refused, || format!("{}: {refused:?}", operation.name));
        }
    }
    let wrong = std::mem::take(&mut *victim.wrong.lock().unwrap());
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));

    // Nothing of it had an effect.
    let owner = world.user("root", &["admin"]).await;
    let card = world.get(&format!("{}/{}", world.cards("data"), victim.card), &owner).await;
    assert_eq!((card.status, &card.body["version"]), (200, &json!(1)), "{card:?}");
    let jobs = world.get(&format!("/api/v1/jobs/{}/steady", world.app), &owner).await;
    assert_eq!((&jobs.body["waiting"], &jobs.body["leased"]), (&json!(1), &json!(1)), "{jobs:?}");
    let ours = world.get(&world.cards("data"), &owner).await;
    assert_eq!(ours.body["items"].as_array().unwrap().len(), 1, "{ours:?}");
}
