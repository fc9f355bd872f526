use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::world::{Answer, LIMIT, World, unique};
use tenantry_rig::eventually;

fn path_of(world: &World, rest: &str) -> String {
    format!("/api/v1/jobs/{}/{rest}", world.app)
}

async fn enqueue(world: &World, queue: &str, token: &str, n: u32) -> Answer {
    let job = json!({"type": "test", "id": format!("job-{n}"), "payload": {"n": n}});
    world.post(&path_of(world, queue), token, job).await
}

async fn lease(world: &World, queue: &str, token: &str, max: u32, wait_ms: u32) -> Vec<Value> {
    let path = path_of(world, &format!("{queue}/lease"));
    let answer = world.post(&path, token, json!({"max": max, "wait_ms": wait_ms})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["jobs"].as_array().unwrap().clone()
}

async fn counts(world: &World, queue: &str, token: &str) -> Value {
    world.get(&path_of(world, queue), token).await.body
}

async fn settle(world: &World, queue: &str, verb: &str, token: &str, job: &Value, more: Value) -> Answer {
    let mut body = more;
    body["token"] = job["token"].clone();
    world.post(&path_of(world, &format!("{queue}/{verb}")), token, body).await
}

#[tokio::test]
async fn a_job_goes_from_waiting_to_done() {
    let world = World::new().await;
    let worker = world.user("w", &["worker"]).await;
    let made = enqueue(&world, "steady", &worker, 1).await;
    assert_eq!((made.status, &made.body["id"]), (201, &json!("job-1")), "{made:?}");
    let jobs = lease(&world, "steady", &worker, 10, 5000).await;
    assert_eq!(jobs.len(), 1);
    assert_eq!(
        (&jobs[0]["type"], &jobs[0]["payload"], &jobs[0]["attempt"]),
        (&json!("test"), &json!({"n": 1}), &json!(1))
    );
    assert_eq!(
        counts(&world, "steady", &worker).await,
        json!({"waiting": 0, "leased": 1, "delayed": 0, "dead": 0})
    );
    assert_eq!(settle(&world, "steady", "ack", &worker, &jobs[0], json!({})).await.status, 204);
    settle(&world, "steady", "ack", &worker, &jobs[0], json!({})).await.refused(409, "stale_lease");
    assert_eq!(
        counts(&world, "steady", &worker).await,
        json!({"waiting": 0, "leased": 0, "delayed": 0, "dead": 0})
    );
}

#[tokio::test]
async fn a_lease_that_ran_out_is_given_to_another_and_the_first_holder_is_fenced_off() {
    let world = World::new().await;
    let worker = world.user("w", &["worker"]).await;
    enqueue(&world, "default", &worker, 1).await;
    let first = lease(&world, "default", &worker, 1, 5000).await.remove(0);
    // The lease is one second; the call waits for longer.
    let second = lease(&world, "default", &worker, 1, 10_000).await.remove(0);
    assert_eq!(second["id"], first["id"]);
    assert_eq!(second["attempt"], json!(1), "a lease that ran out is no failed attempt");
    for (verb, more) in [("ack", json!({})), ("nack", json!({})), ("extend", json!({}))] {
        settle(&world, "default", verb, &worker, &first, more).await.refused(409, "stale_lease");
    }
    // The second one has a second, too; when that was not enough, there is a third.
    let mut holder = Some(second);
    eventually("a holder is done with it in time", LIMIT, || {
        let held = holder.take();
        async {
            let held = match held {
                Some(held) => held,
                None => lease(&world, "default", &worker, 1, 5000).await.pop().ok_or("nothing")?,
            };
            match settle(&world, "default", "ack", &worker, &held, json!({})).await.status {
                204 => Ok(()),
                _ => Err("too late"),
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_extended_lease_is_kept() {
    let world = World::new().await;
    let worker = world.user("w", &["worker"]).await;
    enqueue(&world, "steady", &worker, 1).await;
    let job = lease(&world, "steady", &worker, 1, 5000).await.remove(0);
    let until: String = job["leaseUntil"].as_str().unwrap().to_owned();
    let extended = eventually("the lease begins anew", LIMIT, || async {
        let answer = settle(&world, "steady", "extend", &worker, &job, json!({})).await;
        match answer.body["leaseUntil"].as_str() {
            Some(later) if later > until.as_str() => Ok(answer),
            _ => Err(format!("{answer:?}")),
        }
    })
    .await
    .unwrap();
    assert_eq!(extended.status, 200);
    assert!(lease(&world, "steady", &worker, 1, 0).await.is_empty(), "nobody else gets it");
    assert_eq!(settle(&world, "steady", "ack", &worker, &job, json!({})).await.status, 204);
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_and_then_kept_among_the_dead() {
    let world = World::new().await;
    let worker = world.user("w", &["worker"]).await;
    enqueue(&world, "twice", &worker, 1).await;
    let first = lease(&world, "twice", &worker, 1, 5000).await.remove(0);
    let again = json!({"error": "boom", "retry_in_seconds": 0});
    let delayed = settle(&world, "twice", "nack", &worker, &first, again).await;
    assert_eq!((delayed.status, &delayed.body["state"]), (200, &json!("delayed")), "{delayed:?}");
    let second = lease(&world, "twice", &worker, 1, 5000).await.remove(0);
    assert_eq!((&second["id"], &second["attempt"]), (&json!("job-1"), &json!(2)));
    let dead = settle(&world, "twice", "nack", &worker, &second, json!({"error": "boom"})).await;
    assert_eq!(dead.body, json!({"state": "dead"}), "two attempts is what the queue gives");
    assert_eq!(
        counts(&world, "twice", &worker).await,
        json!({"waiting": 0, "leased": 0, "delayed": 0, "dead": 1})
    );
}

#[tokio::test]
async fn a_job_that_crashes_its_workers_ends_among_the_dead() {
    let world = World::new().await;
    let worker = world.user("w", &["worker"]).await;
    enqueue(&world, "default", &worker, 1).await;
    let deliveries = AtomicUsize::new(0);
    eventually("nobody answers for the job", LIMIT, || async {
        deliveries.fetch_add(lease(&world, "default", &worker, 1, 0).await.len(), Ordering::Relaxed);
        match counts(&world, "default", &worker).await["dead"].as_u64() {
            Some(1) => Ok(()),
            _ => Err("not yet"),
        }
    })
    .await
    .unwrap();
    assert_eq!(deliveries.into_inner(), 5);
}

#[tokio::test]
async fn a_full_queue_refuses_and_loses_nothing() {
    let world = World::new().await;
    let worker = world.user("w", &["worker"]).await;
    for n in 1..=2 {
        assert_eq!(enqueue(&world, "small", &worker, n).await.status, 201);
    }
    let full = enqueue(&world, "small", &worker, 3).await;
    full.refused(429, "queue_full");
    assert!(full.headers.contains_key("retry-after"));
    let jobs = lease(&world, "small", &worker, 10, 0).await;
    assert_eq!(jobs.len(), 2);
    enqueue(&world, "small", &worker, 3).await.refused(429, "queue_full");
    assert_eq!(settle(&world, "small", "ack", &worker, &jobs[0], json!({})).await.status, 204);
    assert_eq!(enqueue(&world, "small", &worker, 3).await.status, 201);
}

#[tokio::test]
async fn many_workers_get_each_job_once() {
    let world = World::new().await;
    let worker = world.user("w", &["worker"]).await;
    // More than one script call moves at once.
    const JOBS: u32 = 250;
    for n in 0..JOBS {
        assert_eq!(enqueue(&world, "steady", &worker, n).await.status, 201);
    }
    let takers = (0..8).map(|_| async {
        let mut mine = Vec::new();
        loop {
            let jobs = lease(&world, "steady", &worker, 10, 0).await;
            if jobs.is_empty() {
                return mine;
            }
            for job in jobs {
                assert_eq!(settle(&world, "steady", "ack", &worker, &job, json!({})).await.status, 204);
                mine.push(job["id"].as_str().unwrap().to_owned());
            }
        }
    });
    let taken: Vec<String> = futures::future::join_all(takers).await.into_iter().flatten().collect();
    let ids: HashSet<&String> = taken.iter().collect();
    assert_eq!((taken.len(), ids.len()), (JOBS as usize, JOBS as usize));
}

#[tokio::test]
async fn a_suspended_tenant_keeps_its_jobs_and_gives_out_none() {
    let world = World::new().await;
    let worker = world.user("w", &["worker"]).await;
    let state = async |state: &str| {
        let spec = json!({
            "hosts": [format!("{}.example.com", world.tenant)], "apps": [{"name": world.app}], "state": state,
            "suspendedMessage": "unpaid", "deletionPolicy": "Delete",
        });
        world.apply::<Tenant>("Tenant", &world.tenant, spec).await;
        Instant::now()
    };
    for n in 1..=3 {
        assert_eq!(enqueue(&world, "steady", &worker, n).await.status, 201);
    }
    let held = lease(&world, "steady", &worker, 2, 5000).await;
    let later = json!({"error": "later", "retry_in_seconds": 3600});
    assert_eq!(settle(&world, "steady", "nack", &worker, &held[0], later).await.status, 200);
    let before = counts(&world, "steady", &worker).await;
    assert_eq!(before, json!({"waiting": 1, "leased": 1, "delayed": 1, "dead": 0}));

    // A worker that waits on another queue meanwhile.
    let leases = path_of(&world, "default/lease");
    let waiting = async {
        let answer = world.post(&leases, &worker, json!({"max": 1, "wait_ms": 9000})).await;
        (answer, Instant::now())
    };
    let ((answer, told), suspended) = tokio::join!(waiting, state("Suspended"));
    answer.refused(503, "tenant_suspended");
    assert_eq!(answer.body["detail"], "unpaid");
    let took = told.saturating_duration_since(suspended);
    assert!(took < Duration::from_secs(1), "{took:?}");
    for (path, body) in [
        ("steady/lease", json!({"max": 9, "wait_ms": 0})),
        ("steady", json!({"type": "test"})),
        ("steady/ack", json!({"token": held[1]["token"]})),
    ] {
        world.post(&path_of(&world, path), &worker, body).await.refused(503, "tenant_suspended");
    }

    state("Active").await;
    eventually("the tenant is served again", LIMIT, || async {
        let answer = world.get(&path_of(&world, "steady"), &worker).await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
    assert_eq!(counts(&world, "steady", &worker).await, before);
    assert_eq!(lease(&world, "steady", &worker, 9, 0).await.len(), 1);
    assert_eq!(settle(&world, "steady", "ack", &worker, &held[1], json!({})).await.status, 204);
}

/// Redis, and the stream of the world's default queue.
async fn stream_of(world: &World) -> (redis::aio::MultiplexedConnection, String) {
    let client = redis::Client::open(world.platform.endpoints().redis_url.as_str()).unwrap();
    let redis = client.get_multiplexed_async_connection().await.unwrap();
    let mut database = PgConnection::connect(&world.platform.endpoints().database_url).await.unwrap();
    let key = sqlx::query_scalar(
        "SELECT stream_key FROM tenantry.stream_binding WHERE tenant = $1 AND queue = 'default'",
    )
    .bind(&world.tenant)
    .fetch_one(&mut database)
    .await
    .unwrap();
    (redis, key)
}

#[tokio::test]
async fn a_stream_that_the_operator_removed_is_not_made_again_by_who_waits_on_it() {
    let world = World::new().await;
    let worker = world.user("w", &["worker"]).await;
    let (mut redis, key) = stream_of(&world).await;
    let queue = format!("/api/v1/jobs/{}/default", world.app);
    let lease = format!("{queue}/lease");
    let waiting = world.post(&lease, &worker, json!({"max": 1, "wait_ms": 9000}));
    let removed = async {
        let removed: i64 = redis::cmd("UNLINK").arg(&key).query_async(&mut redis).await.unwrap();
        assert_eq!(removed, 1);
    };
    let (answer, ()) = tokio::join!(waiting, removed);
    answer.refused(503, "unavailable");
    let refused = world.post(&queue, &worker, json!({"type": "t", "payload": {}})).await;
    refused.refused(503, "unavailable");
    let there: i64 = redis::cmd("EXISTS").arg(&key).query_async(&mut redis).await.unwrap();
    assert_eq!(there, 0);

    let again = ["annotate", "tenant", &world.tenant, "tenantry.dev/reconcile-at=now"];
    world.platform.endpoints().kubectl(&again).await.unwrap();
    eventually("the operator has made it again", LIMIT, || async {
        let answer = world.post(&queue, &worker, json!({"type": "t", "payload": {}})).await;
        if answer.status == 201 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn jobs_wait_for_a_group_that_was_lost() {
    let world = World::new().await;
    let worker = world.user("w", &["worker"]).await;
    let (mut redis, key) = stream_of(&world).await;
    let destroyed: i64 =
        redis::cmd("XGROUP").arg("DESTROY").arg(&key).arg("workers").query_async(&mut redis).await.unwrap();
    assert_eq!(destroyed, 1);
    enqueue(&world, "default", &worker, 1).await;
    assert_eq!(lease(&world, "default", &worker, 1, 0).await.len(), 1);
}

#[tokio::test]
async fn jobs_are_for_workers_of_the_app_and_leases_for_their_queue() {
    let world = World::new().await;
    let worker = world.user("w", &["worker"]).await;
    let reader = world.user("eve", &["reader"]).await;
    enqueue(&world, "default", &reader, 1).await.refused(403, "forbidden");
    world.get(&path_of(&world, "default"), &reader).await.refused(403, "forbidden");
    let other_app = world.token_of(&world.tenant, "w", &["zzz:worker"]).await;
    enqueue(&world, "default", &other_app, 1).await.refused(403, "forbidden");
    enqueue(&world, "nothing", &worker, 1).await.refused(404, "not_found");
    let admin = world.user("root", &["admin"]).await;
    assert_eq!(enqueue(&world, "small", &admin, 1).await.status, 201);

    let job = lease(&world, "small", &worker, 1, 0).await.remove(0);
    settle(&world, "default", "ack", &worker, &job, json!({})).await.refused(409, "stale_lease");
    let other = unique("t-");
    world.install(&other).await;
    let stranger = world.token_of(&other, "w", &[&format!("{}:worker", world.app)]).await;
    settle(&world, "small", "ack", &stranger, &job, json!({})).await.refused(409, "stale_lease");
    assert!(lease(&world, "small", &stranger, 1, 0).await.is_empty());
    let forged = json!({"token": "MS0wIDEgMQ.AAAA"});
    world.post(&path_of(&world, "small/ack"), &worker, forged).await.refused(409, "stale_lease");
    assert_eq!(settle(&world, "small", "ack", &worker, &job, json!({})).await.status, 204);
}
