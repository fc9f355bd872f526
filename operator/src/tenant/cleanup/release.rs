//! A deletion that is told not to wait for a backend. Pure.
//!
//! The annotation never makes a backend that answers keep anything: what can be removed is, and only what a backend that does
//! not answer holds is left behind and recorded.

use std::collections::BTreeSet;

use kube::ResourceExt;
use serde_json::Value;
use tenantry_crds::{labels::FORCE_RELEASE_ANNOTATION, reason::Reason, v1alpha1::Tenant};

use crate::error::Error;

/// A backend that may be gone for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// Schema, roles and rows.
    Postgres,
    /// Queues.
    Redis,
    /// Search indexes.
    Search,
}

impl Backend {
    const ALL: [Self; 3] = [Self::Postgres, Self::Redis, Self::Search];

    /// As it stands in the annotation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Search => "search",
        }
    }
}

/// The backends that are not waited for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Release {
    backends: BTreeSet<Backend>,
    /// Who asked for it: the field manager that wrote the annotation.
    pub by: String,
}

impl Release {
    /// What the object asks for.
    ///
    /// # Errors
    /// When the annotation names something else than a backend.
    pub fn of(object: &Tenant) -> Result<Self, Error> {
        let Some(text) = object.annotations().get(FORCE_RELEASE_ANNOTATION) else {
            return Ok(Self::default());
        };
        let backend = |word: &str| {
            Backend::ALL.into_iter().find(|backend| backend.as_str() == word).ok_or_else(|| {
                Error::Invalid(format!(
                    "annotation {FORCE_RELEASE_ANNOTATION}: {word} is none of postgres, redis, search"
                ))
            })
        };
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        Ok(Self { backends: words.map(backend).collect::<Result<_, _>>()?, by: writer(object) })
    }

    /// Whether the deletion goes on without `backend`, which failed with `error`.
    pub fn covers(&self, backend: Backend, error: &Error) -> bool {
        self.backends.contains(&backend) && error.reason() == Reason::BackendUnavailable
    }
}

fn writer(object: &Tenant) -> String {
    let wrote = |fields: &Value| {
        !fields["f:metadata"]["f:annotations"][format!("f:{FORCE_RELEASE_ANNOTATION}")].is_null()
    };
    let managers = object.metadata.managed_fields.iter().flatten();
    managers
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| wrote(&fields.0)))
        .find_map(|entry| entry.manager.clone())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// `error`, with what waits for the backend and the way out.
pub fn stuck(backend: Backend, left: String, error: Error) -> Error {
    if error.reason() == Reason::BackendUnavailable {
        Error::Stuck { backend: backend.as_str(), left, source: Box::new(error) }
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use std::time::Duration;

    use super::*;

    fn tenant(release: &str) -> Tenant {
        serde_json::from_value(json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "spec": {},
            "metadata": {
                "name": "acme", "annotations": {FORCE_RELEASE_ANNOTATION: release},
                "managedFields": [
                    {"manager": "helm", "fieldsV1": {"f:spec": {}}},
                    {"manager": "kubectl-annotate",
                     "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:tenantry.dev/force-release": {}}}}},
                ],
            },
        }))
        .unwrap()
    }

    #[test]
    fn only_a_backend_that_does_not_answer_is_left_behind() {
        let release = Release::of(&tenant("redis, search")).unwrap();
        let silent = Error::Timeout { doing: "removing streams", limit: Duration::from_secs(1) };
        assert!(release.covers(Backend::Redis, &silent) && release.covers(Backend::Search, &silent));
        assert!(!release.covers(Backend::Postgres, &silent));
        assert!(!release.covers(Backend::Redis, &Error::blocked(Reason::NameConflict, "somebody's")));
        assert_eq!(release.by, "kubectl-annotate");
    }

    #[test]
    fn a_word_that_is_no_backend_is_refused() {
        assert!(matches!(Release::of(&tenant("redis,everything")), Err(Error::Invalid(_))));
    }

    #[test]
    fn what_waits_and_the_way_out_are_said() {
        let silent = Error::Timeout { doing: "removing streams", limit: Duration::from_secs(1) };
        let told = stuck(Backend::Redis, "3 keys".to_owned(), silent).to_string();
        assert!(told.contains("3 keys") && told.contains("tenantry.dev/force-release=redis"), "{told}");
    }
}
