//! Spans of requests, exported by OTLP when the settings name a collector: one for each request.
//!
//! The SDK is used as it is and not by way of `tracing`: a layer there would look at every span and event of the program.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
        Tracer, TracerProvider,
    },
};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{self as sdk, BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider},
};
use tenantry_config::settings;

const SERVICE: &str = "tenantry-controlplane";
/// How long a batch may take, with retries.
const EXPORT_LIMIT: Duration = Duration::from_secs(5);
/// How long the last spans may take.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// Spans that wait. More are dropped: a collector that is slow or away must not cost requests or memory.
const QUEUE: usize = 4096;
const BATCH: usize = 512;
/// How long a span waits for a batch to fill.
const DELAY: Duration = Duration::from_secs(2);

/// Exports spans from a thread of its own.
#[derive(Debug)]
pub struct Spans(Option<SdkTracerProvider>);

impl Spans {
    /// Exports nothing unless `settings` name a collector.
    ///
    /// # Errors
    /// When its address cannot be used.
    pub fn new(settings: &settings::Tracing) -> Result<Self, ExporterBuildError> {
        let Some(endpoint) = &settings.endpoint else { return Ok(Self(None)) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(EXPORT_LIMIT)
            .build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        // Whoever called has decided whether the trace is kept; for traces that begin here, the ratio does.
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.ratio)));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_sampler(sampler)
            .with_resource(Resource::builder().with_service_name(SERVICE).build())
            .build();
        Ok(Self(Some(provider)))
    }

    /// Makes the spans of requests, if any are exported.
    pub fn tracer(&self) -> Option<SdkTracer> {
        self.0.as_ref().map(|provider| provider.tracer(SERVICE))
    }

    /// Exports what is left.
    pub async fn flush(self) {
        let Some(provider) = self.0 else { return };
        // It blocks its thread.
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_LIMIT)).await;
        match flushed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans were not exported"),
            Err(error) => tracing::warn!(%error, "the last spans were not exported"),
        }
    }
}

/// The span of a request. One that is dropped, because its client went away, ends without a status.
#[derive(Debug)]
pub(super) struct RequestSpan(sdk::Span);

impl RequestSpan {
    /// Begins beneath the span of the caller. `parent` is a well-formed `traceparent`.
    pub(super) fn start(
        tracer: &SdkTracer,
        parent: Option<&str>,
        method: &'static str,
        route: Option<&str>,
        id: &str,
    ) -> Self {
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("tenantry.request.id", id.to_owned()),
        ];
        attributes.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
        let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
        let builder = tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes);
        let context = match parent.and_then(read) {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        Self(tracer.build_with_context(builder, &context))
    }

    /// What names it to those whom the request's work is handed to.
    pub(super) fn traceparent(&self) -> Arc<str> {
        let own = self.0.span_context();
        format!("00-{}-{}-{:02x}", own.trace_id(), own.span_id(), own.trace_flags().to_u8()).into()
    }

    /// The request was answered.
    pub(super) fn end(mut self, status: StatusCode, tenant: Option<&str>) {
        self.0.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if let Some(tenant) = tenant {
            self.0.set_attribute(KeyValue::new("tenantry.tenant", tenant.to_owned()));
        }
        // A request that was refused is no failure of the server.
        if status.is_server_error() {
            self.0.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            self.0.set_status(Status::error(""));
        }
        self.0.end();
    }
}

fn read(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    Some(SpanContext::new(trace, span, TraceFlags::new(flags), true, TraceState::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

    fn tracer(ratio: f64) -> SdkTracer {
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
        SdkTracerProvider::builder().with_sampler(sampler).build().tracer(SERVICE)
    }

    #[test]
    fn a_span_is_of_its_caller_s_trace_and_keeps_the_caller_s_decision() {
        for (ratio, flags) in [(0.0, "01"), (1.0, "00")] {
            let parent = format!("{PARENT}-{flags}");
            let own = RequestSpan::start(&tracer(ratio), Some(&parent), "GET", None, "1").traceparent();
            assert!(own.starts_with(&PARENT[..36]) && own.ends_with(flags), "{own}");
            assert_ne!(own[36..52], PARENT[36..52], "an id of its own");
        }
    }

    #[test]
    fn without_a_caller_s_decision_the_ratio_decides() {
        for (ratio, flags) in [(0.0, "-00"), (1.0, "-01")] {
            let own = RequestSpan::start(&tracer(ratio), None, "GET", None, "1").traceparent();
            assert!(own.ends_with(flags) && !own.contains(&"0".repeat(16)), "{own}");
        }
    }

    #[test]
    fn without_a_collector_there_is_no_span() {
        assert!(Spans::new(&settings::Tracing::default()).unwrap().tracer().is_none());
        let odd = settings::Tracing { endpoint: Some("not an address".to_owned()), ratio: 1.0 };
        assert!(Spans::new(&odd).is_err());
    }
}
