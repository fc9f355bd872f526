//! The credentials that a manifest asks for. Pure.

use std::{collections::BTreeSet, time::Duration};

use tenantry_crds::{
    names::AccessName,
    reason::Reason,
    v1alpha1::{AccessBackend, AccessLevel, AccessSpec, RotationSpec},
};

use crate::{backend::postgres::access::RowKey, error::Error};

/// How long the old credentials work after a rotation that only the annotation asked for.
const OVERLAP: Duration = Duration::from_secs(3600);

/// Credentials of one access for one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Which.
    pub key: RowKey,
    /// What they allow.
    pub level: AccessLevel,
    /// Where they are handed out.
    pub secret: SecretName,
    /// The time between two rotations.
    pub every: Option<Duration>,
    /// How long the old ones work after a rotation.
    pub overlap: Duration,
}

/// A Secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for SecretName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// All credentials that `spec.access` asks for.
///
/// # Errors
/// SecretConflict when two of them would be in one Secret.
pub fn credentials(specs: &[AccessSpec]) -> Result<Vec<Credential>, Error> {
    let (mut all, mut secrets) = (Vec::new(), BTreeSet::new());
    for spec in specs {
        let access = AccessName::new(&spec.name)?;
        let backends: BTreeSet<AccessBackend> = spec.backends.iter().copied().collect();
        for backend in backends {
            let credential = credential(spec, access.clone(), backend);
            if !secrets.insert(credential.secret.clone()) {
                let message = format!(
                    "spec.access[{}].secretRef: Secret {} is another access's, too; give each a Secret of its own",
                    spec.name, credential.secret
                );
                return Err(Error::blocked(Reason::SecretConflict, message));
            }
            all.push(credential);
        }
    }
    Ok(all)
}

fn credential(spec: &AccessSpec, access: AccessName, backend: AccessBackend) -> Credential {
    let suffix = match backend {
        AccessBackend::Postgres => "",
        AccessBackend::Redis => "-redis",
        AccessBackend::Search => "-search",
    };
    let seconds = |pick: fn(&RotationSpec) -> u64| spec.rotation.as_ref().map(pick).map(Duration::from_secs);
    Credential {
        key: RowKey { access, backend },
        level: spec.level,
        secret: SecretName {
            namespace: spec.secret_ref.namespace.clone(),
            name: format!("{}{suffix}", spec.secret_ref.name),
        },
        every: seconds(|rotation| rotation.every_seconds),
        overlap: seconds(|rotation| rotation.overlap_seconds).unwrap_or(OVERLAP),
    }
}
