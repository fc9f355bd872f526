//! Who may sign in to a tenant, and how. Pure.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use tenantry_crds::v1alpha1::{AuthSpec, OidcIssuerSpec, SignUp};

/// What `spec.auth` of a Tenant says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthPolicy(AuthSpec);

const ACCESS: u32 = 15 * 60;
const REFRESH: u32 = 30 * 24 * 3600;
const SESSION: u32 = 90 * 24 * 3600;
/// Longer ones would only be work for whoever sends them.
const MAX_PASSWORD_BYTES: usize = 256;

static DEFAULT: LazyLock<Arc<AuthPolicy>> = LazyLock::new(Arc::default);

impl AuthPolicy {
    /// The policy of a tenant's row. Tenants that say nothing share one.
    ///
    /// # Errors
    /// When the row cannot be read.
    pub fn read(row: &serde_json::Value) -> Result<Arc<Self>, serde_json::Error> {
        if row.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(Arc::clone(&DEFAULT));
        }
        let mut spec = <AuthSpec as serde::Deserialize>::deserialize(row)?;
        // From before there was a rule against them: whoever would be taken for somebody else is nobody.
        spec.oidc_issuers.retain(OidcIssuerSpec::is_usable);
        Ok(Arc::new(Self(spec)))
    }

    /// Whether people may make an account for themselves.
    pub(super) fn allows_sign_up(&self) -> bool {
        self.0.sign_up == SignUp::Open
    }

    /// Whether administrators may invite.
    pub(super) fn allows_invites(&self) -> bool {
        self.0.invites
    }

    /// The roles of accounts that people made for themselves.
    pub(super) fn default_roles(&self) -> &[String] {
        &self.0.default_roles
    }

    /// Whether an account is usable only once its address is verified.
    pub(super) fn requires_verified_email(&self) -> bool {
        self.0.require_verified_email
    }

    /// Where e-mail is handed over.
    pub fn webhook(&self) -> Option<&str> {
        self.0.webhook.as_ref().map(|webhook| webhook.url.as_str())
    }

    /// The site that an e-mail leads back to.
    pub(super) fn site_url(&self) -> Option<&str> {
        self.0.site_url.as_deref()
    }

    /// Other pages that an e-mail may lead back to.
    pub(super) fn redirect_urls(&self) -> &[String] {
        &self.0.redirect_urls
    }

    /// How long an access token lives.
    pub(super) fn access_lifetime(&self) -> Duration {
        Duration::from_secs(self.0.access_token_seconds.unwrap_or(ACCESS).into())
    }

    /// Seconds after which a session that was not refreshed ends.
    pub(super) fn refresh_seconds(&self) -> u32 {
        self.0.refresh_token_seconds.unwrap_or(REFRESH)
    }

    /// Seconds after which a session ends in any case.
    pub(super) fn session_seconds(&self) -> u32 {
        self.0.session_seconds.unwrap_or(SESSION)
    }

    /// Whether a token may be exchanged for one for `audience`.
    pub(super) fn may_exchange(&self, audience: &str) -> bool {
        self.0.audiences.iter().any(|known| known == audience)
    }

    /// The external issuer that calls itself `issuer`.
    pub(super) fn oidc_issuer(&self, issuer: &str) -> Option<&OidcIssuerSpec> {
        self.0.oidc_issuers.iter().find(|known| known.issuer == issuer)
    }

    /// Whether there is any external issuer.
    pub(super) fn has_oidc(&self) -> bool {
        !self.0.oidc_issuers.is_empty()
    }

    /// Of a user's roles, those that a session has: some need a second factor.
    pub(super) fn effective_roles(&self, roles: Vec<String>, second_factor: bool) -> Vec<String> {
        if second_factor || self.0.require_totp_for_roles.is_empty() {
            return roles;
        }
        roles.into_iter().filter(|role| !self.0.require_totp_for_roles.contains(role)).collect()
    }

    /// Of a user's roles, those that wait for a second factor.
    pub(super) fn withheld_roles<'a>(&self, roles: &'a [String]) -> Vec<&'a str> {
        let needs = |role: &&String| self.0.require_totp_for_roles.contains(role);
        roles.iter().filter(needs).map(String::as_str).collect()
    }

    /// What is wrong with a new password of the user with this e-mail address; nothing when it will do.
    pub(super) fn weaknesses(&self, password: &str, email: &str) -> Vec<String> {
        let policy = &self.0.password_policy;
        let mut wrong = Vec::new();
        let length = password.chars().count();
        if length < policy.min_length as usize {
            wrong.push(format!("needs at least {} characters", policy.min_length));
        }
        if password.len() > MAX_PASSWORD_BYTES {
            wrong.push(format!("must have at most {MAX_PASSWORD_BYTES} bytes"));
        }
        let kinds: [fn(char) -> bool; 4] =
            [char::is_lowercase, char::is_uppercase, |c| c.is_numeric(), |c| !c.is_alphanumeric()];
        let classes = kinds.iter().filter(|is| password.chars().any(is)).count();
        if classes < policy.min_classes as usize {
            wrong.push(format!(
                "needs {} of: lower case, upper case, digits, other characters",
                policy.min_classes
            ));
        }
        let lower = password.to_lowercase();
        let local = email.split('@').next().unwrap_or_default().to_lowercase();
        let first = password.chars().next();
        if (local.len() >= 4 && lower.contains(&local)) || password.chars().all(|c| Some(c) == first) {
            wrong.push("is too easy to guess".to_owned());
        } else if COMMON.iter().any(|common| lower.trim_end_matches(|c: char| !c.is_alphabetic()) == *common)
        {
            wrong.push("is too common".to_owned());
        }
        wrong
    }
}

