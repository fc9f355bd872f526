//! A tenant's user as the demo and the writers of the durability test are: a token and a few requests.

use std::error::Error;
use std::fmt;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tenantry_rig::RigError;
use tenantry_rig::endpoints::http_client_with_connections;

/// Something that did not go as told.
#[derive(Debug)]
pub struct Unexpected(pub String);

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unexpected {}

/// A user of a tenant.
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
    tenant: String,
}

impl Client {
    /// A user who has `token` and names `tenant` in each request.
    pub fn new(url: &str, tenant: &str, token: String) -> Result<Self, RigError> {
        Ok(Self { http: http_client_with_connections()?, url: url.to_owned(), token, tenant: tenant.to_owned() })
    }

    /// The same user, at another tenant's door.
    pub fn at(&self, tenant: &str) -> Self {
        Self {
            http: self.http.clone(),
            url: self.url.clone(),
            token: self.token.clone(),
            tenant: tenant.to_owned(),
        }
    }

    /// Sends a request; yields the status and the JSON of the answer.
    ///
    /// # Errors
    /// When there is no answer, or one that is not JSON.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), RigError> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        request = request.bearer_auth(&self.token).header("X-Tenant", &self.tenant);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        let json = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        Ok((status, json))
    }

    /// Sends a request that must be answered with `expected`; yields the JSON of the answer.
    ///
    /// # Errors
    /// When the answer is another one.
    pub async fn expect(
        &self,
        expected: StatusCode,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Unexpected> {
        let what = format!("{method} {path}");
        match self.send(method, path, body).await {
            Ok((status, json)) if status == expected => Ok(json),
            Ok((status, json)) => {
                Err(Unexpected(format!("{what}: expected {expected}, got {status}: {json}")))
            }
            Err(error) => Err(Unexpected(format!("{what}: {error}"))),
        }
    }
}
