//! `spec.auth` of a Tenant: who may sign in, and how.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the ids of API keys begin with, `key:ID`. Users of an external issuer are `NAME:SUB`, so none can have it for its name.
pub const KEY_ISSUER: &str = "key";

/// The audience of the platform's own tokens, unless its settings say another.
const OWN_AUDIENCE: &str = "tenantry";
/// What the audiences of signed requests to webhooks begin with.
const WEBHOOKS: &str = "webhook:";

/// Who may sign in, and how. The control plane follows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.requireVerifiedEmail || has(self.webhook)")
    .message("spec.auth.requireVerifiedEmail: needs a webhook, which gets the tokens that verify"))]
#[x_kube(validation = Rule::new("!self.invites || has(self.webhook)")
    .message("spec.auth.invites: needs a webhook, which gets the tokens of invitations"))]
#[x_kube(validation = Rule::new("self.signUp != 'Open' || !has(self.defaultRoles) || !('admin' in self.defaultRoles)")
    .message("spec.auth.defaultRoles: who signs up without an invitation cannot become admin"))]
#[x_kube(validation = Rule::new("!has(self.audiences) || self.audiences.all(a, a != 'tenantry' && !a.startsWith('webhook:'))")
    .message("spec.auth.audiences: tokens are not exchanged for the platform's own, tenantry, nor for webhook:..."))]
#[x_kube(validation = Rule::new("!has(self.oidcIssuers) || self.oidcIssuers.all(i, i.name != 'key')")
    .message("spec.auth.oidcIssuers: key: begins the ids of API keys, so no issuer can be named key"))]
#[x_kube(validation = Rule::new("!has(self.redirectUrls) || self.redirectUrls.all(url, !url.matches('^(javascript|data|vbscript|file|blob|about|view-source):'))")
    .message("spec.auth.redirectUrls: no scheme that runs or reads what it names"))]
pub struct AuthSpec {
    /// Whether people may make an account for themselves.
    #[serde(default)]
    pub sign_up: SignUp,
    /// Whether administrators may invite people by e-mail.
    #[serde(default)]
    pub invites: bool,
    /// The roles of accounts that people made for themselves: `APP:ROLE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(max = 60), regex(pattern = "^(admin|[a-z][a-z0-9]{0,19}:[a-z][a-z0-9_-]*)$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub default_roles: Vec<String>,
    /// Whether an account is usable only once its e-mail address is verified.
    #[serde(default)]
    pub require_verified_email: bool,
    /// What a password must be like.
    #[serde(default, skip_serializing_if = "PasswordPolicySpec::is_default")]
    pub password_policy: PasswordPolicySpec,
    /// Roles that only a session with a second factor has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(max = 60), regex(pattern = "^(admin|[a-z][a-z0-9]{0,19}:[a-z][a-z0-9_-]*)$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub require_totp_for_roles: Vec<String>,
    /// Seconds that an access token lives; 900 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 86400))]
    pub access_token_seconds: Option<u32>,
    /// Seconds after which a session that was not refreshed ends; 30 days unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 300, max = 31536000))]
    pub refresh_token_seconds: Option<u32>,
    /// Seconds after which a session ends in any case; 90 days unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 300, max = 31536000))]
    pub session_seconds: Option<u32>,
    /// Services that a token may be exchanged for: the `aud` that they ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 100), regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._:/-]*$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub audiences: Vec<String>,
    /// Issuers of OpenID Connect whose tokens are accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub oidc_issuers: Vec<OidcIssuerSpec>,
    /// What sends e-mail on behalf of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<AuthWebhookSpec>,
    /// The site that an e-mail leads back to, as in `https://app.example.com`; the tenant's hosts, over HTTPS, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = r"^https?://[^\s\\@?#*/][^\s\\@?#*]*$"))]
    pub site_url: Option<String>,
    /// Pages beside the site's own that an e-mail may lead back to: an origin, or an origin and the beginning of a path, as in
    /// `https://admin.example.com/auth` or `com.example.app://callback`. Schemes, hosts and ports are compared as a whole, and
    /// so is each part of the path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(max = 512), regex(pattern = r"^[a-z][a-z0-9+.-]*://[^\s\\@?#*/][^\s\\@?#*]*$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub redirect_urls: Vec<String>,
}

