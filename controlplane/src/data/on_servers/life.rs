//! What becomes of documents, and of writes that are sent again.

use axum::http::HeaderMap;

use super::*;
use crate::{data::idempotency::Key, instances::Home, registry::InstalledApps, vault::Vault};

const LIFE: &str = r##"
version: 1.0.0
roles: [{name: sales}, {name: intern}, {name: agent}]
docTypes:
  - name: account
    trackChanges: true
    allowExtra: true
    fields:
      - {name: name, type: String, required: true, unique: true}
      - {name: parent, type: Reference, to: account, onDelete: Cascade}
      - {name: secret, type: String, writeOnly: true}
      - {name: worth, type: Decimal, precision: 20, scale: 2}
      - {name: due, type: DateTime}
    permissions:
      - {role: sales, allow: [Read, Create, Update, Delete]}
      - {role: intern, allow: [Read, Update], readable: [name], writable: [worth]}
      - role: agent
        allow: [Read, Create, Update]
        where: [{field: worth, op: Lt, value: 100}, {any: [{field: due, op: IsNull}, {field: due, op: Gt, value: '@now'}]}]
  - name: deal
    naming: {strategy: Series, pattern: "D-.###", gapless: true}
    trackChanges: true
    fields:
      - {name: account, type: Reference, to: account, required: true, onDelete: Cascade}
      - {name: backup, type: Reference, to: account, onDelete: SetNull}
      - {name: title, type: String}
    permissions:
      - {role: sales, allow: [Read, Create, Update, Delete]}
      - {role: agent, allow: [Read, Create, Update]}
  - name: bill
    fields: [{name: deal, type: Reference, to: deal}]
    permissions: [{role: sales, allow: [Read, Create, Update, Delete]}]
  - name: note
    softDelete: true
    fields: [{name: text, type: Text}]
    permissions: [{role: sales, allow: [Read, Create, Update, Delete]}]
  - name: post
    ttl: {field: until, seconds: 0}
    fields: [{name: until, type: DateTime}, {name: about, type: Reference, to: post, onDelete: SetNull}]
    permissions: [{role: sales, allow: [Read, Create, Update, Delete]}]
"##;

async fn life() -> Test {
    let fixture = Fixture::new().await;
    let tenant = fixture.tenant("life", &[fixture::app("crm", LIFE)]).await;
    let database = fixture.database(Tuning::default());
    Test { fixture, tenant, database, cursors: CursorKey::derive(&"secret".into()) }
}

impl Test {
    /// The events of a type, in order, as `operation id`.
    async fn events(&self, doc_type: &str) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT operation || ' ' || doc_id FROM tenantry.outbox WHERE doc_type = $1 ORDER BY id",
        )
        .bind(doc_type)
        .fetch_all(&self.fixture.admin)
        .await
        .unwrap()
    }
}

