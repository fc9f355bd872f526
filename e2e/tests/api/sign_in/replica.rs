//! A control plane beside the one that all tests share.

use serde_json::{Value, json};
use tenantry_e2e::program::{Program, ProgramOptions};
use tenantry_e2e::world::{Answer, LIMIT, answer};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

use super::place::{PASSWORD, Person, Place, Tokens};

/// One more replica of the control plane, with settings of its own.
pub struct Replica {
    program: Program,
    http: reqwest::Client,
}

impl Replica {
    pub async fn start(place: &Place, settings: &[(&str, &str)]) -> Self {
        let settings =
            settings.iter().map(|(name, value)| (format!("TENANTRY__{name}"), (*value).to_owned())).collect();
        let options = ProgramOptions { settings, ..ProgramOptions::default() };
        let program = Program::serve(place.world.platform.endpoints(), &options).await.unwrap();
        Self { program, http: http_client().unwrap() }
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.program.http_url().unwrap()))
    }

    /// The answer to a sign-in that comes from `address`, as a proxy says.
    pub async fn try_sign_in_from(
        &self,
        place: &Place,
        email: &str,
        password: &str,
        address: Option<&str>,
    ) -> Answer {
        let body = json!({"grant_type": "password", "email": email, "password": password});
        let mut request = self.request(reqwest::Method::POST, "/api/v1/auth/token").json(&body);
        request = request.header("x-tenant", &place.world.tenant);
        if let Some(address) = address {
            request = request.header("x-forwarded-for", address);
        }
        answer(request).await
    }

    pub async fn sign_in(&self, place: &Place, person: &Person) -> Tokens {
        Tokens::of(&self.try_sign_in_from(place, &person.email, PASSWORD, None).await)
    }

    /// How the list of cards is answered with this token.
    pub async fn cards_status(&self, place: &Place, token: &str) -> u16 {
        answer(self.request(reqwest::Method::GET, &place.cards()).bearer_auth(token)).await.status
    }

    /// Waits until the list of cards is answered so.
    pub async fn until(&self, place: &Place, token: &str, status: u16) {
        eventually("what the token opens at the other replica has changed", LIMIT, || async {
            match self.cards_status(place, token).await {
                now if now == status => Ok(()),
                other => Err(format!("{other}")),
            }
        })
        .await
        .unwrap();
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.program.process().log()).unwrap()
    }

    /// The names of the published keys.
    pub async fn published(&self) -> Vec<String> {
        let set = answer(self.request(reqwest::Method::GET, "/.well-known/jwks.json")).await;
        let name = |key: &Value| key["kid"].as_str().unwrap().to_owned();
        set.body["keys"].as_array().unwrap().iter().map(name).collect()
    }
}
