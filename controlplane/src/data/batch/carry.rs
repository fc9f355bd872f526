//! Carries a batch out.

use serde_json::{Value, json};
use tenantry_crds::v1alpha1::Action;

use super::asked::{Asked, Operation, Verb, put_back, reference, references};
use crate::{
    data::{
        documents::{Documents, Failed},
        id::DocumentId,
        idempotency::Key,
        model::DocModel,
        permit::{Allowed, Condition, Rights},
        refusal::{self, Request},
        sql::{self, Answer, Deletion, NewId, Version, Which, Write},
        validate::{self, Mode, Values},
    },
    error::{ApiError, FieldError},
    postgres::{Bound, DatabaseError},
};

/// What came of a batch.
pub(super) struct Done {
    pub body: Vec<u8>,
    pub replayed: bool,
}

/// An operation that was checked.
struct Checked<'a> {
    documents: Documents<'a>,
    rights: Rights<'a>,
    shown: Vec<usize>,
    verb: Verb,
    target: Option<Target>,
    version: Version,
    values: Values,
}

/// Which document.
enum Target {
    Id(DocumentId),
    Result(usize),
}

impl Target {
    fn which(&self) -> Which<'_> {
        match self {
            Self::Id(id) => Which::Id(id),
            Self::Result(operation) => Which::Result(*operation),
        }
    }
}

/// Carries `asked` out; `documents` are those of each operation.
pub(super) async fn out(
    asked: &Asked,
    documents: &[Documents<'_>],
    key: Option<&Key>,
) -> Result<Done, ApiError> {
    let types: Vec<&DocModel> = documents.iter().map(|documents| documents.doc).collect();
    let verbs: Vec<Verb> = asked.operations.iter().map(|operation| operation.op).collect();
    let mut errors = Vec::new();
    let mut checked = Vec::with_capacity(documents.len());
    for (n, (operation, documents)) in asked.operations.iter().zip(documents).enumerate() {
        let before = verbs.get(..n).unwrap_or_default();
        let operation = check(operation, *documents, &types, before, &mut errors);
        checked.extend(operation.map_err(|error| error.within(&at(n)))?);
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid(errors));
    }
    let mut statements = Vec::with_capacity(checked.len());
    for (n, operation) in checked.iter().enumerate() {
        statements.push(operation.statement(n, key).map_err(|error| error.within(&at(n)))?);
    }
    let Some(first) = documents.first() else { return Err(ApiError::internal("a batch of nothing")) };
    let ran = match first.run_once(Request::Store, statements, key).await {
        Ok(ran) => ran,
        Err(failed) => return Err(refused(&checked, failed).await),
    };
    let results = checked.iter().zip(&ran.rows).map(|(operation, row)| {
        let document = operation.documents.shown(&operation.shown, row);
        (operation.verb, document.version, document.json)
    });
    Ok(Done { body: body(results), replayed: ran.replayed })
}

fn at(operation: usize) -> String {
    format!("/operations/{operation}")
}

/// Checks an operation, which comes after those that do what is in `before`; nothing when something is wrong with it, which is among
/// `errors` then.
fn check<'a>(
    operation: &Operation,
    documents: Documents<'a>,
    types: &[&DocModel],
    before: &[Verb],
    errors: &mut Vec<FieldError>,
) -> Result<Option<Checked<'a>>, ApiError> {
    let (doc, rights, n, known) = (documents.doc, documents.rights(), before.len(), errors.len());
    let action = match operation.op {
        Verb::Create => Action::Create,
        Verb::Update | Verb::Replace => Action::Update,
        Verb::Delete => Action::Delete,
    };
    if rights.allowed(action) == Allowed::Denied {
        let name = format!("{action:?}").to_lowercase();
        return Err(ApiError::forbidden(format!("you may not {name} documents of this type")));
    }
    let wrong = |member: &str, message: &str| FieldError {
        pointer: format!("{}/{member}", at(n)),
        message: message.to_owned(),
    };
    let target = match (&operation.id, operation.op) {
        (None, Verb::Create) => None,
        (Some(_), Verb::Create) => {
            errors.push(wrong("id", "is not given to a new document"));
            None
        }
        (None, _) => {
            errors.push(wrong("id", "is required"));
            None
        }
        (Some(id), _) => match (reference(id, &format!("{}/id", at(n)), before), id.as_str()) {
            (Err(error), _) => {
                errors.push(error);
                None
            }
            (Ok(Some(of)), _) if types.get(of).is_some_and(|other| other.table == doc.table) => {
                Some(Target::Result(of))
            }
            (Ok(Some(_)), _) => {
                errors.push(wrong("id", "refers to a document of another type"));
                None
            }
            (Ok(None), Some(id)) => Some(Target::Id(documents.id(id)?)),
            (Ok(None), None) => {
                errors.push(wrong("id", "must be an id as text, or {\"$ref\": \"N.id\"}"));
                None
            }
        },
    };
    let (mut values, mut backs) = (Values::default(), Vec::new());
    match (&operation.body, operation.op) {
        (None, Verb::Delete) => {}
        (Some(_), Verb::Delete) => errors.push(wrong("body", "is not given to a deletion")),
        (None, _) => errors.push(wrong("body", "is required")),
        (Some(body), verb) => {
            let (mut body, pointer) = (body.clone(), format!("{}/body", at(n)));
            backs = references(doc, &mut body, types, (&pointer, before), errors);
            values = self::values(doc, &rights, verb, target.as_ref(), (&body, &pointer), errors);
        }
    }
    if operation.op == Verb::Create && operation.if_match.is_some() {
        errors.push(wrong("ifMatch", "is not for a new document"));
    }
    if errors.len() > known {
        return Ok(None);
    }
    put_back(&mut values, &backs);
    let mut values = documents.referring(values);
    documents.seal(&mut values)?;
    let version = operation.if_match.map_or(Version::Any, |version| Version::OneOf(vec![version]));
    let shown = rights.shown();
    Ok(Some(Checked { documents, rights, shown, verb: operation.op, target, version, values }))
}

