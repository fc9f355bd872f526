//! What the layers ask.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use redis::RedisError;
use tenantry_config::settings;
use uuid::Uuid;

use super::{
    address::counted,
    bucket::Take,
    buckets::Buckets,
    limit::{Limit, Subject},
    shared::{Ask, Clock, SharedBuckets},
};
use crate::{
    auth::{RequestInfo, Scope},
    error::ApiError,
    state::AppState,
};

/// Answers of Redis that a request waits for; others may have been quicker to take what it granted.
const LOOKS: usize = 5;
/// How long it waits for each. Redis' own time is bounded below that.
const WAIT_LIMIT: Duration = Duration::from_millis(500);

/// All rate limits.
#[derive(Debug)]
pub struct Rates {
    buckets: Arc<Buckets>,
    shared: Option<SharedBuckets>,
    clock: Clock,
    address: Option<Limit>,
    tenant: Option<Limit>,
    user: Option<Limit>,
    sign_up: Option<Limit>,
    /// By the route's template.
    routes: BTreeMap<String, Limit>,
}

impl Rates {
    /// As the settings say, shared by all replicas.
    ///
    /// # Errors
    /// When the URL of Redis cannot be read.
    pub fn new(limits: &settings::Limits, redis: &settings::Redis) -> Result<Self, RedisError> {
        let mut rates = Self::alone(limits);
        rates.shared = Some(SharedBuckets::start(redis, Arc::clone(&rates.buckets), rates.clock)?);
        Ok(rates)
    }

    /// As the settings say, counted by this replica alone.
    pub fn alone(limits: &settings::Limits) -> Self {
        let routes = limits.routes.iter();
        Self {
            buckets: Arc::default(),
            shared: None,
            clock: Clock::start(),
            address: Limit::of(limits.address_per_minute),
            tenant: Limit::of(limits.tenant_per_minute),
            user: Limit::of(limits.user_per_minute),
            sign_up: Limit::of(limits.sign_ups_per_minute),
            routes: routes.filter_map(|(route, most)| Some((route.clone(), Limit::of(*most)?))).collect(),
        }
    }

    /// Counts a request of an address, before anything is known of the caller.
    ///
    /// # Errors
    /// 429 when it is one too many.
    pub async fn of_address(&self, address: Option<IpAddr>) -> Result<(), ApiError> {
        match (address, self.address) {
            (Some(address), Some(limit)) => self.check(Subject::Address(counted(address)), limit).await,
            _ => Ok(()),
        }
    }

    /// Counts a request of a caller, of its tenant, and on its route.
    ///
    /// # Errors
    /// 429 when it is one too many.
    pub async fn of_caller(&self, scope: &Scope, route: Option<&MatchedPath>) -> Result<(), ApiError> {
        let (tenant, user) = (scope.tenant.uid, &*scope.caller.user);
        // The narrow ones first: one user must not use up what all of the tenant have.
        if let Some((route, limit)) = self.of_route(route) {
            self.check(Subject::UserRoute(tenant, user, route), limit).await?;
        }
        if let Some(limit) = self.user {
            self.check(Subject::User(tenant, user), limit).await?;
        }
        match scope.tenant.quotas.requests_per_minute.and_then(Limit::of).or(self.tenant) {
            Some(limit) => self.check(Subject::Tenant(tenant), limit).await,
            None => Ok(()),
        }
    }

    /// Counts a sign-up at a tenant, or an e-mail that somebody wants sent.
    ///
    /// # Errors
    /// 429 when it is one too many.
    pub async fn of_sign_up(&self, tenant: Uuid, address: Option<IpAddr>) -> Result<(), ApiError> {
        match (address, self.sign_up) {
            (Some(address), Some(limit)) => {
                self.check(Subject::SignUp(tenant, counted(address)), limit).await
            }
            _ => Ok(()),
        }
    }

    fn of_route<'a>(&self, route: Option<&'a MatchedPath>) -> Option<(&'a str, Limit)> {
        if self.routes.is_empty() {
            return None;
        }
        let route = route?.as_str();
        self.routes.get(route).map(|limit| (route, *limit))
    }

    /// Counts one request of `subject`.
    ///
    /// # Errors
    /// 429 when it is one too many.
    pub async fn check(&self, subject: Subject<'_>, limit: Limit) -> Result<(), ApiError> {
        let id = self.buckets.id(subject);
        for _ in 0..LOOKS {
            let Some(shared) = self.shared.as_ref().filter(|shared| shared.is_there()) else {
                return self.check_alone(subject, limit);
            };
            let now = self.clock.now();
            let ask = || shared.ask(Ask { id, key: subject.key(), limit });
            let (take, wait) = self.buckets.with(id, |bucket| {
                let take = bucket.take(limit, now);
                // Made while the bucket is locked, so that no answer can come in between.
                let wait = match &take {
                    Take::Wait { answered, .. } => Some(Arc::clone(answered).notified_owned()),
                    Take::Go { .. } | Take::Refused { .. } => None,
                };
                (take, wait)
            });
            match take {
                Take::Go { ask: more } => {
                    if more && !ask() {
                        self.buckets.with(id, |bucket| bucket.wake());
                    }
                    return Ok(());
                }
                Take::Refused { nanos } => return Err(refused(subject, limit, nanos)),
                Take::Wait { ask: first, .. } => {
                    if first && !ask() {
                        self.buckets.with(id, |bucket| bucket.wake());
                        return self.check_alone(subject, limit);
                    }
                }
            }
            if let Some(wait) = wait {
                // In time or not, the next look says what there is.
                let _answered = tokio::time::timeout(WAIT_LIMIT, wait).await;
            }
        }
        Err(refused(subject, limit, limit.interval()))
    }

    fn check_alone(&self, subject: Subject<'_>, limit: Limit) -> Result<(), ApiError> {
        let id = self.buckets.id(subject);
        match self.buckets.with(id, |bucket| bucket.take_alone(limit, self.clock.now())) {
            Take::Refused { nanos } => Err(refused(subject, limit, nanos)),
            Take::Go { .. } | Take::Wait { .. } => Ok(()),
        }
    }
}

fn refused(subject: Subject<'_>, limit: Limit, nanos: u64) -> ApiError {
    let whose = match subject {
        Subject::Address(_) => "from this address",
        Subject::Tenant(_) => "of this tenant",
        Subject::User(..) => "of this user",
        Subject::UserRoute(..) | Subject::AddressRoute(..) => "on this route",
        Subject::SignUp(..) => "to make accounts or send e-mails, from this address",
    };
    ApiError::rate_limited(
        format!("too many requests {whose}: {} a minute are allowed", limit.per_minute),
        subject.name(),
        limit.per_minute,
        nanos.div_ceil(1_000_000_000).max(1),
    )
}

/// Counts requests on routes that need no token, by their address and by address and route.
pub async fn per_address(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let address = request.extensions().get::<RequestInfo>().and_then(|info| info.address);
    let route = request.extensions().get::<MatchedPath>();
    let counted_route = address.zip(state.rates.of_route(route));
    let checked = async {
        state.rates.of_address(address).await?;
        match counted_route {
            Some((address, (route, limit))) => {
                state.rates.check(Subject::AddressRoute(counted(address), route), limit).await
            }
            None => Ok(()),
        }
    };
    match checked.await {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}
