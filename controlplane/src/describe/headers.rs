//! The headers of answers that mean something to whoever called.

/// Their names, and what each says. Pages of other origins may read exactly these beside what every page may
/// (`crate::http`), and the OpenAPI document lists them.
pub const ANSWER_HEADERS: &[(&str, &str)] = &[
    ("allow", "the methods that the route has; beside 405"),
    ("content-profile", "the app, on /rest/v1"),
    ("content-range", "which documents of how many a list has"),
    ("etag", "the version of a document, for If-Match and If-None-Match"),
    (
        "idempotency-replayed",
        "true: this is the answer that an earlier request with the same Idempotency-Key got",
    ),
    ("link", "where the next page is, for lists in CSV and lines of JSON"),
    ("location", "the document that was made"),
    ("preference-applied", "which parts of Prefer were followed"),
    ("ratelimit", "what is left of the limit that was met, and when there is more"),
    ("ratelimit-policy", "the limit that was met"),
    ("retry-after", "seconds after which a retry makes sense"),
    ("www-authenticate", "why the credentials are not accepted"),
    ("x-request-id", "the id of the request, as it stands in logs and in the audit journal"),
    ("x-supabase-api-version", "how errors on /auth/v1 are to be read"),
];