fn id(document: &Value) -> String {
    document["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_deletion_takes_along_what_refers_to_it_and_everybody_hears_of_it() {
    let test = life().await;
    let ann = test.user("ann", &["crm:sales"]);
    let top = id(&ann.create("accounts", json!({"name": "top"})).await.unwrap());
    let sub = id(&ann.create("accounts", json!({"name": "sub", "parent": top})).await.unwrap());
    let other = id(&ann.create("accounts", json!({"name": "other"})).await.unwrap());
    ann.create("deals", json!({"account": sub, "title": "gone"})).await.unwrap();
    ann.create("deals", json!({"account": other, "backup": sub, "title": "kept"})).await.unwrap();
    ann.of("accounts").delete(&top, &Version::Any, false, None).await.unwrap();

    assert_eq!(code(ann.get("accounts", &sub).await), Code::NotFound);
    assert_eq!(code(ann.get("deals", "D-001").await), Code::NotFound);
    let kept = ann.get("deals", "D-002").await.unwrap();
    assert_eq!((&kept["backup"], &kept["version"]), (&Value::Null, &json!(2)));
    let deals = test.events("deal").await;
    assert_eq!(&deals[..2], ["Put D-001", "Put D-002"]);
    let mut later = deals[2..].to_vec();
    later.sort();
    assert_eq!(later, ["Delete D-001", "Put D-002"]);
    let accounts = test.events("account").await;
    assert!(accounts.contains(&format!("Delete {sub}")) && accounts.contains(&format!("Delete {top}")));
    let audited: i64 = sqlx::query_scalar("SELECT count(*) FROM tenantry.audit WHERE action = 'Delete'")
        .fetch_one(&test.fixture.admin)
        .await
        .unwrap();
    assert_eq!(audited, 3);
}

#[tokio::test]
async fn a_reference_to_what_may_not_be_read_is_one_to_nothing() {
    let test = life().await;
    let (ann, agent) = (test.user("ann", &["crm:sales"]), test.user("joe", &["crm:agent"]));
    let hidden = id(&ann.create("accounts", json!({"name": "rich", "worth": 500})).await.unwrap());
    let open = id(&ann.create("accounts", json!({"name": "poor", "worth": 5})).await.unwrap());
    let nothing = "00000000-0000-7000-8000-000000000000";
    assert_eq!(code(agent.get("accounts", &hidden).await), Code::NotFound);
    // The very answer, whatever way it is written.
    let refused = |result: Result<Value, ApiError>| format!("{:?}", result.unwrap_err());
    let made = agent.create("deals", json!({"account": open})).await.unwrap();
    for field in ["account", "backup"] {
        let body = |to: &str| match field {
            "account" => json!({"account": to}),
            _ => json!({"account": open, "backup": to}),
        };
        assert_eq!(
            refused(agent.create("deals", body(&hidden)).await),
            refused(agent.create("deals", body(nothing)).await)
        );
        assert_eq!(
            refused(agent.patch("deals", &id(&made), json!({field: hidden})).await),
            refused(agent.patch("deals", &id(&made), json!({field: nothing})).await)
        );
    }
    // Whoever may read it may refer to it, and what refers already goes on.
    let theirs = id(&ann.create("deals", json!({"account": hidden})).await.unwrap());
    let changed = agent.patch("deals", &theirs, json!({"account": hidden, "title": "x"})).await.unwrap();
    assert_eq!((&changed["account"], &changed["title"]), (&json!(hidden), &json!("x")));
}

#[tokio::test]
async fn what_is_in_the_way_of_a_deletion_is_named() {
    let test = life().await;
    let ann = test.user("ann", &["crm:sales"]);
    let account = id(&ann.create("accounts", json!({"name": "a"})).await.unwrap());
    ann.create("deals", json!({"account": account})).await.unwrap();
    ann.create("bills", json!({"deal": "D-001"})).await.unwrap();
    for (plural, id) in [("deals", "D-001"), ("accounts", account.as_str())] {
        let refused = ann.of(plural).delete(id, &Version::Any, false, None).await.unwrap_err();
        assert_eq!(refused.code(), Code::ReferenceConflict);
        assert!(refused.to_string().contains("crm.bill refer to this one by deal"), "{refused}");
    }
    assert!(ann.get("deals", "D-001").await.is_ok(), "nothing of it happened");
}

#[tokio::test]
async fn a_series_without_gaps_has_none() {
    let test = life().await;
    let ann = test.user("ann", &["crm:sales"]);
    let account = id(&ann.create("accounts", json!({"name": "a"})).await.unwrap());
    for expected in ["D-001", "D-002"] {
        let lost = json!({"account": "00000000-0000-7000-8000-000000000000"});
        assert_eq!(code(ann.create("deals", lost).await), Code::ValidationFailed);
        assert_eq!(ann.create("deals", json!({"account": account})).await.unwrap()["id"], expected);
    }
    let many = vec![json!({"account": account}); 20];
    let made = futures::future::join_all(many.into_iter().map(|body| ann.create("deals", body))).await;
    let mut ids: Vec<String> = made.into_iter().map(|deal| id(&deal.unwrap())).collect();
    ids.sort();
    let expected: Vec<String> = (3..23).map(|n| format!("D-{n:03}")).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn fields_are_hidden_and_kept_as_permissions_say() {
    let test = life().await;
    let (ann, ivy) = (test.user("ann", &["crm:sales"]), test.user("ivy", &["crm:intern"]));
    let made = ann
        .create("accounts", json!({"name": "a", "worth": "5.00", "extra": {"color": "red"}}))
        .await
        .unwrap();
    assert_eq!(made["extra"], json!({"color": "red"}));
    let seen = ivy.get("accounts", &id(&made)).await.unwrap();
    assert_eq!(seen["name"], "a");
    assert!(seen.get("worth").is_none() && seen.get("extra").is_none(), "{seen}");
    for query in
        ["worth=gt.1", "order=worth", "select=worth", "or=(worth.gt.1,name.eq.a)", "extra->>color=eq.red"]
    {
        let refused = ivy.list("accounts", query).await.unwrap_err();
        assert_eq!(refused.code(), Code::BadRequest, "{query}");
    }
    assert!(ann.list("accounts", "worth=gt.1&extra->>color=eq.red").await.unwrap()["items"][0].is_object());
    let changed = ivy.patch("accounts", &id(&made), json!({"worth": "6.00"})).await.unwrap();
    assert!(changed.get("worth").is_none(), "{changed}");
    let refused = ivy.patch("accounts", &id(&made), json!({"name": "b"})).await.unwrap_err();
    assert_eq!(refused.code(), Code::Forbidden);
    assert!(refused.to_string().contains("you may not set name"), "{refused}");
    assert_eq!(ann.get("accounts", &id(&made)).await.unwrap()["worth"], "6.00");
}

#[tokio::test]
async fn rules_hold_before_and_after_a_write() {
    let test = life().await;
    let (ann, bond) = (test.user("ann", &["crm:sales"]), test.user("bond", &["crm:agent"]));
    let (small, big) = (json!({"name": "small", "worth": "99.99"}), json!({"name": "big", "worth": "100"}));
    let made = bond.create("accounts", small).await.unwrap();
    assert_eq!(code(bond.create("accounts", big.clone()).await), Code::Forbidden);
    assert_eq!(
        code(bond.create("accounts", json!({"name": "none"})).await),
        Code::Forbidden,
        "no worth is not less"
    );
    let late = json!({"name": "late", "worth": 1, "due": "2000-01-01T00:00:00Z"});
    assert_eq!(code(bond.create("accounts", late).await), Code::Forbidden);
    assert_eq!(code(bond.patch("accounts", &id(&made), json!({"worth": "100.00"})).await), Code::Forbidden);
    assert!(
        bond.patch("accounts", &id(&made), json!({"worth": "12.5", "due": "2999-01-01T00:00:00Z"}))
            .await
            .is_ok()
    );
    let big = id(&ann.create("accounts", big).await.unwrap());
    assert_eq!(code(bond.patch("accounts", &big, json!({"worth": "1"})).await), Code::NotFound);
    let both = [json!({"name": "x", "worth": 1}), json!({"name": "y", "worth": 1000})];
    let pointers = ["/0".to_owned(), "/1".to_owned()];
    assert_eq!(code(bond.of("accounts").store(&both, &pointers, MARKS).await), Code::Forbidden);
    assert_eq!(ann.list("accounts", "name=eq.x").await.unwrap()["items"], json!([]), "all or none");
}

#[tokio::test]
async fn a_deleted_document_comes_back_until_it_is_purged() {
    let test = life().await;
    let ann = test.user("ann", &["crm:sales"]);
    let note = id(&ann.create("notes", json!({"text": "x"})).await.unwrap());
    let notes = ann.of("notes");
    notes.delete(&note, &Version::Any, false, None).await.unwrap();
    assert_eq!(code(ann.get("notes", &note).await), Code::NotFound);
    assert_eq!(code(ann.patch("notes", &note, json!({"text": "y"})).await), Code::NotFound);
    assert_eq!(ann.list("notes", "").await.unwrap()["items"], json!([]));
    let back: Value = serde_json::from_slice(&notes.restore(&note).await.unwrap().json).unwrap();
    assert_eq!(
        (&back["text"], &back["version"], &back["deleted_at"]),
        (&json!("x"), &json!(3), &Value::Null)
    );
    assert_eq!(code(notes.restore(&note).await), Code::NotFound, "it is not deleted");
    assert_eq!(test.events("note").await, ["Put", "Delete", "Put"].map(|what| format!("{what} {note}")));
    notes.delete(&note, &Version::Any, false, None).await.unwrap();
    notes.delete(&note, &Version::Any, true, None).await.unwrap();
    assert_eq!(code(notes.restore(&note).await), Code::NotFound);
}

#[tokio::test]
async fn documents_go_when_their_time_has_come() {
    let test = life().await;
    let ann = test.user("ann", &["crm:sales"]);
    let old = id(&ann.create("posts", json!({"until": "2000-01-01T00:00:00Z"})).await.unwrap());
    let new = id(&ann.create("posts", json!({"until": "2999-01-01T00:00:00Z", "about": old})).await.unwrap());
    ann.create("posts", json!({})).await.unwrap();
    assert_eq!(code(ann.get("posts", &old).await), Code::NotFound, "readers do not wait for the sweep");
    let worker = test.user("tenantry-worker", &["admin"]);
    assert_eq!(worker.of("posts").expire(10).await.unwrap(), 1);
    assert_eq!(worker.of("posts").expire(10).await.unwrap(), 0);
    assert_eq!(ann.get("posts", &new).await.unwrap()["about"], Value::Null);
    assert!(test.events("post").await.contains(&format!("Delete {old}")));
}

#[tokio::test]
async fn versions_are_kept_with_who_made_them() {
    let test = life().await;
    let ann = test.user("ann", &["crm:sales"]);
    let account = id(&ann.create("accounts", json!({"name": "a", "secret": "s3cret"})).await.unwrap());
    ann.patch("accounts", &account, json!({"name": "b"})).await.unwrap();
    ann.of("accounts").delete(&account, &Version::Any, false, None).await.unwrap();
    let table = format!("\"{}\".\"crm_account-history\"", test.tenant.schema.as_str());
    let kept: Vec<(i64, String, String, Value)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "SELECT doc_version, action, actor, body FROM {table} WHERE doc_id = $1 ORDER BY doc_version"
    )))
    .bind(&account)
    .fetch_all(&test.fixture.admin)
    .await
    .unwrap();
    let told: Vec<_> =
        kept.iter().map(|(n, action, by, body)| (*n, action.as_str(), by.as_str(), &body["name"])).collect();
    let (a, b) = (json!("a"), json!("b"));
    assert_eq!(told, [(1, "Create", "ann", &a), (2, "Update", "ann", &b), (3, "Delete", "ann", &b)]);
    assert!(!kept[0].3.to_string().contains("s3cret"));
}

