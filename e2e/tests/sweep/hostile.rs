//! Manifests that nobody would write: for every field of the three CRDs' schemas, values at and past its bounds, values of other
//! types, and its absence; after each one the way back to a good manifest.

use std::time::{Duration, Instant};

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tenantry_crds::v1alpha1::{App, SearchIndex, Tenant};
use tenantry_e2e::cluster::{Cluster, operate};
use tenantry_e2e::manifests::{customer, search_of, shop, uses};
use tenantry_rig::kstatus::{Computed, compute};
use tenantry_rig::{Seed, Stack, eventually};

use super::dump::{Dump, dump};
use super::scenario::{Scenario, are_current, objects, remove};

const OPERATIONS: usize = 300;
const LIMIT: Duration = Duration::from_secs(60);
const NAME: &str = "odd";
const CRDS: [(&str, &str); 3] = [
    ("Tenant", include_str!("../../../crds/generated/tenants.yaml")),
    ("App", include_str!("../../../crds/generated/apps.yaml")),
    ("SearchIndex", include_str!("../../../crds/generated/searchindexes.yaml")),
];

/// A field of a spec, and what it is to be; nothing removes it.
#[derive(Debug, Clone)]
struct Oddity {
    kind: &'static str,
    path: Vec<String>,
    value: Option<Value>,
}

#[tokio::test]
#[ignore = "takes minutes; make sweep"]
async fn no_manifest_wedges_an_object_and_a_good_one_heals_it() {
    let stack = Stack::private("an App that never settles would hold up the tests beside it").await.unwrap();
    let _operator = operate(&stack).await;
    let cluster = Cluster::of(stack.endpoints()).await;
    create_at(&cluster, 0).await;
    settled(&cluster, "at first", true).await;
    let expected = with_live_indexes(&cluster).await;

    let seed = Seed::of_this_run().unwrap();
    eprintln!("odd manifests: {seed}");
    let (mut refused, mut stalled, started) = (0, 0, Instant::now());
    let (mut operations, mut version) = (0, 0);
    let (ours, others) = chosen(seed);
    for oddity in ours.iter().chain(&others) {
        // One of a hundred may stall nothing: then it goes on with what the other parts have.
        if operations >= ours.len() && stalled > 0 {
            break;
        }
        operations += 1;
        version += 2;
        let what = format!("{oddity:?}");
        match apply(&cluster, &odd(oddity, version)).await {
            Err(error) => {
                assert!(is_refusal(&error), "{what}: {error}");
                refused += 1;
            }
            Ok(()) => stalled += usize::from(settled(&cluster, &what, false).await),
        }
        // Immutable where it was accepted: then it is made again.
        if apply(&cluster, &good(oddity.kind, version + 1)).await.is_err() {
            cleared(&cluster).await;
            create_at(&cluster, version + 1).await;
        }
        settled(&cluster, &format!("back from {what}"), true).await;
    }
    eprintln!("{operations} odd manifests in {:?}: {refused} refused, {stalled} stalled", started.elapsed());
    assert!(refused > operations / 10 && stalled > 0, "too tame");
    cleared(&cluster).await;
    create_at(&cluster, 0).await;
    settled(&cluster, "in the end", true).await;
    assert_eq!(with_live_indexes(&cluster).await, expected, "made again is not as made at first");
}

/// The oddities of this run, and those of the other parts. As many runs in a row as there are parts make all that one choice has.
fn chosen(seed: Seed) -> (Vec<Oddity>, Vec<Oddity>) {
    let oddities = oddities();
    let mut random = StdRng::seed_from_u64(seed.base());
    let all = (0..OPERATIONS).map(|place| (place, oddities[random.random_range(0..oddities.len())].clone()));
    let (ours, others): (Vec<_>, Vec<_>) = all.partition(|(place, _)| seed.part().has(*place));
    let plain = |some: Vec<(usize, Oddity)>| some.into_iter().map(|(_, one)| one).collect();
    (plain(ours), plain(others))
}

/// An answer of the API server about the manifest. It gives the code 500 to fields that server-side apply does not know.
fn is_refusal(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    (400..500).contains(&status.code) || status.message.starts_with("failed to create typed patch object")
}

/// Waits until nobody works on any of the three; whether one of them is Stalled.
async fn settled(cluster: &Cluster, what: &str, current: bool) -> bool {
    eventually(what, LIMIT, || async {
        let found = objects(cluster, NAME).await.map_err(|error| error.to_string())?;
        if current {
            return are_current(&found).map(|()| false);
        }
        match found
            .iter()
            .find(|object| matches!(compute(object), Computed::InProgress | Computed::Terminating))
        {
            Some(object) => Err(format!("{} {}", object["kind"], object["status"])),
            None => Ok(found.iter().any(|object| compute(object) == Computed::Failed)),
        }
    })
    .await
    .unwrap()
}

