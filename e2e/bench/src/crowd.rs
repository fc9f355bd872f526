//! Users of many tenants, each with documents, and the requests that they send.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tenantry_e2e::Client;
use tenantry_e2e::program::ProgramOptions;
use tenantry_e2e::{Platform, program};
use tenantry_rig::eventually;

use super::Outcome;
use super::fleet::{Fleet, dedicated, names};
use super::load::{Request, write_requests};
use super::tenants::install_crm;

/// Customers of each tenant; every third is active.
pub const DOCUMENTS: usize = 60;
const CUSTOMERS: &str = "/api/v1/data/crm/customers";
/// A tenant is made in a small part of this.
const SLOWEST_PER_TENANT: Duration = Duration::from_millis(300);

/// Someone who sends requests to one tenant.
pub struct User {
    /// The tenant.
    pub tenant: String,
    /// A token with role `sales`.
    pub token: String,
    /// The ids of the customers.
    pub documents: Vec<String>,
}

/// The requests that a user may send.
pub type Ask = fn(&User) -> Vec<Request>;

/// A user for each of `tenants` new tenants with documents.
///
/// # Errors
/// When a tenant is not made or not served.
pub async fn crowd(platform: &Platform<'_>, tenants: usize) -> Outcome<Vec<User>> {
    install_crm(platform).await?;
    let fleet = Fleet::watch(platform.endpoints().kube_client().await?);
    let tenants = names("bench", tenants);
    let limit = Duration::from_secs(60) + SLOWEST_PER_TENANT * u32::try_from(tenants.len())?;
    fleet.create(&tenants, limit).await?;
    users(platform, tenants).await
}

/// The same for tenants with connections of their own, on a platform that has a crowd.
///
/// # Errors
/// When a tenant is not made or not served.
pub async fn dedicated_crowd(platform: &Platform<'_>, tenants: usize) -> Outcome<Vec<User>> {
    let fleet = Fleet::watch(platform.endpoints().kube_client().await?);
    let tenants = names("own", tenants);
    fleet.create_as(&tenants, Duration::from_secs(60), dedicated).await?;
    users(platform, tenants).await
}

async fn users(platform: &Platform<'_>, tenants: Vec<String>) -> Outcome<Vec<User>> {
    stream::iter(tenants.into_iter().map(|tenant| user(platform, tenant))).buffered(4).try_collect().await
}

async fn user(platform: &Platform<'_>, tenant: String) -> Outcome<User> {
    let args = ["--tenant", &tenant, "--user", "bench", "--role", "crm:sales", "--ttl", "4h"];
    let token = program::token(platform.endpoints(), &ProgramOptions::default(), &args).await?;
    let client = Client::new(platform.url()?, &tenant, token.clone())?;
    let customer = |n: usize| {
        let status = if n.is_multiple_of(3) { "active" } else { "lead" };
        json!({"name": format!("Customer {n}"), "email": format!("c{n}@{tenant}.example"), "status": status, "credit": "12.50"})
    };
    let customers: Vec<_> = (0..DOCUMENTS).map(customer).collect();
    // The registry reaches the control plane a moment after the Tenant is Ready.
    let created = eventually("the tenant is served", Duration::from_secs(10), || async {
        client.expect(StatusCode::CREATED, Method::POST, CUSTOMERS, Some(&json!(customers))).await
    })
    .await?;
    let ids = created.as_array().into_iter().flatten().filter_map(|document| document["id"].as_str());
    Ok(User { documents: ids.map(str::to_owned).collect(), tenant, token })
}

/// The requests of all `users`, in a file of `folder` that is named after what they are.
///
/// # Errors
/// When the file cannot be written.
pub fn written(
    folder: &Path,
    name: &str,
    users: &[User],
    of: impl Fn(&User) -> Vec<Request>,
) -> Outcome<PathBuf> {
    let path = folder.join(format!("requests-{name}.tsv"));
    let requests: Vec<Request> = users.iter().flat_map(of).collect();
    write_requests(&path, &requests)?;
    Ok(path)
}

/// A GET of the user.
pub fn get(user: &User, path: String) -> Request {
    Request {
        method: "GET",
        path,
        token: user.token.clone(),
        tenant: user.tenant.clone(),
        body: String::new(),
    }
}

/// A POST of the user.
pub fn post(user: &User, path: &str, body: &serde_json::Value) -> Request {
    Request { method: "POST", body: body.to_string(), ..get(user, path.to_owned()) }
}

/// What is inserted.
pub fn new_customer() -> serde_json::Value {
    json!({"name": "Customer", "status": "active", "credit": "99.50"})
}

/// Each customer by its id.
pub fn by_id(user: &User) -> Vec<Request> {
    user.documents.iter().map(|id| get(user, format!("{CUSTOMERS}/{id}"))).collect()
}

/// The newest 20 that are active.
pub fn list(user: &User) -> Vec<Request> {
    vec![get(user, format!("{CUSTOMERS}?status=eq.active"))]
}

/// A new customer.
pub fn insert(user: &User) -> Vec<Request> {
    vec![post(user, CUSTOMERS, &new_customer())]
}

/// Each customer by its id, from a service that has the paths that one would give it by hand.
pub fn plain_by_id(user: &User) -> Vec<Request> {
    user.documents.iter().map(|id| get(user, format!("/customers/{id}"))).collect()
}

/// The newest 20 that are active, from such a service.
pub fn plain_list(user: &User) -> Vec<Request> {
    vec![get(user, "/customers?status=active".to_owned())]
}

/// A new customer, for such a service.
pub fn plain_insert(user: &User) -> Vec<Request> {
    vec![post(user, "/customers", &new_customer())]
}
