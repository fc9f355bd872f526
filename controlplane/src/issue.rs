//! The sub-command `token`.

use tenantry_config::settings;
use tenantry_migrations::registry::{Of, tenants};

use crate::{
    auth::{
        AppRole, Caller,
        token::{Grant, issue},
    },
    cli::TokenArgs,
    database,
    start::StartError,
};

/// An access token for a tenant's user. The tenant's uid comes from the registry.
///
/// # Errors
/// When there is no such tenant, a role cannot be, or there is no key to sign with.
pub async fn token(settings: &settings::ControlPlane, args: TokenArgs) -> Result<String, StartError> {
    if let Some(wrong) =
        args.roles.iter().find(|role| *role != Caller::ADMIN && AppRole::parse(role).is_none())
    {
        return Err(StartError::Role(wrong.clone()));
    }
    let key = database::traffic_key(&settings.database)?;
    let pool = database::pool(&settings.database, &key)?;
    let found = tenants(&pool, Of::One(&args.tenant)).await?;
    pool.close().await;
    let tenant = found
        .into_iter()
        .find(|tenant| tenant.state != "Retained")
        .ok_or(StartError::NoSuchTenant(args.tenant))?;
    let grant = Grant { tenant: tenant.uid, user: args.user, roles: args.roles, lifetime: args.ttl };
    Ok(issue(&settings.auth, grant)?)
}
