//! Which tenant a request is for.
//!
//! A tenant is named by the host, by the `X-Tenant` header, or by the token alone. What is named twice must agree, and the
//! token has the last word: it opens one tenant only.

use std::sync::Arc;

use axum::http::{HeaderMap, Uri, header};
use uuid::Uuid;

use super::{api_key::ApiKey, token::Refused};
use crate::{
    error::{ApiError, Code},
    registry::{Availability, Snapshot, TenantEntry},
};

/// The header that names a tenant.
pub const TENANT_HEADER: &str = "x-tenant";

/// The header that Supabase's clients send an API key in.
const KEY_HEADER: &str = "apikey";

/// Names in a query under which tokens are known to be sent.
const QUERY_TOKENS: [&str; 4] = ["access_token", "token", "jwt", "apikey"];

/// The bearer token of a request.
///
/// # Errors
/// When there is none, or one where it must not be.
pub fn bearer<'a>(headers: &'a HeaderMap, uri: &Uri) -> Result<&'a str, Refused> {
    not_in_query(uri)?;
    one_bearer(headers)?.ok_or(Refused::Missing)
}

/// What a request says of who makes it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Credentials<'a> {
    /// A token. The key beside it only names the tenant.
    Token(&'a str, Option<ApiKey>),
    /// An API key, as it was sent.
    Key(&'a str, ApiKey),
}

/// The credentials of a request: `Authorization`, and `apikey` as Supabase's clients send it.
///
/// # Errors
/// When there are none, or more than one.
pub(super) fn credentials<'a>(headers: &'a HeaderMap, uri: &Uri) -> Result<Credentials<'a>, Refused> {
    not_in_query(uri)?;
    let key = one_key(headers)?;
    let parse = |text| ApiKey::parse(text).ok_or(Refused::BadKey);
    match (one_bearer(headers)?, key) {
        (None, None) => Err(Refused::Missing),
        (None, Some(key)) => Ok(Credentials::Key(key, parse(key)?)),
        (Some(token), key) if ApiKey::is_one(token) => match key {
            Some(other) if other != token => Err(Refused::Malformed),
            _ => Ok(Credentials::Key(token, parse(token)?)),
        },
        (Some(token), key) => Ok(Credentials::Token(token, key.map(parse).transpose()?)),
    }
}

/// The origin that an API key names, if there is a key. Whether the key is good is not asked: it opens nothing here.
///
/// # Errors
/// When it is not a key, or there are several.
pub(super) fn named_by_key(headers: &HeaderMap) -> Result<Option<Uuid>, Refused> {
    let key = match one_key(headers)? {
        Some(key) => Some(key),
        None => one_bearer(headers)?.filter(|token| ApiKey::is_one(token)),
    };
    key.map(|key| ApiKey::parse(key).map(|key| key.origin).ok_or(Refused::BadKey)).transpose()
}

fn one_key(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let mut values = headers.get_all(KEY_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refused::Malformed);
    }
    value.to_str().map(Some).map_err(|_| Refused::BadKey)
}

fn not_in_query(uri: &Uri) -> Result<(), Refused> {
    let query = uri.query().unwrap_or_default();
    if query.split('&').any(|pair| QUERY_TOKENS.contains(&pair.split('=').next().unwrap_or_default())) {
        return Err(Refused::InQuery);
    }
    Ok(())
}

fn one_bearer(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refused::Malformed);
    }
    let value = value.to_str().map_err(|_| Refused::Malformed)?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => {
            Ok(Some(token))
        }
        _ => Err(Refused::Malformed),
    }
}

/// The tenant of a request with credentials for the one with this uid.
///
/// # Errors
/// When no tenant or more than one is named, or the credentials are for another one.
pub(super) fn resolve(
    snapshot: &Snapshot,
    headers: &HeaderMap,
    uri: &Uri,
    uid: Uuid,
) -> Result<Arc<TenantEntry>, ApiError> {
    let named = named(snapshot, headers, uri)?;
    if named.is_some_and(|tenant| tenant.uid != uid) {
        return Err(ApiError::new(Code::TenantMismatch, "the token was issued for another tenant"));
    }
    named_or(snapshot, named, snapshot.by_uid(&uid))
}

/// The tenant of a request with an API key, which is for the data of this origin.
///
/// # Errors
/// When no tenant or more than one is named, or the key is for another one.
pub(super) fn resolve_by_key(
    snapshot: &Snapshot,
    headers: &HeaderMap,
    uri: &Uri,
    origin: Uuid,
) -> Result<Arc<TenantEntry>, ApiError> {
    let named = named(snapshot, headers, uri)?;
    if named.is_some_and(|tenant| tenant.origin != origin) {
        return Err(ApiError::new(Code::TenantMismatch, "the API key was made for another tenant"));
    }
    named_or(snapshot, named, snapshot.by_origin(&origin))
}

