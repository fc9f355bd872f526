//! The cluster's refusals as problem documents.

use kube::core::Status;

use crate::error::{ApiError, Code, FieldError};

/// The answer for a request that the Kubernetes API refused. What a caller can mend is passed on in the cluster's words, which
/// are those of the CRD's rules; what only we can mend is not.
pub(super) fn refused(error: kube::Error) -> ApiError {
    let kube::Error::Api(status) = error else {
        return ApiError::unavailable("the Kubernetes API").caused_by(error);
    };
    let message = status.message.clone();
    match status.code {
        400 => ApiError::bad_request(message),
        404 => ApiError::not_found("there is no such tenant"),
        409 => ApiError::new(Code::Conflict, message),
        410 => ApiError::bad_request("the list went stale; begin again without continue"),
        422 => ApiError::new(Code::ValidationFailed, message).with_errors(causes(&status)),
        429 | 500..=599 => ApiError::unavailable("the Kubernetes API").caused_by(kube::Error::Api(status)),
        // The caller was authorized already: what is refused now, our own account lacks.
        _ => ApiError::internal(kube::Error::Api(status)),
    }
}

fn causes(status: &Status) -> Vec<FieldError> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .map(|cause| FieldError { pointer: pointer(&cause.field), message: cause.message.clone() })
        .collect()
}

/// `spec.hosts[0]` as `/spec/hosts/0`.
fn pointer(field: &str) -> String {
    let parts = field.split(['.', '[']).map(|part| part.trim_end_matches(']').trim_matches('"'));
    parts.filter(|part| !part.is_empty() && *part != "<nil>").map(|part| format!("/{part}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16) -> kube::Error {
        kube::Error::Api(Status { code, message: "words".into(), ..Status::default() }.boxed())
    }

    #[test]
    fn what_the_caller_can_mend_is_passed_on() {
        assert_eq!(refused(api(409)).code(), Code::Conflict);
        assert!(refused(api(422)).to_string().contains("words"));
        assert_eq!(refused(api(404)).code(), Code::NotFound);
        assert_eq!(refused(api(503)).code(), Code::Unavailable);
        let ours = refused(api(403));
        assert_eq!(ours.code(), Code::Internal);
        assert!(!ours.to_string().contains("words"));
    }

    #[test]
    fn a_field_path_is_a_json_pointer() {
        assert_eq!(pointer("spec.apps[0].name"), "/spec/apps/0/name");
        assert_eq!(pointer("<nil>"), "");
    }
}
