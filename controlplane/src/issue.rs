//! The sub-command `token`.

use tenantry_config::settings;
use tenantry_migrations::registry::{Of, TenantRecord, tenants};

use crate::{
    auth::{
        AppRole, Caller,
        token::{Grant, issue},
    },
    cli::TokenArgs,
    instances::Instances,
    postgres::{DatabaseMetrics, Tuning},
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
    let tenant = find(settings, args.tenant).await?;
    let grant = Grant {
        tenant: tenant.uid,
        user: args.user,
        roles: args.roles,
        claims: Default::default(),
        proof: Default::default(),
        lifetime: args.ttl,
    };
    Ok(issue(&settings.auth, grant)?)
}

/// The tenant, in whichever Postgres instance it is. One that is down matters only when no other has the tenant.
async fn find(settings: &settings::ControlPlane, name: String) -> Result<TenantRecord, StartError> {
    let mut failure = None;
    for cell in Instances::new(settings, Tuning::default(), &DatabaseMetrics::unregistered()?)?.cells {
        let found = tenants(&cell.pool, Of::One(&name)).await;
        cell.pool.close().await;
        match found {
            Ok(found) => {
                if let Some(tenant) = found.into_iter().find(|tenant| tenant.state != "Retained") {
                    return Ok(tenant);
                }
            }
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.map_or(StartError::NoSuchTenant(name), StartError::Database))
}