impl AuthSpec {
    /// Whether nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with it, if anything is: it may be from before there was a rule against it.
    pub fn problem(&self) -> Option<String> {
        let reserved = |audience: &&String| *audience == OWN_AUDIENCE || audience.starts_with(WEBHOOKS);
        if let Some(audience) = self.audiences.iter().find(reserved) {
            return Some(format!(
                "spec.auth.audiences: {audience} is for the platform itself, and tokens are not exchanged for it; remove it"
            ));
        }
        self.oidc_issuers.iter().find(|issuer| !issuer.is_usable()).map(|issuer| {
            format!(
                "spec.auth.oidcIssuers: {0}: begins the ids of API keys, so no issuer can be named {0}; give it another name",
                issuer.name
            )
        })
    }
}

/// Whether people may make an account for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum SignUp {
    /// Accounts are made by administrators.
    #[default]
    Closed,
    /// Anybody may.
    Open,
}

/// What a password must be like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordPolicySpec {
    /// The fewest characters.
    #[serde(default = "default_min_length")]
    #[schemars(range(min = 8, max = 64))]
    pub min_length: u32,
    /// Kinds of characters that it must have: lower case, upper case, digits, others.
    #[serde(default = "default_min_classes")]
    #[schemars(range(min = 1, max = 4))]
    pub min_classes: u32,
}

impl Default for PasswordPolicySpec {
    fn default() -> Self {
        Self { min_length: default_min_length(), min_classes: default_min_classes() }
    }
}

const fn default_min_length() -> u32 {
    10
}

const fn default_min_classes() -> u32 {
    1
}

impl PasswordPolicySpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An issuer of OpenID Connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OidcIssuerSpec {
    /// A name, unique in the tenant. Users are known as `NAME:SUB`.
    #[schemars(length(min = 1, max = 20), regex(pattern = "^[a-z][a-z0-9-]*$"))]
    pub name: String,
    /// The `iss` of its tokens, and where its configuration is.
    #[schemars(length(max = 512), regex(pattern = "^https?://.+$"))]
    pub issuer: String,
    /// The `aud` that its tokens must have.
    #[schemars(length(min = 1, max = 512))]
    pub audience: String,
    /// Where its keys are, unless its configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = "^https?://.+$"))]
    pub jwks_uri: Option<String>,
    /// The claim that holds groups, a text or a list of texts.
    #[serde(default = "default_roles_claim")]
    #[schemars(length(min = 1, max = 100))]
    pub roles_claim: String,
    /// The roles that each group stands for: `APP:ROLE` or `admin`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub roles: BTreeMap<String, Vec<String>>,
    /// The roles of everybody with a token of this issuer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(max = 60), regex(pattern = "^(admin|[a-z][a-z0-9]{0,19}:[a-z][a-z0-9_-]*)$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub default_roles: Vec<String>,
}

impl OidcIssuerSpec {
    /// Whether its users can be told from everybody else.
    pub fn is_usable(&self) -> bool {
        self.name != KEY_ISSUER
    }
}

fn default_roles_claim() -> String {
    "roles".to_owned()
}

/// What sends e-mail on behalf of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthWebhookSpec {
    /// Gets a signed POST with the token and whom it is for.
    #[schemars(length(max = 1024), regex(pattern = "^https?://.+$"))]
    pub url: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_the_platforms_own_is_named() {
        let problem = |auth| serde_json::from_value::<AuthSpec>(auth).unwrap().problem();
        let issuer = |name: &str| json!({"oidcIssuers": [{"name": name, "issuer": "https://id.example.com", "audience": "crm"}]});
        assert_eq!(problem(json!({"audiences": ["chat", "tenantry.chat", "webhooks"]})), None);
        assert_eq!(problem(issuer("keys")), None);
        for (auth, named) in [
            (json!({"audiences": ["chat", "tenantry"]}), "spec.auth.audiences: tenantry"),
            (json!({"audiences": ["webhook:acme"]}), "spec.auth.audiences: webhook:acme"),
            (issuer("key"), "spec.auth.oidcIssuers: key"),
        ] {
            let problem = problem(auth).unwrap();
            assert!(problem.starts_with(named), "{problem}");
        }
    }
}