fn values(
    doc: &DocModel,
    rights: &Rights<'_>,
    verb: Verb,
    target: Option<&Target>,
    (body, pointer): (&Value, &str),
    errors: &mut Vec<FieldError>,
) -> Values {
    // Of a document that is only known by a reference the id cannot be repeated in a field.
    let id = match target {
        Some(Target::Id(id)) => id.as_str(),
        _ => "",
    };
    let mode = match verb {
        Verb::Create => Mode::Create,
        Verb::Replace => Mode::Replace(id),
        _ => Mode::Patch(id),
    };
    let may_set = |column| verb == Verb::Create || rights.may_set(Action::Update, column);
    validate::document(doc, mode, body, pointer, &may_set, errors)
}

impl Checked<'_> {
    fn statement(&self, n: usize, key: Option<&Key>) -> Result<Bound, ApiError> {
        let doc = self.documents.doc;
        let answer = match self.verb {
            Verb::Delete => Answer::Marks,
            _ => Answer::Documents(&self.shown),
        };
        let write = Write {
            together: true,
            result: (self.verb != Verb::Delete).then_some(n),
            kept: key.map(|key| key.part(n)),
            ..self.documents.write(&self.rights, answer)
        };
        let (Some(target), verb) = (&self.target, self.verb) else {
            let check = self.documents.may_set(&self.rights, Action::Create, &self.values, "/body")?;
            return Ok(sql::insert(doc, &NewId::of(doc, &self.values), &self.values, (&check, None), write));
        };
        if verb == Verb::Delete {
            let allowed = self.rights.allowed(Action::Delete);
            let consequences = self.documents.consequences();
            let deletion = if doc.soft_delete { Deletion::Mark } else { Deletion::Purge(&consequences) };
            return Ok(sql::delete(doc, target.which(), &self.version, &allowed, deletion, write));
        }
        let (before, after) = self.conditions()?;
        Ok(sql::update(doc, target.which(), &self.values, &self.version, (&before, &after), write))
    }

    /// What must hold for the document before and after a change.
    fn conditions(&self) -> Result<(Allowed, Condition<String>), ApiError> {
        let after = self.documents.may_set(&self.rights, Action::Update, &self.values, "/body")?;
        Ok((Allowed::from(Condition::all([after.clone(), self.rights.standing()])), after))
    }

    /// Why it met no document.
    async fn why_not(&self) -> ApiError {
        let before = match self.verb {
            Verb::Create => {
                return ApiError::forbidden("you may only create documents that match your permissions");
            }
            Verb::Delete => Ok(self.rights.allowed(Action::Delete)),
            Verb::Update | Verb::Replace => self.conditions().map(|(before, _)| before),
        };
        match (before, &self.target) {
            (Err(error), _) => error,
            (Ok(before), Some(Target::Id(id))) => {
                self.documents.why_not(id, &before, &self.version).await.unwrap_or_else(|error| error)
            }
            (Ok(_), _) => ApiError::forbidden("your permissions do not cover this document"),
        }
    }
}

/// Which operation the database refused, and why: nothing of the batch was done.
async fn refused(checked: &[Checked<'_>], failed: Failed<'_>) -> ApiError {
    if let Some(n) = failed.met_nothing()
        && let Some(operation) = checked.get(n)
    {
        return operation.why_not().await.within(&at(n));
    }
    match failed {
        Failed::Database(_, _, DatabaseError::Refused(error)) => {
            let n = error.statement.unwrap_or_default().min(checked.len().saturating_sub(1));
            let Some(operation) = checked.get(n) else { return ApiError::internal(error) };
            let request = if operation.verb == Verb::Delete { Request::Delete } else { Request::Store };
            let answer = refusal::answer(operation.documents.doc, request, DatabaseError::Refused(error));
            let body = if operation.verb == Verb::Delete { String::new() } else { "/body".to_owned() };
            answer.within(&format!("{}{body}", at(n)))
        }
        failed => failed.answer(),
    }
}

/// `{"results": [...]}`, each with its status, its version and the document.
fn body(results: impl Iterator<Item = (Verb, String, Vec<u8>)>) -> Vec<u8> {
    let mut body = b"{\"results\":[".to_vec();
    for (n, (verb, version, document)) in results.enumerate() {
        if n > 0 {
            body.push(b',');
        }
        if verb == Verb::Delete {
            body.extend_from_slice(json!({"status": verb.status()}).to_string().as_bytes());
            continue;
        }
        let head = json!({"status": verb.status(), "etag": format!("\"{version}\"")}).to_string();
        body.extend_from_slice(head.trim_end_matches('}').as_bytes());
        body.extend_from_slice(b",\"body\":");
        body.extend_from_slice(&document);
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    body
}
