//! Where an e-mail may lead back to. Pure.
//!
//! `redirect_to` stands beside a one-time token, so whoever may choose it freely is sent the token. It must be a page of the tenant's
//! site, or begin like an entry of `spec.auth.redirectUrls`. Both are read by the parser that browsers have, and what was read is what
//! is passed on: no two readers can understand the same text differently.

use reqwest::Url;

use super::{accounts::invalid, policy::AuthPolicy};
use crate::{error::ApiError, registry::TenantEntry};

/// The longest that is read.
const MAX_BYTES: usize = 2048;

/// The pages that e-mails of a tenant may lead back to.
pub(super) struct Redirects {
    /// Where those lead that name no page.
    site: Option<Url>,
    allowed: Vec<Url>,
}

impl Redirects {
    pub(super) fn of(tenant: &TenantEntry) -> Self {
        Self::new(&tenant.auth, &tenant.hosts)
    }

    fn new(policy: &AuthPolicy, hosts: &[String]) -> Self {
        let sites: Vec<Url> = match policy.site_url() {
            Some(site) => parsed(site).into_iter().collect(),
            None => hosts.iter().filter_map(|host| parsed(&format!("https://{host}"))).collect(),
        };
        let site = sites.first().cloned();
        let listed = policy.redirect_urls().iter().filter_map(|url| parsed(url));
        Self { site, allowed: sites.into_iter().chain(listed).collect() }
    }

    /// The page that was asked for, if it is one of these.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn admit(&self, asked: Option<&str>) -> Result<Option<String>, ApiError> {
        let Some(asked) = asked.filter(|asked| !asked.is_empty()) else { return Ok(None) };
        self.find(asked).map(Some).ok_or_else(|| {
            invalid("/redirect_to", "is no page that e-mails of this tenant may lead back to".to_owned())
                .hint("list it in spec.auth.redirectUrls of the Tenant, or set spec.auth.siteUrl")
        })
    }

    /// The page that was asked for if it is one of these, else the site: GoTrue falls back without a word.
    pub(super) fn admit_or_site(&self, asked: Option<&str>) -> Option<String> {
        asked.and_then(|asked| self.find(asked)).or_else(|| self.site.clone().map(String::from))
    }

    fn find(&self, asked: &str) -> Option<String> {
        let asked = parsed(asked)?;
        self.allowed.iter().any(|allowed| begins_like(&asked, allowed)).then(|| asked.into())
    }
}

/// A URL with a host, and nothing in it that readers are known to disagree about.
fn parsed(text: &str) -> Option<Url> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let url = Url::parse(text).ok().filter(|_| plain && text.len() <= MAX_BYTES)?;
    let named = url.host_str().is_some_and(|host| !host.is_empty());
    (named && url.username().is_empty() && url.password().is_none()).then_some(url)
}

fn begins_like(url: &Url, allowed: &Url) -> bool {
    let origin =
        |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    let rest = url.path().strip_prefix(allowed.path().trim_end_matches('/'));
    origin(url) == origin(allowed) && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn redirects(auth: Value) -> Redirects {
        Redirects::new(&AuthPolicy::read(&auth).unwrap(), &["acme.example.com".to_owned()])
    }

    #[test]
    fn only_the_tenants_own_hosts_are_led_to_unless_it_says_more() {
        let redirects = redirects(json!({}));
        let page = "https://acme.example.com/welcome?a=b#c";
        assert_eq!(redirects.admit(Some(page)).unwrap().as_deref(), Some(page));
        assert_eq!(redirects.admit(None).unwrap(), None);
        let refused = redirects.admit(Some("https://evil.example/")).unwrap_err();
        assert_eq!(
            refused.facts().details.as_deref(),
            Some("/redirect_to: is no page that e-mails of this tenant may lead back to")
        );
        assert_eq!(
            redirects.admit_or_site(Some("https://evil.example/")).as_deref(),
            Some("https://acme.example.com/")
        );
    }

    #[test]
    fn what_looks_like_a_listed_page_and_is_another_is_refused() {
        let redirects = redirects(json!({
            "siteUrl": "https://app.example.com",
            "redirectUrls": ["https://admin.example.com:8443/auth", "com.example.app://callback"]
        }));
        for fine in [
            "https://app.example.com",
            "https://app.example.com/any/page",
            "HTTPS://APP.example.com/",
            "https://app.example.com:443/",
            "https://admin.example.com:8443/auth",
            "https://admin.example.com:8443/auth/done?next=/x",
            "https://admin.example.com:8443/x/../auth/",
            "com.example.app://callback",
            "com.example.app://callback/done",
        ] {
            assert!(redirects.admit(Some(fine)).is_ok(), "{fine}");
        }
        for other in [
            "http://app.example.com/",
            "https://acme.example.com/",
            "https://app.example.com:8443/",
            "https://app.example.com.evil.example/",
            "https://app.example.com@evil.example/",
            "https://app.example.com:pw@evil.example/",
            "https://evil.example/?https://app.example.com/",
            "https://evil.example/#@app.example.com/",
            "https://evil.example\\@app.example.com/",
            "https:\\\\evil.example/",
            "https://app.example.com\\.evil.example/",
            "https://app.example.com%2eevil.example/",
            "https://evil.example%00.app.example.com/",
            "//evil.example/",
            "/page",
            "javascript://app.example.com/%0aalert(1)",
            "data:text/html,x",
            "https://user@app.example.com/",
            "https://admin.example.com:8443/authority",
            "https://admin.example.com:8443/auth/../admin",
            "https://admin.example.com:8443/auth/%2e%2e/admin",
            "https://admin.example.com:8443/AUTH",
            "https://admin.example.com/auth",
            "com.example.app://callback.evil",
            "com.example.app2://callback",
            " https://app.example.com/",
            "https://app.example.com/\u{0}",
            "https://app.example.com/\n",
            "https://\u{430}pp.example.com/",
            "https://[::1]/",
        ] {
            assert!(redirects.admit(Some(other)).is_err(), "{other:?}");
        }
        assert!(redirects.admit(Some(&format!("https://app.example.com/{}", "a".repeat(3000)))).is_err());
    }

    #[test]
    fn what_is_passed_on_is_what_was_compared() {
        let redirects = redirects(json!({"siteUrl": "https://app.example.com"}));
        let admitted = |text: &str| redirects.admit(Some(text)).unwrap().unwrap();
        assert_eq!(admitted("https:app.example.com"), "https://app.example.com/");
        assert_eq!(admitted("https://app.example.com/a/../b"), "https://app.example.com/b");
    }
}
