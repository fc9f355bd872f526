use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenantry_e2e::program::{ProgramOptions, controlplane};
use tenantry_e2e::world::{LIMIT, World, unique};
use tenantry_rig::{RigError, eventually};

/// `audit verify` of the world's tenant; what it prints, and whether it succeeds.
async fn verify(world: &World) -> Result<String, String> {
    let args = ["audit", "verify", "--tenant", &world.tenant];
    match controlplane(world.platform.endpoints(), &ProgramOptions::default(), &args).await {
        Ok(printed) => Ok(printed),
        Err(RigError::Command { output, .. }) => Err(output),
        Err(other) => panic!("{other}"),
    }
}

async fn sealed(world: &World, rows: i64) -> String {
    eventually("all rows are sealed", LIMIT, || async {
        let printed = verify(world).await?;
        if printed.contains(&format!(": ok, {rows} rows in ")) { Ok(printed) } else { Err(printed) }
    })
    .await
    .unwrap()
}

async fn as_owner_of_the_database(world: &World, sql: &str) {
    let mut admin = PgConnection::connect(&world.platform.endpoints().database_url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut admin).await.unwrap();
}

#[tokio::test]
async fn writes_are_sealed_and_what_somebody_does_to_them_afterwards_is_found() {
    let world = World::new().await;
    let user = world.user("ann", &["reader", "writer"]).await;
    for n in 0..5 {
        let made = world.post(&world.cards("data"), &user, json!({"title": format!("card {n}")})).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    sealed(&world, 5).await;
    let role = format!("tenant_{}", world.tenant.replace('-', "_"));
    let second =
        format!("(SELECT id FROM tenantry.audit WHERE role = '{role}' ORDER BY id OFFSET 1 LIMIT 1)");
    let with = |actor: &str| {
        format!("UPDATE tenantry.audit SET actor = '{actor}' WHERE role = '{role}' AND id = {second}")
    };

    as_owner_of_the_database(&world, &with("eve")).await;
    let found = verify(&world).await.unwrap_err();
    assert!(found.contains("was changed") && found.contains("BROKEN"), "{found}");
    as_owner_of_the_database(&world, &with("ann")).await;
    verify(&world).await.unwrap();

    let smuggled = format!(
        "INSERT INTO tenantry.audit (id, role, actor, action, app, doc_type, doc_id, doc_version, request_id) \
         OVERRIDING SYSTEM VALUE SELECT -1, '{role}', 'eve', 'Create', '{}', 'card', '9', 1, ''",
        world.app
    );
    as_owner_of_the_database(&world, &smuggled).await;
    let found = verify(&world).await.unwrap_err();
    assert!(found.contains("row -1 was inserted"), "{found}");
    as_owner_of_the_database(
        &world,
        &format!("DELETE FROM tenantry.audit WHERE role = '{role}' AND id = -1"),
    )
    .await;
    verify(&world).await.unwrap();

    as_owner_of_the_database(
        &world,
        &format!("DELETE FROM tenantry.audit WHERE role = '{role}' AND id = {second}"),
    )
    .await;
    let found = verify(&world).await.unwrap_err();
    assert!(found.contains("was removed"), "{found}");
    // What is left goes with the tenant, seals included.
    world.delete_tenant(&world.tenant).await;
    let mut admin = PgConnection::connect(&world.platform.endpoints().database_url).await.unwrap();
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM tenantry.audit WHERE role = $1::name) \
              + (SELECT count(*) FROM tenantry.audit_seal WHERE role = $1::name) \
              + (SELECT count(*) FROM tenantry.audit_head WHERE role = $1::name)",
    )
    .bind(&role)
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn administrators_read_their_own_journal_and_nobody_else_does() {
    let world = World::new().await;
    let other = unique("t-");
    world.install(&other).await;
    let user = world.user("ann", &["reader", "writer"]).await;
    let made = world.post(&world.cards("data"), &user, json!({"title": "first", "pin": "hidden-pin"})).await;
    let path = format!("{}/{}", world.cards("data"), made.body["id"].as_str().unwrap());
    for status in ["done", "open"] {
        let changed = world.send(reqwest::Method::PATCH, &path, &user, Some(json!({"status": status}))).await;
        assert_eq!(changed.status, 200, "{changed:?}");
    }
    let admin = world.user("root", &["admin"]).await;
    let page = world.get("/api/v1/audit?limit=2", &admin).await;
    let items = |page: &Value| page["items"].as_array().unwrap().clone();
    assert_eq!((page.status, items(&page.body).len()), (200, 2), "{page:?}");
    let newest = &items(&page.body)[0];
    assert_eq!(newest["action"], "Update");
    assert_eq!((&newest["actor"], &newest["doc_version"]), (&json!("ann"), &json!(3)));
    assert_eq!(newest["changes"], json!({"status": "open"}));
    let next = format!("/api/v1/audit?limit=2&after={}", page.body["next"].as_str().unwrap());
    let rest = world.get(&next, &admin).await;
    assert_eq!((items(&rest.body).len(), &rest.body["next"]), (1, &Value::Null), "{rest:?}");
    assert_eq!(items(&rest.body)[0]["action"], "Create");
    assert!(!rest.body.to_string().contains("hidden-pin"), "{rest:?}");

    let created = world.get("/api/v1/audit?action=Create&actor=ann&since=2020-01-01T00:00:00Z", &admin).await;
    assert_eq!(items(&created.body).len(), 1, "{created:?}");
    let nothing = world.get("/api/v1/audit?until=2020-01-01T00:00:00Z", &admin).await;
    assert_eq!(items(&nothing.body).len(), 0, "{nothing:?}");
    for wrong in ["limit=0", "limit=x", "since=yesterday", "after=x", "color=red", "actor=a&actor=b"] {
        world.get(&format!("/api/v1/audit?{wrong}"), &admin).await.refused(400, "bad_request");
    }
    world.get("/api/v1/audit", &user).await.refused(403, "forbidden");
    world.get("/api/v1/audit", "").await.refused(401, "unauthenticated");
    let stranger = world.token_of(&other, "root", &["admin"]).await;
    let theirs = world.get("/api/v1/audit", &stranger).await;
    assert_eq!(theirs.body, json!({"items": [], "next": null}));
    // A cursor of one tenant opens nothing of another.
    world.get(&next, &stranger).await.refused(400, "bad_request");
}
