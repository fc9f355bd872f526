//! Against a real server, below HTTP.

mod life;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    documents::{Documents, Storing},
    query::CursorKey,
    sql::{Answer, Version},
};
use crate::{
    auth::{Caller, RequestInfo, Scope},
    error::{ApiError, Code},
    fixture::{self, Fixture},
    postgres::{TenantDatabase, Tuning},
    registry::TenantEntry,
};

const SPEC: &str = r##"
version: 1.0.0
roles: [{name: sales}, {name: clerk}, {name: north}]
docTypes:
  - name: customer
    fields:
      - {name: name, type: String, required: true}
      - {name: email, type: Email, unique: true}
      - {name: region, type: String, index: true}
      - {name: credit, type: Decimal, precision: 8, scale: 2}
      - {name: rank, type: Integer}
      - {name: pin, type: Secret}
      - {name: born, type: Date}
      - {name: seen, type: DateTime}
      - {name: vip, type: Boolean, required: true, default: false}
      - {name: tags, type: Json}
      - {name: weight, type: Float}
    permissions:
      - {role: sales, allow: [Read, Create, Update, Delete]}
      - {role: clerk, allow: [Read]}
      - {role: north, allow: [Read, Create, Update], match: {region: north}}
      - {role: owner, allow: [Read, Update]}
  - name: order
    naming: {strategy: Series, pattern: "SO-.###"}
    fields:
      - {name: customer, type: Reference, to: customer, required: true}
      - {name: state, type: Enum, values: [open, done], default: open}
    permissions:
      - {role: sales, allow: [Read, Create, Update, Delete]}
"##;

const MARKS: Storing<'_> = Storing { answer: Answer::Marks, clash: None, ids: &[], key: None };

fn plain(shown: &[usize]) -> Storing<'_> {
    Storing { answer: Answer::Documents(shown), ..MARKS }
}

struct Test {
    fixture: Fixture,
    tenant: Arc<TenantEntry>,
    database: TenantDatabase,
    cursors: CursorKey,
}

/// One caller.
struct User<'a> {
    test: &'a Test,
    scope: Scope,
}

impl Test {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let tenant = fixture.tenant("docs", &[fixture::app("crm", SPEC)]).await;
        let database = fixture.database(Tuning::default());
        Self { fixture, tenant, database, cursors: CursorKey::derive(&"secret".into()) }
    }

    fn user(&self, name: &str, roles: &[&str]) -> User<'_> {
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let request =
            RequestInfo { id: "req-1".into(), client: Some("127.0.0.1".into()), ..RequestInfo::default() };
        let caller = Arc::new(Caller::new(name, &roles));
        User {
            test: self,
            scope: Scope { tenant: Arc::clone(&self.tenant), caller, proof: Default::default(), request },
        }
    }
}