#[tokio::test]
async fn a_write_that_is_sent_again_happens_once() {
    let test = life().await;
    let (ann, bob) = (test.user("ann", &["crm:sales"]), test.user("bob", &["crm:sales"]));
    let key = |user: &User<'_>, body: &Value| {
        let headers = HeaderMap::from_iter([("idempotency-key".parse().unwrap(), "k-1".parse().unwrap())]);
        Key::of(&headers, &user.scope, "POST accounts", body.to_string().as_bytes()).unwrap().unwrap()
    };
    let body = json!({"name": "once", "worth": "1.50"});
    let accounts = ann.of("accounts");
    let shown = accounts.rights().shown();
    let store = |body: Value, key: Key| {
        let shown = shown.clone();
        async move {
            let storing = Storing { key: Some(&key), ..plain(&shown) };
            let ran = accounts.store(&[body], &[String::new()], storing).await?;
            Ok::<_, ApiError>((accounts.shown(&shown, &ran.rows[0]).json, ran.replayed))
        }
    };
    let first = store(body.clone(), key(&ann, &body)).await.unwrap();
    let again = store(body.clone(), key(&ann, &body)).await.unwrap();
    assert_eq!((&first.0, first.1, again.1), (&again.0, false, true), "the same to the byte");
    let other = json!({"name": "twice"});
    assert_eq!(code(store(other.clone(), key(&ann, &other)).await), Code::IdempotencyMismatch);
    assert_eq!(
        code(store(body.clone(), key(&bob, &body)).await),
        Code::Duplicate,
        "another caller, another key"
    );
    assert_eq!(ann.list("accounts", "").await.unwrap()["items"].as_array().unwrap().len(), 1);
    // With other roles the same user would see another document, and of another version other columns.
    let mut promoted = test.user("ann", &["crm:sales", "crm:clerk"]);
    assert_eq!(code(store(body.clone(), key(&promoted, &body)).await), Code::IdempotencyMismatch);
    promoted = test.user("ann", &["crm:sales"]);
    let mut upgraded = TenantEntry::clone(&test.tenant);
    upgraded.apps = Arc::new(InstalledApps::new([fixture::app(
        "crm",
        &LIFE.replace("version: 1.0.0", "version: 1.1.0"),
    )]));
    promoted.scope.tenant = Arc::new(upgraded);
    assert_eq!(code(store(body.clone(), key(&promoted, &body)).await), Code::IdempotencyMismatch);
    // What was refused is not kept.
    let wrong = json!({"name": "once"});
    let fresh = HeaderMap::from_iter([("idempotency-key".parse().unwrap(), "k-2".parse().unwrap())]);
    let key = Key::of(&fresh, &ann.scope, "POST accounts", b"x").unwrap().unwrap();
    assert_eq!(code(store(wrong, key.clone()).await), Code::Duplicate);
    assert!(store(json!({"name": "free"}), key).await.is_ok());
}

#[tokio::test]
async fn what_an_answer_is_bound_to_cannot_be_guessed_without_the_platforms_key() {
    let test = life().await;
    let headers = HeaderMap::from_iter([("idempotency-key".parse().unwrap(), "k".parse().unwrap())]);
    let body = r#"{"pin":"4711"}"#.as_bytes();
    let asked = |keys: &str| {
        let home = Arc::new(Home::with_vault(Vault::of_keys(keys, None), None));
        let tenant = Arc::new(TenantEntry { home, ..TenantEntry::clone(&test.tenant) });
        let scope = Scope { tenant, ..test.user("ann", &["crm:sales"]).scope };
        Key::of(&headers, &scope, "POST accounts", body).unwrap().unwrap().part(0).asked.to_owned()
    };
    assert_eq!(asked("one key"), asked("one key"));
    assert_ne!(asked("one key"), asked("another key"));
}