fn named_or(
    snapshot: &Snapshot,
    named: Option<&Arc<TenantEntry>>,
    other: Option<&Arc<TenantEntry>>,
) -> Result<Arc<TenantEntry>, ApiError> {
    let tenant = named.or(other).ok_or_else(|| missing(snapshot))?;
    served(tenant)?;
    Ok(Arc::clone(tenant))
}

/// The tenant of a request that need not have credentials: of the host, of `X-Tenant`, or of the API key.
///
/// # Errors
/// When no tenant or more than one is named.
pub(super) fn visited(
    snapshot: &Snapshot,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Arc<TenantEntry>, ApiError> {
    if let Some(origin) = named_by_key(headers)? {
        return resolve_by_key(snapshot, headers, uri, origin);
    }
    let tenant = named(snapshot, headers, uri)?.ok_or_else(|| missing(snapshot))?;
    served(tenant)?;
    Ok(Arc::clone(tenant))
}

/// The tenant that the host or `X-Tenant` names, if either does.
pub(super) fn named<'a>(
    snapshot: &'a Snapshot,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Option<&'a Arc<TenantEntry>>, ApiError> {
    let by_host = host(headers, uri).and_then(|host| snapshot.by_host(&host));
    Ok(match one_tenant_header(headers)? {
        None => by_host,
        Some(name) => {
            let by_name = snapshot.by_name(name).ok_or_else(|| missing(snapshot))?;
            if by_host.is_some_and(|by_host| by_host.uid != by_name.uid) {
                return Err(ApiError::bad_request("the host and X-Tenant name different tenants"));
            }
            Some(by_name)
        }
    })
}

/// The tenant that a request names by `X-Tenant`, else by the host, for answers that need no more than its manifest.
pub fn named_plainly<'a>(
    snapshot: &'a Snapshot,
    headers: &HeaderMap,
    uri: &Uri,
) -> Option<&'a Arc<TenantEntry>> {
    named(snapshot, headers, uri).ok().flatten()
}

/// For a request that takes long: whether its tenant is served still, by what the registry says now.
///
/// # Errors
/// When it is not any more.
pub fn still_served(snapshot: &Snapshot, tenant: &TenantEntry) -> Result<(), ApiError> {
    snapshot.by_uid(&tenant.uid).ok_or_else(unknown).and_then(|now| served(now))
}

fn served(tenant: &TenantEntry) -> Result<(), ApiError> {
    match &tenant.availability {
        Availability::Serving => Ok(()),
        Availability::Suspended(message) => Err(ApiError::new(
            Code::TenantSuspended,
            message.clone().unwrap_or_else(|| "this tenant is suspended".to_owned()),
        )),
        Availability::NotReady => {
            Err(ApiError::new(Code::TenantNotReady, "this tenant is still being provisioned").retry_after(1))
        }
        Availability::Retained => Err(unknown()),
    }
}

fn one_tenant_header(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(ApiError::bad_request("X-Tenant stands twice"));
    }
    first.map(|value| value.to_str().map_err(|_| unknown())).transpose()
}

fn unknown() -> ApiError {
    ApiError::not_found("there is no such tenant")
}

/// A tenant that is not in the snapshot may be in an instance that nobody could read yet.
fn missing(snapshot: &Snapshot) -> ApiError {
    if snapshot.is_partial() { ApiError::unavailable("the registry").retry_after(1) } else { unknown() }
}

