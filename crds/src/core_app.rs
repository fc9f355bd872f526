//! The built-in app `core`: users, keys, settings, webhooks and files as ordinary document types.
//!
//! Every tenant has it, at the version that the operator carries.

use std::sync::LazyLock;

use crate::{
    definition::{AppDefinition, ReferenceTarget},
    names::{AppName, DocTypeName},
    v1alpha1::AppSpec,
};

const TEXT: &str = include_str!("core_app.yaml");

/// A build whose embedded text is wrong cannot do anything: this is a fault of ours that `tests` below rules out.
static CORE: LazyLock<(AppName, AppSpec, DocTypeName)> = LazyLock::new(|| {
    let parsed =
        AppName::new("core").ok().zip(serde_yaml::from_str(TEXT).ok()).zip(DocTypeName::new("file").ok());
    match parsed {
        Some(((name, spec), file)) => (name, spec, file),
        None => unreachable!("the embedded core app is checked by the tests of this module"),
    }
});

/// `core`.
pub fn name() -> AppName {
    CORE.0.clone()
}

/// The definition as a manifest would say it.
pub fn spec() -> &'static AppSpec {
    &CORE.1
}

/// What a field of type File refers to.
pub fn file_target() -> ReferenceTarget {
    ReferenceTarget { app: CORE.0.clone(), doc_type: CORE.2.clone() }
}

/// The compiled definition.
///
/// # Errors
/// Never for a released build; see the tests of this module.
pub fn definition() -> Result<AppDefinition, crate::definition::DefinitionErrors> {
    AppDefinition::compile(&CORE.0, &CORE.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_app_compiles() {
        let core = definition().unwrap();
        let names: Vec<_> = core.doc_types.iter().map(|doc_type| doc_type.name.as_str()).collect();
        assert_eq!(names, ["user", "api_key", "setting", "webhook", "file"]);
    }

    #[test]
    fn no_secret_of_core_is_ever_shown() {
        let core = definition().unwrap();
        for (doc_type, field) in [("user", "password_hash"), ("api_key", "key_hash"), ("webhook", "secret")] {
            let doc_type = core.doc_type(&DocTypeName::new(doc_type).unwrap()).unwrap();
            assert!(doc_type.field(field).unwrap().write_only, "{field}");
        }
    }
}
