//! Which trace a request is of, for the collector, for the outbox and for the log.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value},
    trace::v1::{Span, span::SpanKind, status::StatusCode as SpanStatus},
};
use prost::Message;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tenantry_e2e::program::{Program, ProgramOptions};
use tenantry_e2e::world::{Answer, LIMIT, World, answer};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;
use tenantry_rig::process::Signal;
use tokio::net::TcpListener;

const PLAIN: &str = "0af7651916cd43dd8448eb211c80319c";
const KEPT: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const LEFT_OUT: &str = "5bd66ef5095369c7b0d1f8f4bd33716a";
const PARENT: &str = "b7ad6b7169203331";

/// A collector: takes what is exported to it.
struct Collector {
    url: String,
    taken: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    #[allow(clippy::disallowed_methods, reason = "only the test asks here")]
    async fn start() -> Self {
        let taken = Arc::default();
        let router = Router::new().route("/v1/traces", post(Self::take)).with_state(Arc::clone(&taken));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, taken }
    }

    async fn take(
        State(taken): State<Arc<Mutex<Vec<ExportTraceServiceRequest>>>>,
        body: Bytes,
    ) -> StatusCode {
        taken.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
        StatusCode::OK
    }

    /// The spans so far, each with the name of the service that it is of.
    fn spans(&self) -> Vec<(String, Span)> {
        let taken = self.taken.lock().unwrap();
        let resources = taken.iter().flat_map(|request| &request.resource_spans);
        resources
            .flat_map(|of| {
                let service = text(&of.resource.as_ref().unwrap().attributes, "service.name").unwrap();
                let spans = of.scope_spans.iter().flat_map(|scope| scope.spans.clone());
                spans.map(move |span| (service.clone(), span))
            })
            .collect()
    }

    /// The one span of the request with this id.
    fn span_of(&self, request: &str) -> Span {
        let mut spans = self.spans();
        spans.retain(|(_, span)| text(&span.attributes, "tenantry.request.id").as_deref() == Some(request));
        assert_eq!(spans.len(), 1, "{request}: {spans:?}");
        let (service, span) = spans.remove(0);
        assert_eq!(service, "tenantry-controlplane");
        assert_eq!(span.kind(), SpanKind::Server);
        assert!(span.end_time_unix_nano > span.start_time_unix_nano, "{span:?}");
        span
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()?;
    Some(match value {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        other => panic!("{key}: {other:?}"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn options(settings: &[(&str, &str)]) -> ProgramOptions {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ProgramOptions { settings, ..ProgramOptions::default() }
}

async fn create(url: &str, world: &World, token: &str, id: &str, traceparent: &str) -> Answer {
    let request = http_client()
        .unwrap()
        .post(format!("{url}{}", world.cards("data")))
        .bearer_auth(token)
        .header("traceparent", traceparent)
        .header("x-request-id", id)
        .json(&json!({"title": id}));
    let answer = answer(request).await;
    assert_eq!(answer.headers["x-request-id"], id);
    answer
}

/// What the one event of this trace says of it.
async fn of_event(world: &World, trace: &str) -> String {
    let mut admin = PgConnection::connect(&world.platform.endpoints().database_url).await.unwrap();
    sqlx::query_scalar("SELECT traceparent FROM seen_events WHERE traceparent LIKE '00-' || $1 || '-%'")
        .bind(trace)
        .fetch_one(&mut admin)
        .await
        .unwrap()
}

/// The worker takes events out of the outbox at once, so a trigger keeps what they said.
async fn keep_events(world: &World) {
    let mut admin = PgConnection::connect(&world.platform.endpoints().database_url).await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS seen_events (role name, traceparent text);
         CREATE OR REPLACE FUNCTION keep_event() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
           $$ BEGIN INSERT INTO public.seen_events VALUES (NEW.role, NEW.traceparent); RETURN NEW; END $$;
         DROP TRIGGER IF EXISTS keep_event ON tenantry.outbox;
         CREATE TRIGGER keep_event AFTER INSERT ON tenantry.outbox FOR EACH ROW EXECUTE FUNCTION keep_event()",
    )
    .execute(&mut admin)
    .await
    .unwrap();
}

async fn forget_events(world: &World) {
    let mut admin = PgConnection::connect(&world.platform.endpoints().database_url).await.unwrap();
    sqlx::raw_sql(
        "DROP TRIGGER keep_event ON tenantry.outbox; DROP FUNCTION keep_event(); DROP TABLE seen_events",
    )
    .execute(&mut admin)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_trace_goes_on_from_the_caller_to_the_collector_and_the_outbox() {
    let world = World::new().await;
    keep_events(&world).await;
    let user = world.user("ann", &["reader", "writer"]).await;
    // Without a collector, what the caller sent is passed on as it is.
    let plain = format!("00-{PLAIN}-{PARENT}-01");
    let made = create(world.platform.url().unwrap(), &world, &user, "plain-1", &plain).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(of_event(&world, PLAIN).await, plain);

    let collector = Collector::start().await;
    let options =
        options(&[("TENANTRY__TRACING__ENDPOINT", &collector.url), ("TENANTRY__TRACING__RATIO", "0")]);
    let serve = Program::serve(world.platform.endpoints(), &options).await.unwrap();
    let url = serve.http_url().unwrap();
    let made = create(url, &world, &user, "kept-1", &format!("00-{KEPT}-{PARENT}-01")).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = create(url, &world, &user, "left-out-1", &format!("00-{LEFT_OUT}-{PARENT}-00")).await;
    assert_eq!(made.status, 201, "{made:?}");
    let refused = create(url, &world, "nobody", "refused-1", &format!("00-{KEPT}-{PARENT}-01")).await;
    assert_eq!(refused.status, 401, "{refused:?}");
    let alone = create(url, &world, &user, "alone-1", "none").await;
    assert_eq!(alone.status, 201, "{alone:?}");
    let (kept, left_out) = (of_event(&world, KEPT).await, of_event(&world, LEFT_OUT).await);
    forget_events(&world).await;

    // Nothing of what was answered is lost at the end.
    let status = serve.process().stop(Signal::TERM, LIMIT).await.unwrap();
    assert!(status.success(), "{status}");

    let span = collector.span_of("kept-1");
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (KEPT.to_owned(), PARENT.to_owned()));
    assert_eq!(kept, format!("00-{KEPT}-{}-01", hex(&span.span_id)), "the span is the event's parent");
    assert_eq!(span.name, "POST /api/v1/data/{app}/{plural}");
    let says = |key: &str| text(&span.attributes, key).unwrap_or_default();
    assert_eq!(says("http.request.method"), "POST");
    assert_eq!(says("http.route"), "/api/v1/data/{app}/{plural}");
    assert_eq!(says("http.response.status_code"), "201");
    assert_eq!(says("tenantry.tenant"), world.tenant);

    let span = collector.span_of("refused-1");
    assert_eq!(text(&span.attributes, "http.response.status_code").as_deref(), Some("401"));
    assert_eq!(text(&span.attributes, "tenantry.tenant"), None, "nobody's tenant");
    let failed = span.status.is_some_and(|status| status.code() == SpanStatus::Error);
    assert!(!failed, "a refusal is no failure");

    // Whom the caller, or without one the ratio, leaves out is not exported, and whoever is next learns of it.
    assert!(left_out.starts_with(&format!("00-{LEFT_OUT}-")) && left_out.ends_with("-00"), "{left_out}");
    assert!(!left_out.contains(PARENT), "{left_out}");
    assert_eq!(collector.spans().len(), 2, "{:?}", collector.spans());
}

#[tokio::test]
async fn a_collector_that_does_not_answer_costs_neither_requests_nor_the_end() {
    let world = World::new().await;
    let user = world.user("ann", &["reader", "writer"]).await;
    // Connections wait in its backlog, and nobody ever takes them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let options = options(&[("TENANTRY__TRACING__ENDPOINT", &endpoint)]);
    let serve = Program::serve(world.platform.endpoints(), &options).await.unwrap();
    for n in 0..20 {
        let made = create(serve.http_url().unwrap(), &world, &user, &format!("silent-{n}"), "none").await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let status = serve.process().stop(Signal::TERM, LIMIT).await.unwrap();
    assert!(status.success(), "{status}");
    let log = std::fs::read_to_string(serve.process().log()).unwrap();
    assert!(log.contains("the last spans were not exported"), "{log}");
}

#[tokio::test]
async fn the_log_says_who_asked_for_what_and_how_much_it_took() {
    let world = World::new().await;
    let user = world.user("ann", &["reader", "writer"]).await;
    let serve = Program::serve(world.platform.endpoints(), &options(&[("TENANTRY__LOG__FORMAT", "json")]))
        .await
        .unwrap();
    let made = create(serve.http_url().unwrap(), &world, &user, "logged-1", "none").await;
    assert_eq!(made.status, 201, "{made:?}");
    // Lines of requests are written together, a moment later.
    let (line, log) = eventually("the request is logged", LIMIT, async || {
        let log = std::fs::read_to_string(serve.process().log()).unwrap();
        let line = log.lines().find(|line| line.contains("logged-1") && line.contains("\"access\""));
        line.map(str::to_owned).map(|line| (line, log)).ok_or("no such line")
    })
    .await
    .unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["status"], &line["rows"], &line["user"]),
        (&json!(201), &json!(1), &json!("ann")),
        "{line}"
    );
    assert_eq!((&line["tenant"], &line["id"]), (&json!(world.tenant), &json!("logged-1")), "{line}");
    assert_eq!(line["route"], "/api/v1/data/{app}/{plural}");
    assert!(line["duration_us"].as_u64() > Some(0) && !log.contains(&user), "{line}");
}
