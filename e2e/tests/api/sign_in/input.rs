//! Texts that the database cannot hold, in every text of every route of sign-in that the OpenAPI document has.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Map, Value, json};
use tenantry_e2e::program::{ProgramOptions, controlplane};
use tenantry_e2e::world::{Answer, answer};
use tenantry_rig::endpoints::http_client;

use super::place::Place;

const NUL: &str = "a\0b@acme.example";

/// A route with a place for a text.
struct Case {
    method: Method,
    path: String,
    /// Where the text goes, as a JSON Pointer; nothing when it is the query.
    pointer: Option<String>,
    body: Option<Value>,
    query: Vec<(String, String)>,
}

/// Where a body of this schema takes texts.
fn texts(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    for one in schema["oneOf"].as_array().into_iter().flatten() {
        texts(one, at, found);
    }
    let properties = schema["properties"].as_object();
    match schema["type"].as_str() {
        Some("object") if properties.is_none() => {
            found.insert(format!("{at}/inside"));
        }
        Some("array") => texts(&schema["items"], &format!("{at}/0"), found),
        Some("object") => {
            for (name, property) in properties.into_iter().flatten() {
                texts(property, &format!("{at}/{name}"), found);
            }
        }
        Some("string") => {
            found.insert(at.to_owned());
        }
        None if schema.get("const").is_some() || schema.get("enum").is_some() => {
            found.insert(at.to_owned());
        }
        _ => {}
    }
}

/// A body with nothing but the text at the end of `pointer`.
fn body(pointer: &str) -> Value {
    pointer.trim_start_matches('/').rsplit('/').fold(json!(NUL), |inner, name| match name {
        "0" => json!([inner]),
        name => Value::Object(Map::from_iter([(name.to_owned(), inner)])),
    })
}

async fn cases(place: &Place) -> Vec<Case> {
    let endpoints = place.world.platform.endpoints();
    let printed = controlplane(endpoints, &ProgramOptions::default(), &["openapi"]).await.unwrap();
    let document: Value = serde_json::from_str(&printed).unwrap();
    let mut cases = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if operation["tags"] != json!(["auth"]) {
                continue;
            }
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let case = |pointer: Option<String>, body, query, path: &str| Case {
                method: method.clone(),
                path: path.to_owned(),
                pointer,
                body,
                query,
            };
            let mut found = BTreeSet::new();
            texts(&operation["requestBody"]["content"]["application/json"]["schema"], "", &mut found);
            let fixed = path.replace("{id}", &uuid::Uuid::nil().to_string());
            // Without it nobody reads the body.
            let grant = (path == "/auth/v1/token").then(|| ("grant_type".to_owned(), "password".to_owned()));
            for pointer in found {
                let query = grant.clone().into_iter().collect();
                cases.push(case(Some(pointer.clone()), Some(body(&pointer)), query, &fixed));
            }
            let wants_body = operation.get("requestBody").is_some();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap().to_owned();
                let body = wants_body.then(|| json!({"email": "ann@acme.example"}));
                match parameter["in"].as_str().unwrap() {
                    "query" => cases.push(case(None, body, vec![(name, NUL.to_owned())], &fixed)),
                    "path" => cases.push(case(None, body, Vec::new(), &path.replace("{id}", "a%00b"))),
                    _ => {}
                }
            }
        }
    }
    cases
}

async fn send(place: &Place, case: &Case, token: &str) -> Answer {
    let request = http_client().unwrap().request(case.method.clone(), place.world.url(&case.path));
    let request = request.header("x-tenant", &place.world.tenant).query(&case.query);
    let request = if token.is_empty() { request } else { request.bearer_auth(token) };
    answer(match &case.body {
        Some(body) => request.json(body),
        None => request,
    })
    .await
}

#[tokio::test]
async fn a_text_that_cannot_be_stored_is_the_callers_error_in_every_field_of_every_route() {
    let place = Place::new(json!({"signUp": "Open"})).await;
    let person = place.person(&["admin"]).await;
    let user = place.sign_in(&person).await.access;
    let cases = cases(&place).await;
    let mut wrong = Vec::new();
    for case in &cases {
        let what = format!("{} {} {:?} {:?}", case.method, case.path, case.pointer, case.query);
        for token in ["", &user] {
            let answer = send(&place, case, token).await;
            let refused = (400..500).contains(&answer.status)
                || (answer.status < 300 && case.query.iter().any(|(name, _)| name == "redirect_to"));
            // Who is let in learns which field it is; `scope` of a sign-out is no text, but one of three words.
            let named = case.pointer.as_ref().is_none_or(|pointer| {
                let text = answer.body["details"].as_str().unwrap_or_default();
                answer.status == 400 && (text.starts_with(pointer) || case.path.ends_with("/logout"))
            });
            if !refused || !(named || token.is_empty()) {
                wrong.push(format!("{what}: {answer:?}"));
            }
        }
    }
    assert!(cases.len() > 40, "{} places for texts", cases.len());
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}
