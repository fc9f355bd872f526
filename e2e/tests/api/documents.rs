use reqwest::{Method, header};
use serde_json::{Value, json};
use tenantry_e2e::world::{Answer, World, answer, unique};

async fn conditional(
    world: &World,
    method: Method,
    path: &str,
    token: &str,
    header: (&str, &str),
    body: Value,
) -> Answer {
    let request = tenantry_rig::endpoints::http_client().unwrap().request(method, world.url(path));
    answer(request.bearer_auth(token).header(header.0, header.1).json(&body)).await
}

fn titles(answer: &Answer) -> Vec<&str> {
    answer.body["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_document_is_made_read_changed_and_deleted_with_its_version_as_the_etag() {
    let world = World::new().await;
    let ann = world.user("ann", &["writer"]).await;
    let made =
        world.post(&world.cards("data"), &ann, json!({"title": "one", "price": "12.5", "pin": "1234"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.headers[header::LOCATION].to_str().unwrap().to_owned();
    assert_eq!((&made.body["status"], &made.body["price"]), (&json!("open"), &json!("12.50")));
    assert_eq!((&made.body["version"], &made.body["created_by"]), (&json!(1), &json!("ann")));
    assert!(made.body.get("pin").is_none(), "{made:?}");

    let read = world.get(&path, &ann).await;
    assert_eq!(read.body, made.body);
    let tag = read.headers[header::ETAG].to_str().unwrap().to_owned();
    let unchanged = conditional(&world, Method::GET, &path, &ann, ("if-none-match", &tag), Value::Null).await;
    assert_eq!(unchanged.status, 304);

    let done = json!({"status": "done"});
    let changed = conditional(&world, Method::PATCH, &path, &ann, ("if-match", &tag), done.clone()).await;
    assert_eq!((changed.status, &changed.body["version"]), (200, &json!(2)), "{changed:?}");
    let late = conditional(&world, Method::PATCH, &path, &ann, ("if-match", &tag), done).await;
    late.refused(412, "precondition_failed");
    let replaced = world.send(Method::PUT, &path, &ann, Some(json!({"title": "two"}))).await;
    assert_eq!(
        (&replaced.body["title"], &replaced.body["status"], &replaced.body["price"]),
        (&json!("two"), &json!("open"), &Value::Null)
    );
    assert_eq!(world.send(Method::DELETE, &path, &ann, None).await.status, 204);
    world.get(&path, &ann).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_list_is_filtered_ordered_and_walked_by_its_cursor() {
    let world = World::new().await;
    let ann = world.user("ann", &["writer"]).await;
    let cards: Vec<Value> = (0..25)
        .map(|n| json!({"title": format!("card {n:02}"), "price": n, "status": if n % 2 == 0 { "open" } else { "done" }}))
        .collect();
    assert_eq!(world.post(&world.cards("data"), &ann, json!(cards)).await.status, 201);

    let mut walked = Vec::new();
    let mut after = String::new();
    for _ in 0..5 {
        let path = format!("{}?order=price.desc&limit=6{after}", world.cards("data"));
        let page = world.get(&path, &ann).await;
        walked.extend(titles(&page).into_iter().map(str::to_owned));
        match page.body["next"].as_str() {
            Some(cursor) => after = format!("&after={cursor}"),
            None => break,
        }
    }
    let expected: Vec<String> = (0..25).rev().map(|n| format!("card {n:02}")).collect();
    assert_eq!(walked, expected);

    for (query, expected) in [
        ("status=eq.done&price=gt.20", vec!["card 21", "card 23"]),
        ("price=gte.23&price=lte.24", vec!["card 23", "card 24"]),
        ("title=in.(card 01,card 02)", vec!["card 01", "card 02"]),
        ("title=ilike.*D%2004*", vec!["card 04"]),
        ("price=lt.1&status=neq.done", vec!["card 00"]),
        ("price=is.null", vec![]),
    ] {
        let page = world.get(&format!("{}?order=title&{query}", world.cards("data")), &ann).await;
        assert_eq!((page.status, titles(&page)), (200, expected), "{query}");
    }
}

#[tokio::test]
async fn bad_input_is_refused_with_the_field_and_changes_nothing() {
    let world = World::new().await;
    let ann = world.user("ann", &["writer"]).await;
    for (body, pointers) in [
        (json!({}), vec!["/title"]),
        (json!({"title": 1, "status": "lost", "price": "12.345"}), vec!["/title", "/status", "/price"]),
        (
            json!({"title": "a", "titel": "b", "id": "x", "created_by": "bob"}),
            vec!["/titel", "/id", "/created_by"],
        ),
        (json!({"title": "x".repeat(141), "price": "1e40"}), vec!["/title", "/price"]),
        (json!({"title": "a\0b"}), vec!["/title"]),
        (json!([{"title": "right"}, {"status": "open"}]), vec!["/1/title"]),
        (json!("text"), vec![""]),
    ] {
        let refused = world.post(&world.cards("data"), &ann, body.clone()).await;
        refused.refused(422, "validation_failed");
        let found: Vec<_> = refused.body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["pointer"].as_str().unwrap())
            .collect();
        for pointer in &pointers {
            assert!(found.contains(pointer), "{body}: {found:?}");
        }
        assert_eq!(found.len(), pointers.len(), "{body}: {found:?}");
    }
    for query in [
        "colour=eq.red",
        "status=is.open.or",
        "status=lke.x",
        "price=eq.many",
        "pin=eq.1234",
        "order=pin",
        "select=pin",
        "limit=0",
        "limit=1001",
        "after=abc",
        "order=title.up",
        "status=eq.'%20or%201=1--",
        "title",
        "offset=-1",
    ] {
        let answer = world.get(&format!("{}?{query}", world.cards("data")), &ann).await;
        assert!(answer.status == 400 || answer.body["items"] == json!([]), "{query}: {answer:?}");
        assert!(query.starts_with("status=eq.") || answer.code() == "bad_request", "{query}: {answer:?}");
    }
    for path in ["cards", "card", "nothing"].map(|plural| format!("/api/v1/data/{}/{plural}", unique("x"))) {
        world.get(&path, &ann).await.refused(404, "not_found");
    }
    let kept = world.get(&world.cards("data"), &ann).await;
    assert_eq!(kept.body["items"], json!([]), "nothing of what was refused is there");
}

#[tokio::test]
async fn rights_are_those_of_the_roles_and_of_the_owner() {
    let world = World::new().await;
    let (ann, bob) = (world.user("ann", &["writer"]).await, world.user("bob", &["writer"]).await);
    let (eve, nobody) = (world.user("eve", &["reader"]).await, world.user("nobody", &[]).await);
    let made = world.post(&world.cards("data"), &ann, json!({"title": "ann's"})).await;
    let path = format!("{}/{}", world.cards("data"), made.body["id"].as_str().unwrap());

    assert_eq!(world.get(&path, &ann).await.status, 200);
    assert_eq!(world.get(&path, &eve).await.status, 200, "a reader reads all");
    for other in [&bob, &nobody] {
        world.get(&path, other).await.refused(404, "not_found");
        assert_eq!(world.get(&world.cards("data"), other).await.body["items"], json!([]));
    }
    world.send(Method::PATCH, &path, &eve, Some(json!({"title": "eve's"}))).await.refused(403, "forbidden");
    world.post(&world.cards("data"), &eve, json!({"title": "eve's"})).await.refused(403, "forbidden");
    world.send(Method::DELETE, &path, &bob, None).await.refused(404, "not_found");
    assert_eq!(world.get(&path, &ann).await.body, made.body);
}