/// The host of a request, in lower case and without a port or a final dot.
fn host(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    // HTTP/2 carries it in the URI.
    let host = match uri.host() {
        Some(host) => host,
        None => {
            let value = headers.get(header::HOST)?.to_str().ok()?;
            match value.rsplit_once(':') {
                Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
                _ => value,
            }
        }
    };
    Some(host.trim_end_matches('.').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tenantry_crds::names::{SchemaName, TenantName, TenantRole};
    use tenantry_migrations::logins::LoginShard;
    use uuid::Uuid;

    use super::*;
    use crate::registry::InstalledApps;

    const ACME: Uuid = Uuid::from_u128(1);
    const GLOBEX: Uuid = Uuid::from_u128(2);

    fn entry(name: &str, uid: Uuid, availability: Availability) -> TenantEntry {
        let name = TenantName::new(name).unwrap();
        TenantEntry {
            uid,
            origin: uid,
            schema: SchemaName::of(&name),
            role: TenantRole::of(&name),
            login_shard: LoginShard::new(0),
            connections: Default::default(),
            home: Default::default(),
            availability,
            auth: Default::default(),
            quotas: Default::default(),
            cors: Default::default(),
            hosts: vec![format!("{name}.example.com")],
            apps: Arc::new(InstalledApps::new([])),
            search: HashMap::new(),
            streams: HashMap::new(),
            name,
        }
    }

    fn snapshot() -> Snapshot {
        Snapshot::new([
            entry("acme", ACME, Availability::Serving),
            entry("globex", GLOBEX, Availability::Serving),
            entry("initech", Uuid::from_u128(3), Availability::Suspended(Some("unpaid".into()))),
            entry("hooli", Uuid::from_u128(4), Availability::NotReady),
            entry("umbrella", Uuid::from_u128(5), Availability::Retained),
        ])
    }

    fn resolve_as(headers: &[(&'static str, &str)], tid: Uuid) -> Result<String, Code> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        resolve(&snapshot(), &headers, &"/x".parse().unwrap(), tid)
            .map(|tenant| tenant.name.to_string())
            .map_err(|error| error.code())
    }

    #[test]
    fn host_header_and_token_find_the_same_tenant() {
        assert_eq!(resolve_as(&[("host", "acme.example.com")], ACME), Ok("acme".into()));
        assert_eq!(resolve_as(&[("host", "ACME.example.com.:8080")], ACME), Ok("acme".into()));
        assert_eq!(resolve_as(&[("x-tenant", "acme"), ("host", "127.0.0.1:80")], ACME), Ok("acme".into()));
        assert_eq!(resolve_as(&[], ACME), Ok("acme".into()));
    }

    #[test]
    fn a_token_opens_its_own_tenant_only() {
        assert_eq!(resolve_as(&[("host", "globex.example.com")], ACME), Err(Code::TenantMismatch));
        assert_eq!(resolve_as(&[("x-tenant", "globex")], ACME), Err(Code::TenantMismatch));
        let both = [("host", "acme.example.com"), ("x-tenant", "globex")];
        assert_eq!(resolve_as(&both, ACME), Err(Code::BadRequest));
        assert_eq!(resolve_as(&both, GLOBEX), Err(Code::BadRequest));
    }

    #[test]
    fn an_api_key_opens_whoever_has_the_data_that_it_was_made_for() {
        let heir = TenantEntry { origin: ACME, ..entry("heir", Uuid::from_u128(7), Availability::Serving) };
        let resolve_in = |snapshot: &Snapshot, headers: &[(&'static str, &str)], origin| {
            let headers = headers
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            resolve_by_key(snapshot, &headers, &"/x".parse().unwrap(), origin)
                .map(|tenant| tenant.name.to_string())
                .map_err(|error| error.code())
        };
        let adopted = Snapshot::new([heir.clone(), entry("globex", GLOBEX, Availability::Serving)]);
        assert_eq!(resolve_in(&adopted, &[], ACME), Ok("heir".into()));
        assert_eq!(resolve_in(&adopted, &[("x-tenant", "heir")], ACME), Ok("heir".into()));
        assert_eq!(resolve_in(&adopted, &[("x-tenant", "globex")], ACME), Err(Code::TenantMismatch));
        assert_eq!(resolve_in(&adopted, &[], heir.uid), Err(Code::NotFound), "the uid names no data");
        let copied = Snapshot::new([heir, entry("acme", ACME, Availability::Serving)]);
        assert_eq!(
            resolve_in(&copied, &[], ACME),
            Ok("acme".into()),
            "the original, unless the copy is named"
        );
        assert_eq!(resolve_in(&copied, &[("x-tenant", "heir")], ACME), Ok("heir".into()));
    }

    #[test]
    fn who_is_not_served_is_told_so() {
        assert_eq!(resolve_as(&[], Uuid::from_u128(3)), Err(Code::TenantSuspended));
        assert_eq!(resolve_as(&[], Uuid::from_u128(4)), Err(Code::TenantNotReady));
        assert_eq!(resolve_as(&[], Uuid::from_u128(5)), Err(Code::NotFound));
        assert_eq!(resolve_as(&[], Uuid::from_u128(9)), Err(Code::NotFound));
        assert_eq!(resolve_as(&[("x-tenant", "nobody")], ACME), Err(Code::NotFound));
    }

    #[test]
    fn a_token_stands_in_the_header_only_and_once() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            headers
        };
        let read = |values: &[&str], uri: &'static str| {
            bearer(&headers(values), &Uri::from_static(uri)).map(str::to_owned)
        };
        assert_eq!(read(&["Bearer abc"], "/x?q=1").as_deref(), Ok("abc"));
        assert_eq!(read(&["bearer abc"], "/x").as_deref(), Ok("abc"));
        assert_eq!(read(&[], "/x"), Err(Refused::Missing));
        assert_eq!(read(&["Basic abc"], "/x"), Err(Refused::Malformed));
        assert_eq!(read(&["Bearer"], "/x"), Err(Refused::Malformed));
        assert_eq!(read(&["Bearer a", "Bearer b"], "/x"), Err(Refused::Malformed));
        assert_eq!(read(&["Bearer abc"], "/x?access_token=abc"), Err(Refused::InQuery));
    }
}