/// What people choose most, without the digits behind it.
const COMMON: [&str; 16] = [
    "password",
    "passwort",
    "qwerty",
    "qwertyuiop",
    "qwertz",
    "letmein",
    "welcome",
    "iloveyou",
    "admin",
    "administrator",
    "monkey",
    "dragon",
    "football",
    "baseball",
    "sunshine",
    "princess",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(spec: serde_json::Value) -> Arc<AuthPolicy> {
        AuthPolicy::read(&spec).unwrap()
    }

    #[test]
    fn tenants_that_say_nothing_share_one_policy_that_lets_nobody_in_by_itself() {
        let (one, other) = (policy(json!({})), policy(json!({})));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!one.allows_sign_up() && !one.allows_invites() && !one.may_exchange("chat"));
        assert_eq!(one.access_lifetime(), Duration::from_secs(900));
        assert_eq!(one.refresh_seconds(), 2_592_000);
    }

    #[test]
    fn an_issuer_whose_users_would_be_taken_for_api_keys_is_none() {
        let issuer = |name: &str| json!({"name": name, "issuer": format!("https://{name}.example.com"), "audience": "crm"});
        let policy = policy(json!({"oidcIssuers": [issuer("key"), issuer("corp")]}));
        assert!(policy.oidc_issuer("https://key.example.com").is_none());
        assert!(policy.oidc_issuer("https://corp.example.com").is_some());
    }

    #[test]
    fn a_role_that_needs_a_second_factor_is_not_had_without() {
        let policy = policy(json!({"requireTotpForRoles": ["admin"]}));
        let roles = || vec!["admin".to_owned(), "crm:sales".to_owned()];
        assert_eq!(policy.effective_roles(roles(), false), ["crm:sales"]);
        assert_eq!(policy.effective_roles(roles(), true), roles());
        assert_eq!(policy.withheld_roles(&roles()), ["admin"]);
    }

    #[test]
    fn passwords_that_are_easy_to_guess_are_refused() {
        let policy = policy(json!({"passwordPolicy": {"minLength": 10, "minClasses": 2}}));
        for weak in [
            "",
            "short1",
            "alllowercase",
            "aaaaaaaaaaaa1".trim_end_matches('1'),
            "Password12345!",
            "wile.e.coyote-1",
        ] {
            assert!(!policy.weaknesses(weak, "wile.e.coyote@acme.example").is_empty(), "{weak}");
        }
        assert!(!policy.weaknesses(&format!("Aa1{}", "x".repeat(300)), "a@b").is_empty());
        for fine in ["correct horse battery", "Tr0ub4dor&3xyz", "пароль и ещё слова 1"] {
            assert!(policy.weaknesses(fine, "wile@acme.example").is_empty(), "{fine}");
        }
    }
}
