//! Apps.

use std::collections::HashSet;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    destructive::Destructive,
    doc_type::DocType,
    error::{DefinitionError, DefinitionErrors},
    field::{FieldKind, ReferenceTarget},
    migration::Migration,
};
use crate::{
    core_app,
    names::{AppName, DocTypeName, PluralName, QueueName, RoleName},
    v1alpha1::{AppSpec, QueueClass, QueueSpec},
};

/// A validated app.
#[derive(Debug, Clone, PartialEq)]
pub struct AppDefinition {
    /// The App's name.
    pub name: AppName,
    /// The version.
    pub version: String,
    /// Apps that this one builds on; `core` is not listed, it is always there.
    pub requires: Vec<Requirement>,
    /// Roles that users can have.
    pub roles: Vec<RoleName>,
    /// Document types.
    pub doc_types: Vec<DocType>,
    /// Job queues.
    pub queues: Vec<Queue>,
    /// Data changes, in the order in which they run.
    pub migrations: Vec<Migration>,
}

/// An app that another one builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The App's name.
    pub app: AppName,
    /// The oldest version that will do.
    pub min_version: Option<String>,
}

/// A job queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// The queue's name.
    pub name: QueueName,
    /// What a job survives.
    pub class: QueueClass,
    /// Attempts before a job goes to the dead letters.
    pub max_attempts: u32,
    /// Seconds that a worker holds a job without a sign of life.
    pub lease_seconds: u32,
    /// Jobs above which new ones are refused.
    pub max_length: u32,
}

impl AppDefinition {
    /// Validates the definition of the app `name`.
    ///
    /// Checks all that one App can tell by itself; whether a reference into another app meets a document type is for
    /// whoever knows that app, see [`Self::references`].
    ///
    /// # Errors
    /// All that is wrong, each with its path in the manifest.
    pub fn compile(name: &AppName, spec: &AppSpec) -> Result<Self, DefinitionErrors> {
        let mut errors = Vec::new();
        let roles: Vec<RoleName> = collect(&spec.roles, &mut errors, |role| {
            RoleName::new(&role.name)
                .map_err(|e| DefinitionError::new(format!("spec.roles[{}]", role.name), e))
        });
        let requires: Vec<Requirement> = collect(&spec.requires, &mut errors, |required| {
            let app = AppName::new(&required.app)
                .map_err(|e| DefinitionError::new(format!("spec.requires[{}]", required.app), e))?;
            Ok(Requirement { app, min_version: required.min_version.clone() })
        });
        let queues: Vec<Queue> = collect(&spec.queues, &mut errors, Queue::compile);
        let mut doc_types: Vec<DocType> = Vec::with_capacity(spec.doc_types.len());
        for doc_type in &spec.doc_types {
            match DocType::compile(name, &roles, doc_type) {
                Ok(compiled) => doc_types.push(compiled),
                Err(wrong) => errors.extend(wrong),
            }
        }
        let migrations = Migration::compile_all(&spec.migrations, &mut errors);
        let definition = Self {
            name: name.clone(),
            version: spec.version.clone(),
            requires,
            roles,
            doc_types,
            queues,
            migrations,
        };
        definition.check_plurals(&mut errors);
        // Types that failed to compile are missing here and would be reported a second time, as targets.
        if errors.is_empty() {
            definition.check_references(&mut errors);
            Destructive::check_all(&spec.allow_destructive, &definition, &mut errors);
        }
        if errors.is_empty() { Ok(definition) } else { Err(DefinitionErrors(errors)) }
    }

    /// The document type with this name.
    pub fn doc_type(&self, name: &DocTypeName) -> Option<&DocType> {
        self.doc_types.iter().find(|doc_type| doc_type.name == *name)
    }

    /// Every reference to a document type, with the path of the field in the manifest.
    pub fn references(&self) -> impl Iterator<Item = (String, ReferenceTarget)> {
        self.doc_types.iter().flat_map(|doc_type| {
            doc_type.fields.iter().filter_map(|field| {
                let path = || format!("spec.docTypes[{}].fields[{}].to", doc_type.name, field.name);
                match &field.kind {
                    FieldKind::Reference(target) => Some((path(), target.clone())),
                    FieldKind::File => Some((path(), core_app::file_target())),
                    _ => None,
                }
            })
        })
    }

    /// The digest of all in `spec` that a published version fixes: what makes tables, rules and queues. Texts for people
    /// and the rollout may change without a new version.
    pub fn digest(spec: &AppSpec) -> String {
        #[derive(Serialize)]
        struct Fixed<'a> {
            requires: &'a [crate::v1alpha1::AppRequirement],
            roles: Vec<&'a str>,
            doc_types: &'a [crate::v1alpha1::DocTypeSpec],
            queues: &'a [QueueSpec],
            schedules: &'a [crate::v1alpha1::ScheduleSpec],
            migrations: &'a [crate::v1alpha1::MigrationSpec],
        }
        let fixed = Fixed {
            requires: &spec.requires,
            roles: spec.roles.iter().map(|role| role.name.as_str()).collect(),
            doc_types: &spec.doc_types,
            queues: &spec.queues,
            schedules: &spec.schedules,
            migrations: &spec.migrations,
        };
        // Structs serialize in the order of their fields and maps here are ordered, so the text is canonical. Plain
        // structs with text keys cannot fail to serialize; an empty text would only make the digest constant.
        let text = serde_json::to_vec(&fixed).unwrap_or_default();
        Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn check_plurals(&self, errors: &mut Vec<DefinitionError>) {
        let mut seen: HashSet<&PluralName> = HashSet::new();
        let mut names: HashSet<&DocTypeName> = HashSet::new();
        for doc_type in &self.doc_types {
            let path = format!("spec.docTypes[{}]", doc_type.name);
            if !names.insert(&doc_type.name) {
                errors.push(DefinitionError::new(&path, "the name is used twice"));
            }
            if !seen.insert(&doc_type.plural) {
                errors.push(DefinitionError::new(
                    &path,
                    format!("plural: {:?} is used twice", doc_type.plural.as_str()),
                ));
            }
        }
    }

    fn check_references(&self, errors: &mut Vec<DefinitionError>) {
        for (path, target) in self.references() {
            let core = core_app::name();
            if target.app == self.name && self.doc_type(&target.doc_type).is_none() {
                errors.push(DefinitionError::new(
                    path,
                    format!("{} has no document type {}", self.name, target.doc_type),
                ));
            } else if target.app != self.name
                && target.app != core
                && !self.requires.iter().any(|r| r.app == target.app)
            {
                errors.push(DefinitionError::new(
                    path,
                    format!("list {} in spec.requires to refer to it", target.app),
                ));
            }
        }
    }
}

impl Queue {
    fn compile(spec: &QueueSpec) -> Result<Self, DefinitionError> {
        let name = QueueName::new(&spec.name)
            .map_err(|e| DefinitionError::new(format!("spec.queues[{}]", spec.name), e))?;
        Ok(Self {
            name,
            class: spec.class,
            max_attempts: spec.max_attempts,
            lease_seconds: spec.lease_seconds,
            max_length: spec.max_length,
        })
    }
}

fn collect<S, T>(
    specs: &[S],
    errors: &mut Vec<DefinitionError>,
    compile: impl Fn(&S) -> Result<T, DefinitionError>,
) -> Vec<T> {
    specs.iter().filter_map(|spec| compile(spec).map_err(|error| errors.push(error)).ok()).collect()
}

impl AsRef<Self> for AppDefinition {
    fn as_ref(&self) -> &Self {
        self
    }
}
