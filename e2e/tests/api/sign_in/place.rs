//! A tenant with users.

use serde_json::{Value, json};
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::world::{Answer, LIMIT, World, answer, unique};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;

pub const PASSWORD: &str = "correct horse battery staple";

/// bcrypt of it, cost 4, made by the C library.
pub const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG";

/// A tenant with users.
pub struct Place {
    pub world: World,
    pub admin: String,
    /// One for all calls: many at the same moment must not each wait for a client to be made.
    http: reqwest::Client,
}

/// A user of a place.
pub struct Person {
    pub id: String,
    pub email: String,
}

impl Place {
    /// A tenant whose `spec.auth` is this.
    pub async fn new(auth: Value) -> Self {
        Self::of(World::new().await, auth).await
    }

    /// The same of a tenant that is there.
    pub async fn of(world: World, auth: Value) -> Self {
        world.apply::<Tenant>("Tenant", &world.tenant, spec(&world, auth)).await;
        world.until_ready(&world.tenant).await;
        let admin = world.user("root", &["admin"]).await;
        Self { world, admin, http: http_client().unwrap() }
    }

    /// Another tenant, which the control plane knows of.
    pub async fn neighbour(&self) -> String {
        let other = unique("t-");
        self.world.install(&other).await;
        eventually("the tenant is served", LIMIT, || async {
            let settings = self.http.get(self.world.url("/auth/v1/settings")).header("x-tenant", &other);
            match answer(settings).await.status {
                200 => Ok(()),
                status => Err(format!("{status}")),
            }
        })
        .await
        .unwrap();
        other
    }

    pub fn role(&self, role: &str) -> String {
        format!("{}:{role}", self.world.app)
    }

    /// A user with these roles and [`PASSWORD`], made by an administrator who knows a hash of it.
    pub async fn person(&self, roles: &[&str]) -> Person {
        self.person_with(roles, Some(BCRYPT)).await
    }

    pub async fn person_with(&self, roles: &[&str], hash: Option<&str>) -> Person {
        let email = format!("{}@acme.example", unique("user."));
        let roles: Vec<String> = roles
            .iter()
            .map(|role| if *role == "admin" { "admin".into() } else { self.role(role) })
            .collect();
        let mut body = json!({"email": email, "roles": roles});
        if let Some(hash) = hash {
            body["password_hash"] = json!(hash);
        }
        let made = self.world.post("/api/v1/data/core/users", &self.admin, body).await;
        assert_eq!(made.status, 201, "{made:?}");
        Person { id: made.body["id"].as_str().unwrap().to_owned(), email }
    }

    /// A request without a token, for this tenant.
    pub async fn call(&self, path: &str, body: Value) -> Answer {
        let request = self.http.post(self.world.url(path));
        answer(request.header("x-tenant", &self.world.tenant).json(&body)).await
    }

    pub async fn try_sign_in(&self, email: &str, password: &str) -> Answer {
        let body = json!({"grant_type": "password", "email": email, "password": password});
        self.call("/api/v1/auth/token", body).await
    }

    pub async fn sign_in(&self, person: &Person) -> Tokens {
        Tokens::of(&self.try_sign_in(&person.email, PASSWORD).await)
    }

    pub async fn try_refresh(&self, token: &str) -> Answer {
        self.call("/api/v1/auth/token", json!({"grant_type": "refresh_token", "refresh_token": token})).await
    }

    /// The tenant's manifest with these members.
    pub async fn apply(&self, members: Value) {
        let mut manifest = spec(&self.world, json!({}));
        manifest.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        self.world.apply::<Tenant>("Tenant", &self.world.tenant, manifest).await;
    }

    /// The uid of its Tenant.
    pub async fn uid(&self) -> String {
        let tenant = self.world.api::<Tenant>().await.get(&self.world.tenant).await.unwrap();
        tenant.metadata.uid.unwrap()
    }

    pub async fn set_auth(&self, auth: Value) {
        self.world.apply::<Tenant>("Tenant", &self.world.tenant, spec(&self.world, auth)).await;
    }

    /// Where cards are, which only readers and their owners see.
    pub fn cards(&self) -> String {
        self.world.cards("data")
    }

    pub async fn cards_status(&self, token: &str) -> u16 {
        self.world.get(&self.cards(), token).await.status
    }
}

fn spec(world: &World, auth: Value) -> Value {
    json!({
        "hosts": [format!("{}.example.com", world.tenant)], "apps": [{"name": world.app}],
        "auth": auth, "deletionPolicy": "Delete"
    })
}

/// What a sign-in was answered with.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

impl Tokens {
    pub fn of(answer: &Answer) -> Self {
        assert!(answer.status == 200 || answer.status == 201, "{answer:?}");
        let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}
