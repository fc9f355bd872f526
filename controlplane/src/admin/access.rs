//! Who calls, and whether they may.

use axum::http::HeaderMap;
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tenantry_crds::labels;

use super::refusal::refused;
use crate::{
    auth::{Refused, bearer},
    error::ApiError,
};

/// What a caller wants to do with Tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    List,
    Get,
    Create,
    Delete,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Get => "get",
            Self::Create => "create",
            Self::Delete => "delete",
        }
    }
}

/// Lets a caller through whom the cluster knows and allows `verb` on the Tenant `name`, or on all of them. Answers who it is.
///
/// # Errors
/// 401 for a token that the cluster does not know, 403 when its holder may not.
pub(super) async fn authorize(
    client: &Client,
    headers: &HeaderMap,
    uri: &axum::http::Uri,
    verb: Verb,
    name: Option<&str>,
) -> Result<String, ApiError> {
    let token = bearer(headers, uri)?;
    let user = holder(client, token).await?;
    let username = user.username.clone().unwrap_or_default();
    let review = SubjectAccessReview {
        metadata: ObjectMeta::default(),
        spec: SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            resource_attributes: Some(ResourceAttributes {
                group: Some(labels::GROUP.to_owned()),
                resource: Some("tenants".to_owned()),
                verb: Some(verb.as_str().to_owned()),
                name: name.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        status: None,
    };
    let review = Api::<SubjectAccessReview>::all(client.clone())
        .create(&PostParams::default(), &review)
        .await
        .map_err(refused)?;
    // Deny unless allowed; an authorizer that has no opinion allows nothing.
    if review.status.is_some_and(|status| status.allowed && status.denied != Some(true)) {
        return Ok(username);
    }
    Err(ApiError::forbidden(format!("{username} may not {} tenants", verb.as_str())).hint(format!(
        "grant the verb {} on tenants.{} to {username}",
        verb.as_str(),
        labels::GROUP
    )))
}

async fn holder(client: &Client, token: &str) -> Result<UserInfo, ApiError> {
    let review = TokenReview {
        metadata: ObjectMeta::default(),
        spec: TokenReviewSpec { token: token.to_owned(), audiences: None },
        status: None,
    };
    let review = Api::<TokenReview>::all(client.clone())
        .create(&PostParams::default(), &review)
        .await
        .map_err(refused)?;
    match review.status {
        Some(status) if status.authenticated == Some(true) => {
            status.user.ok_or_else(|| ApiError::from(Refused::BadClaims))
        }
        _ => Err(ApiError::unauthenticated("the cluster does not know this token")),
    }
}