/// What there is once the index is live: a tenant can be Ready before it hears of a SearchIndex that was made just before it.
async fn with_live_indexes(cluster: &Cluster) -> Dump {
    eventually("the index is live", LIMIT, || async {
        let found = dump(cluster, NAME).await;
        let mut bindings = found.iter().filter(|line| line.starts_with("search_binding")).peekable();
        let live = bindings.peek().is_some() && bindings.all(|line| line.contains("\"live\": true"));
        if live { Ok(found) } else { Err("not yet".to_owned()) }
    })
    .await
    .unwrap()
}

async fn cleared(cluster: &Cluster) {
    remove(cluster, NAME).await;
    eventually("all are gone", LIMIT, || Scenario::Delete.is_done(cluster, NAME)).await.unwrap();
    assert!(dump(cluster, NAME).await.is_empty(), "{:?}", dump(cluster, NAME).await);
}

async fn create_at(cluster: &Cluster, version: usize) {
    for kind in ["App", "SearchIndex", "Tenant"] {
        apply(cluster, &good(kind, version)).await.unwrap();
    }
}

/// A published version is immutable, so each App has one of its own.
fn good(kind: &str, version: usize) -> Value {
    let spec = match kind {
        "App" => shop(&format!("1.0.{version}"), customer()),
        "SearchIndex" => search_of(NAME),
        _ => uses(NAME, "Delete"),
    };
    json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": kind, "metadata": {"name": NAME}, "spec": spec})
}

fn odd(oddity: &Oddity, version: usize) -> Value {
    let mut manifest = good(oddity.kind, version);
    let (last, parents) = oddity.path.split_last().unwrap();
    let mut at = &mut manifest["spec"];
    for step in parents {
        at = match step.as_str() {
            // Into the first item of a list.
            "[]" => {
                if at.as_array().is_none_or(Vec::is_empty) {
                    *at = json!([{}]);
                }
                &mut at[0]
            }
            key => {
                if !at.is_object() {
                    *at = json!({});
                }
                &mut at[key]
            }
        };
    }
    match (&oddity.value, last.as_str()) {
        (Some(value), "[]") => *at = json!([value]),
        (None, "[]") => *at = json!([]),
        (Some(value), key) => {
            if !at.is_object() {
                *at = json!({});
            }
            at[key] = value.clone();
        }
        (None, key) => {
            if let Some(fields) = at.as_object_mut() {
                fields.remove(key);
            }
        }
    }
    manifest
}

async fn apply(cluster: &Cluster, manifest: &Value) -> kube::Result<()> {
    let resource = match manifest["kind"].as_str() {
        Some("App") => ApiResource::erase::<App>(&()),
        Some("SearchIndex") => ApiResource::erase::<SearchIndex>(&()),
        _ => ApiResource::erase::<Tenant>(&()),
    };
    let api: Api<DynamicObject> = Api::all_with(cluster.kube(), &resource);
    api.patch(NAME, &PatchParams::apply("test").force(), &Patch::Apply(manifest)).await.map(|_| ())
}

fn oddities() -> Vec<Oddity> {
    let mut found = Vec::new();
    for (kind, text) in CRDS {
        let crd: Value = serde_yaml::from_str(text).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        visit(kind, schema, &mut Vec::new(), &mut found);
    }
    assert!(found.len() > OPERATIONS, "only {}", found.len());
    found
}

fn visit(kind: &'static str, schema: &Value, path: &mut Vec<String>, found: &mut Vec<Oddity>) {
    if !path.is_empty() {
        let values = values(schema).into_iter().map(Some).chain([None]);
        found.extend(values.map(|value| Oddity { kind, path: path.clone(), value }));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        path.push(name.clone());
        visit(kind, field, path, found);
        path.pop();
    }
    if schema["items"].is_object() {
        path.push("[]".to_owned());
        visit(kind, &schema["items"], path, found);
        path.pop();
    }
}

/// Values at and past the bounds of a field, and one of another type.
fn values(schema: &Value) -> Vec<Value> {
    let mut values = match schema["type"].as_str() {
        Some("string") => {
            let longest = usize::try_from(schema["maxLength"].as_u64().unwrap_or(64)).unwrap().min(5000);
            let texts = ["a".repeat(longest), "a".repeat(longest + 1)];
            let odd =
                ["", " ", "a", "Z_9", "ä", "'; DROP TABLE tenantry.tenant; --", "../..", "{{x}}", "\u{0}"];
            texts.into_iter().chain(odd.map(str::to_owned)).map(Value::from).collect()
        }
        Some("integer" | "number") => {
            let (low, high) = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
            let bounds = [low, low.map(|low| low - 1), high, high.map(|high| high + 1)];
            bounds.into_iter().flatten().chain([0, -1, 1, i64::MAX]).map(Value::from).collect()
        }
        Some("boolean") => vec![json!(true), json!(false)],
        Some("array") => vec![json!([]), json!([{}]), json!([null])],
        _ => vec![json!({}), json!({"no-such-field": 1})],
    };
    values.extend(schema["enum"].as_array().into_iter().flatten().cloned());
    values.push(if schema["type"] == "string" { json!(1) } else { json!("text") });
    values
}