impl User<'_> {
    fn of(&self, plural: &str) -> Documents<'_> {
        let doc = self.scope.tenant.apps.catalog().doc_type("crm", plural).unwrap();
        Documents { database: &self.test.database, cursors: &self.test.cursors, scope: &self.scope, doc }
    }

    async fn create(&self, plural: &str, body: Value) -> Result<Value, ApiError> {
        let documents = self.of(plural);
        let shown = documents.rights().shown();
        let ran = documents.store(&[body], &[String::new()], plain(&shown)).await?;
        Ok(serde_json::from_slice(&documents.shown(&shown, &ran.rows[0]).json).unwrap())
    }

    async fn list(&self, plural: &str, query: &str) -> Result<Value, ApiError> {
        let parameters: Vec<(String, String)> = query
            .split('&')
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Ok(serde_json::from_slice(&self.of(plural).list(&parameters).await?).unwrap())
    }

    async fn names(&self, query: &str) -> Vec<String> {
        let page = self.list("customers", query).await.unwrap();
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn get(&self, plural: &str, id: &str) -> Result<Value, ApiError> {
        Ok(serde_json::from_slice(&self.of(plural).get(id, None).await?.json).unwrap())
    }

    async fn patch(&self, plural: &str, id: &str, body: Value) -> Result<Value, ApiError> {
        let (document, _) = self.of(plural).update(id, false, &body, &Version::Any, None).await?;
        Ok(serde_json::from_slice(&document.json).unwrap())
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, ApiError>) -> Code {
    result.unwrap_err().code()
}

#[tokio::test]
async fn a_document_reads_back_as_it_was_written_in_every_way() {
    let test = Test::new().await;
    let ann = test.user("ann", &["crm:sales"]);
    let body = json!({
        "name": "Ünï \"quoted\" \\ \n\t 😀", "email": "a@b.cd", "region": "north", "credit": "12.50", "rank": -7,
        "pin": "1234", "born": "2000-02-29", "seen": "2026-07-01T02:00:00.123456+02:00", "vip": true,
        "tags": {"a": [1, 2.5, null, "x"]}, "weight": 1.25e10
    });
    let created = ann.create("customers", body).await.unwrap();
    let id = created["id"].as_str().unwrap();
    assert_eq!(ann.get("customers", id).await.unwrap(), created);
    let page = ann.list("customers", "").await.unwrap();
    assert_eq!(page, json!({"items": [created], "next": null}));

    assert_eq!(created["name"], "Ünï \"quoted\" \\ \n\t 😀");
    assert_eq!(created["credit"], "12.50");
    assert_eq!(created["seen"], "2026-07-01T00:00:00.123456Z");
    assert_eq!(created["weight"].as_f64(), Some(1.25e10));
    assert_eq!((&created["version"], &created["created_by"]), (&json!(1), &json!("ann")));
    assert!(created.get("pin").is_none(), "a secret is never shown");

    // The event holds the very document, and the audit who made it.
    let (event, role): (Value, String) = sqlx::query_as(
        "SELECT body, role::text FROM tenantry.outbox WHERE doc_id = $1 AND operation = 'Put'",
    )
    .bind(id)
    .fetch_one(&test.fixture.admin)
    .await
    .unwrap();
    assert_eq!(event, created);
    assert_eq!(role, test.tenant.role.as_str());
    let audit: (String, String, String, i64, Value) = sqlx::query_as(
        "SELECT actor, action, request_id, doc_version, changes FROM tenantry.audit WHERE doc_id = $1",
    )
    .bind(id)
    .fetch_one(&test.fixture.admin)
    .await
    .unwrap();
    assert_eq!(audit, ("ann".into(), "Create".into(), "req-1".into(), 1, created));
}

#[tokio::test]
async fn changes_count_versions_and_leave_their_trace() {
    let test = Test::new().await;
    let ann = test.user("ann", &["crm:sales"]);
    let created = ann.create("customers", json!({"name": "A", "region": "x", "pin": "1"})).await.unwrap();
    let id = created["id"].as_str().unwrap().to_owned();
    let patched = ann.patch("customers", &id, json!({"rank": 5, "pin": "2"})).await.unwrap();
    assert_eq!(
        (&patched["version"], &patched["rank"], &patched["region"]),
        (&json!(2), &json!(5), &json!("x"))
    );
    let customers = ann.of("customers");
    let replaced =
        customers.update(&id, true, &json!({"name": "B"}), &Version::OneOf(vec![2]), None).await.unwrap();
    let replaced: Value = serde_json::from_slice(&replaced.0.json).unwrap();
    assert_eq!(
        (&replaced["region"], &replaced["rank"], &replaced["name"]),
        (&Value::Null, &Value::Null, &json!("B"))
    );
    let stale = customers.update(&id, false, &json!({"name": "C"}), &Version::OneOf(vec![1, 2]), None).await;
    assert_eq!(code(stale), Code::PreconditionFailed);
    assert_eq!(
        code(customers.delete(&id, &Version::OneOf(vec![9]), false, None).await),
        Code::PreconditionFailed
    );
    customers.delete(&id, &Version::OneOf(vec![3]), false, None).await.unwrap();
    assert_eq!(code(customers.delete(&id, &Version::Any, false, None).await), Code::NotFound);
    assert_eq!(code(ann.get("customers", &id).await), Code::NotFound);

    let events: Vec<(String, i64)> =
        sqlx::query_as("SELECT operation, doc_version FROM tenantry.outbox WHERE doc_id = $1 ORDER BY id")
            .bind(&id)
            .fetch_all(&test.fixture.admin)
            .await
            .unwrap();
    let events: Vec<_> = events.iter().map(|(operation, version)| (operation.as_str(), *version)).collect();
    assert_eq!(events, [("Put", 1), ("Put", 2), ("Put", 3), ("Delete", 4)]);
    let changes: Value = sqlx::query_scalar(
        "SELECT changes FROM tenantry.audit WHERE doc_id = $1 AND action = 'Update' ORDER BY id LIMIT 1",
    )
    .bind(&id)
    .fetch_one(&test.fixture.admin)
    .await
    .unwrap();
    assert_eq!(changes, json!({"rank": 5, "pin": "***"}));
    let pin: Option<String> =
        sqlx::query_scalar("SELECT count(*)::text FROM tenantry.outbox WHERE body::text LIKE '%pin%'")
            .fetch_one(&test.fixture.admin)
            .await
            .unwrap();
    assert_eq!(pin.as_deref(), Some("0"));
}

#[tokio::test]
async fn the_audit_has_what_was_stored_whatever_form_it_was_sent_in() {
    let test = Test::new().await;
    let ann = test.user("ann", &["crm:sales"]);
    let created = ann.create("customers", json!({"name": "Wile"})).await.unwrap();
    let id = created["id"].as_str().unwrap();
    let sent = json!({"credit": "7.5", "seen": "2026-07-01T02:00:00.987654321+02:00", "weight": 1.0, "tags": {"b": 1, "a": 2}});
    let changed = ann.patch("customers", id, sent.clone()).await.unwrap();
    assert_eq!(
        (&changed["credit"], &changed["seen"]),
        (&json!("7.50"), &json!("2026-07-01T00:00:00.987654Z"))
    );
    let (changes, event): (Value, Value) = sqlx::query_as(
        "SELECT a.changes, o.body FROM tenantry.audit a JOIN tenantry.outbox o ON o.doc_id = a.doc_id AND o.doc_version = a.doc_version \
         WHERE a.doc_id = $1 AND a.action = 'Update'",
    )
    .bind(id)
    .fetch_one(&test.fixture.admin)
    .await
    .unwrap();
    assert_eq!(changes.as_object().unwrap().len(), sent.as_object().unwrap().len(), "{changes}");
    for (name, value) in changes.as_object().unwrap() {
        assert_eq!([value, value], [&changed[name], &event[name]], "{name}");
    }
}

#[tokio::test]
async fn filters_select_and_orders_order() {
    let test = Test::new().await;
    let ann = test.user("ann", &["crm:sales"]);
    for (name, rank, credit, born) in [
        ("a,1", json!(1), json!("1.10"), json!("2001-01-01")),
        ("b%", json!(2), Value::Null, json!("2002-01-01")),
        ("c", Value::Null, json!("3"), Value::Null),
        ("C_d", json!(2), json!("-4"), json!("2002-01-01")),
    ] {
        let body = json!({"name": name, "rank": rank, "credit": credit, "born": born, "vip": name == "c"});
        ann.create("customers", body).await.unwrap();
    }
    for (query, expected) in [
        ("", &["a,1", "b%", "c", "C_d"][..]),
        ("name=eq.c", &["c"]),
        ("name=neq.c", &["a,1", "b%", "C_d"]),
        ("name=in.(\"a,1\",c)", &["a,1", "c"]),
        ("name=not.in.(\"a,1\",c)", &["b%", "C_d"]),
        ("name=ilike.c*", &["c", "C_d"]),
        ("name=ilike.*\\%", &["b%"]),
        ("rank=gte.2", &["b%", "C_d"]),
        ("rank=gt.1&rank=lt.3&born=lte.2002-01-01", &["b%", "C_d"]),
        ("rank=is.null", &["c"]),
        ("rank=not.is.null", &["a,1", "b%", "C_d"]),
        ("credit=lt.1.105", &["a,1", "C_d"]),
        ("vip=is.true", &["c"]),
        ("vip=eq.false&limit=2", &["a,1", "b%"]),
        ("version=eq.1&created_by=eq.ann&created_at=gt.2020-01-01T00:00:00Z", &["a,1", "b%", "c", "C_d"]),
        ("order=rank.desc,name", &["c", "C_d", "b%", "a,1"]),
        ("order=rank,name.desc", &["a,1", "b%", "C_d", "c"]),
        ("order=id.desc", &["C_d", "c", "b%", "a,1"]),
        ("name=eq.'; DROP TABLE customer; --", &[]),
    ] {
        assert_eq!(ann.names(query).await, expected, "{query}");
    }
    let page = ann.list("customers", "select=name,rank&name=eq.c").await.unwrap();
    assert_eq!(page["items"], json!([{"name": "c", "rank": null}]));
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps_or_repeats_in_any_order() {
    let test = Test::new().await;
    let ann = test.user("ann", &["crm:sales"]);
    let customers = ann.of("customers");
    let bodies: Vec<Value> = (0..50)
        .map(|n| json!({"name": format!("n{}", n % 7), "rank": if n % 3 == 0 { Value::Null } else { json!(n % 5) }}))
        .collect();
    customers.store(&bodies, &vec![String::new(); 50], MARKS).await.unwrap();
    for order in [
        "id",
        "id.desc",
        "rank",
        "rank.desc",
        "name,rank.desc",
        "rank.desc,name.desc",
        "created_at.desc",
        "seen",
    ] {
        let all = ann.list("customers", &format!("order={order}&limit=1000&select=id")).await.unwrap();
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page =
                ann.list("customers", &format!("order={order}&limit=7&select=id{after}")).await.unwrap();
            seen.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(cursor) => after = format!("&after={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), 50, "{order}");
        assert_eq!(&seen, all["items"].as_array().unwrap(), "{order}");
    }
}

#[tokio::test]
async fn a_cursor_continues_only_its_own_list() {
    let test = Test::new().await;
    let ann = test.user("ann", &["crm:sales"]);
    for name in ["a", "b", "c"] {
        ann.create("customers", json!({"name": name})).await.unwrap();
    }
    let page = ann.list("customers", "limit=1&order=name").await.unwrap();
    let cursor = page["next"].as_str().unwrap();
    assert_eq!(ann.names(&format!("order=name&limit=5&after={cursor}")).await, ["b", "c"]);
    for query in [format!("order=name.desc&after={cursor}"), format!("order=name&name=neq.c&after={cursor}")]
    {
        assert_eq!(code(ann.list("customers", &query).await), Code::BadRequest, "{query}");
    }
    let other = test.fixture.tenant("other", &[fixture::app("crm", SPEC)]).await;
    let mut foreign = test.user("ann", &["crm:sales"]);
    foreign.scope.tenant = other;
    assert_eq!(
        code(foreign.list("customers", &format!("order=name&after={cursor}")).await),
        Code::BadRequest
    );
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused_before_the_database() {
    let test = Test::new().await;
    let ann = test.user("ann", &["crm:sales"]);
    for query in [
        "color=eq.red",
        "name=red",
        "rank=eq.x",
        "rank=eq.99999999999",
        "credit=eq.1e5",
        "born=eq.2001-02-30",
        "seen=eq.yesterday",
        "vip=eq.1",
        "id=eq.7",
        "pin=eq.1",
        "order=pin",
        "select=pin",
        "extra=is.null",
        "order=tags",
        "order=name.down",
        "order=name,name",
        "order=color",
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=1&limit=2",
        "after=x",
        "select=",
        "select=name,name",
        "count=exact",
        "or=(a.eq.1)",
        "or=(rank.eq.1",
        "name=sl.[1,2)",
        "select=rank::text",
        "tags->a=eq.x",
        "name->a=eq.1",
        "rank=ilike.1",
        "name=is.true",
        "name=in.a",
        "name=ilike.\\",
        "rank=in.(1,x)",
        "order=name,rank,born,seen,vip",
    ] {
        assert_eq!(code(ann.list("customers", query).await), Code::BadRequest, "{query}");
    }
    let many = vec!["rank=eq.1"; 61].join("&");
    assert_eq!(code(ann.list("customers", &many).await), Code::BadRequest);
}

#[tokio::test]
async fn permissions_hold_for_every_action() {
    let test = Test::new().await;
    let (ann, bob, clerk) =
        (test.user("ann", &["crm:sales"]), test.user("bob", &[]), test.user("cleo", &["crm:clerk"]));
    let (north, admin) = (test.user("nora", &["crm:north"]), test.user("root", &["admin"]));
    let south = ann.create("customers", json!({"name": "S", "region": "south"})).await.unwrap();
    let south = south["id"].as_str().unwrap();
    let up = ann.create("customers", json!({"name": "N", "region": "north"})).await.unwrap();
    let up = up["id"].as_str().unwrap();

    assert_eq!(code(bob.create("customers", json!({"name": "x"})).await), Code::Forbidden);
    assert_eq!(code(bob.get("customers", south).await), Code::NotFound, "not his, so it is not there");
    assert_eq!(code(bob.list("orders", "").await), Code::Forbidden);
    assert!(bob.names("").await.is_empty());
    assert_eq!(clerk.names("order=name").await, ["N", "S"]);
    assert_eq!(code(clerk.patch("customers", south, json!({"rank": 1})).await), Code::Forbidden);
    assert_eq!(code(clerk.of("customers").delete(south, &Version::Any, false, None).await), Code::Forbidden);

    assert_eq!(north.names("").await, ["N"]);
    assert!(north.patch("customers", up, json!({"rank": 1})).await.is_ok());
    assert_eq!(code(north.patch("customers", south, json!({"rank": 1})).await), Code::NotFound);
    assert_eq!(code(north.patch("customers", up, json!({"region": "south"})).await), Code::Forbidden);
    assert!(north.create("customers", json!({"name": "M", "region": "north"})).await.is_ok());
    assert_eq!(code(north.create("customers", json!({"name": "M"})).await), Code::Forbidden);

    // What she may read she may not change unless it is hers: 403 and not 404.
    let own = clerk.patch("customers", up, json!({"rank": 1})).await;
    assert_eq!(code(own), Code::Forbidden);
    assert!(admin.get("customers", south).await.is_ok());
    assert!(admin.of("customers").delete(south, &Version::Any, false, None).await.is_ok());
}

#[tokio::test]
async fn what_the_database_refuses_names_the_field_and_nothing_else() {
    let test = Test::new().await;
    let ann = test.user("ann", &["crm:sales"]);
    let customer = ann.create("customers", json!({"name": "A", "email": "a@b.cd"})).await.unwrap();
    let id = customer["id"].as_str().unwrap();
    let twice = ann.create("customers", json!({"name": "B", "email": "a@b.cd"})).await.unwrap_err();
    assert_eq!(twice.code(), Code::Duplicate);
    assert!(twice.to_string().contains("email") && !twice.to_string().contains("tenant_"), "{twice}");
    let nobody = json!({"customer": "00000000-0000-7000-8000-000000000000"});
    assert_eq!(code(ann.create("orders", nobody).await), Code::ValidationFailed);
    let order = ann.create("orders", json!({"customer": id})).await.unwrap();
    // The order that was refused took its number with it: a series may have gaps.
    assert_eq!((&order["id"], &order["state"]), (&json!("SO-002"), &json!("open")));
    assert_eq!(
        code(ann.of("customers").delete(id, &Version::Any, false, None).await),
        Code::ReferenceConflict
    );
    assert_eq!(ann.get("orders", "SO-002").await.unwrap(), order);
    assert_eq!(code(ann.get("orders", "no\0where").await), Code::NotFound);
    assert_eq!(code(ann.get("customers", "SO-001").await), Code::NotFound);
}

#[tokio::test]
async fn many_documents_are_stored_together_or_not_at_all() {
    let test = Test::new().await;
    let ann = test.user("ann", &["crm:sales"]);
    let customers = ann.of("customers");
    let bodies: Vec<Value> =
        (0..100).map(|n| json!({"name": format!("n{n:02}"), "email": format!("{n}@b.cd")})).collect();
    let pointers: Vec<String> = (0..100).map(|n| format!("/{n}")).collect();
    let reply = customers.store(&bodies, &pointers, MARKS).await.unwrap();
    assert_eq!(reply.rows.len(), 100);
    let half = [json!({"name": "x", "email": "x@b.cd"}), json!({"name": "y", "email": "7@b.cd"})];
    assert_eq!(code(customers.store(&half, &pointers[..2], MARKS).await.map(drop)), Code::Duplicate);
    assert!(ann.names("name=eq.x").await.is_empty());
}

#[tokio::test]
async fn tenants_never_meet_however_their_requests_interleave() {
    let test = Test::new().await;
    let app = fixture::app("crm", SPEC);
    let mut tenants = vec![Arc::clone(&test.tenant)];
    for n in 0..4 {
        tenants.push(test.fixture.tenant(&format!("t{n}"), &[Arc::clone(&app)]).await);
    }
    let work = (0..250).map(|n: usize| {
        let tenant = Arc::clone(&tenants[n % tenants.len()]);
        let mut user = test.user("ann", &["crm:sales"]);
        user.scope.tenant = tenant;
        async move {
            let canary = user.scope.tenant.name.as_str().to_owned();
            // Some of them fail, so that others are sent again.
            let rank = if n.is_multiple_of(11) { json!("wrong") } else { json!(n) };
            drop(user.create("customers", json!({"name": canary, "rank": rank})).await);
            drop(user.create("customers", json!({"name": canary, "email": "same@b.cd"})).await);
            let page = user.list("customers", "limit=1000&select=name").await.unwrap();
            for item in page["items"].as_array().unwrap() {
                assert_eq!(item["name"].as_str(), Some(canary.as_str()));
            }
        }
    });
    futures::future::join_all(work).await;
}
