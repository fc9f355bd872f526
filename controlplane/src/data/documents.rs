//! What can be done with the documents of a type, for one caller.

use serde_json::Value;
use tenantry_crds::{definition::Naming, v1alpha1::Action};

use super::{
    collection::{Dialect, is_too_many},
    id::DocumentId,
    idempotency::Key,
    model::{ColumnModel, Consequences, DocModel},
    permit::{Allowed, Condition, Referred, Rights},
    query::{CursorKey, ListQuery, Purpose},
    refusal::{self, Request},
    render::{self, Member},
    sql::{self, Answer, Author, Conflict, Deletion, NewId, Style, Then, Version, Which, Write},
    validate::{self, Mode, Values},
};
use crate::{
    auth::Scope,
    error::{ApiError, Code, FieldError},
    postgres::{Bound, DatabaseError, Group, Reply, Row, SqlState, TenantDatabase},
    vault::Place,
};

/// What the answer to a write takes at least.
const WRITE_BYTES: usize = 1024;

/// The documents of a type, as one caller may use them.
#[derive(Debug, Clone, Copy)]
pub struct Documents<'a> {
    pub database: &'a TenantDatabase,
    pub cursors: &'a CursorKey,
    pub scope: &'a Scope,
    pub doc: &'a DocModel,
}

/// How new documents are stored.
#[derive(Debug, Clone, Copy)]
pub struct Storing<'a> {
    /// What is yielded of each.
    pub answer: Answer<'a>,
    /// What becomes of those that are there already; without it they are refused.
    pub clash: Option<Clash<'a>>,
    /// Ids that were given; a document without one gets a new id.
    pub ids: &'a [Option<DocumentId>],
    /// Under what the answer is kept.
    pub key: Option<&'a Key>,
}

/// What becomes of a document that is there already.
#[derive(Debug, Clone, Copy)]
pub struct Clash<'a> {
    /// The unique column that says so.
    pub column: &'a str,
    /// Whether it gets the values of the new one.
    pub merge: bool,
}

/// A document as JSON.
#[derive(Debug)]
pub struct Document {
    pub version: String,
    pub json: Vec<u8>,
}

/// What a write came to.
#[derive(Debug)]
pub struct Ran {
    /// The rows that it yielded.
    pub rows: Vec<Row>,
    /// It was carried out before, under the same key.
    pub replayed: bool,
}

impl<'a> Documents<'a> {
    /// What the caller may do.
    pub fn rights(self) -> Rights<'a> {
        Rights::of(self.doc, &self.scope.caller)
    }

    /// The document with this id.
    pub async fn get(self, id: &str, select: Option<&str>) -> Result<Document, ApiError> {
        let visible = self.allowed(Action::Read)?;
        let id = self.id(id)?;
        let Some(select) = select else {
            let rights = self.rights();
            let columns = rights.shown();
            let statement = sql::get(&rights, &id, &columns, &visible);
            let members: Vec<Member<'_>> = self.columns(&columns).map(Member::column).collect();
            return self.one(statement, &members).await;
        };
        let parameters = [("select".to_owned(), select.to_owned())];
        let manner = Dialect::Native.manner(Purpose::Shown);
        let level = ListQuery::parse(self.asked(), manner, &parameters)?.level;
        let style = Style::default();
        self.one(sql::get_members(&level, &id, style), &Member::of(&level, style)).await
    }

    /// The document that `statement` yields: its members, then its version.
    async fn one(self, statement: Bound, members: &[Member<'_>]) -> Result<Document, ApiError> {
        let reply = self.run(Request::Read, Group::read(statement)).await?;
        let row = reply.rows.first().ok_or_else(not_found)?;
        let mut json = Vec::with_capacity(row.len() * 2);
        render::document(&mut json, members, row, false);
        let version = row.text(members.len()).unwrap_or_default().to_owned();
        Ok(Document { version, json })
    }

    /// Stores new documents, all or none.
    pub async fn store(
        self,
        bodies: &[Value],
        pointers: &[String],
        storing: Storing<'_>,
    ) -> Result<Ran, ApiError> {
        let rights = self.rights();
        allowed(&rights, Action::Create)?;
        let merges = matches!(storing.clash, Some(Clash { merge: true, .. }));
        if merges {
            allowed(&rights, Action::Update)?;
        }
        let mut errors = Vec::new();
        let mut documents: Vec<Values> = bodies
            .iter()
            .zip(pointers)
            .map(|(body, at)| {
                let all = |_: usize| true;
                self.referring(validate::document(self.doc, Mode::Create, body, at, &all, &mut errors))
            })
            .collect();
        if !errors.is_empty() {
            return Err(ApiError::invalid(errors));
        }
        documents.iter_mut().try_for_each(|values| self.seal(values))?;
        let mut statements = Vec::with_capacity(documents.len());
        for (n, (values, at)) in documents.iter().zip(pointers).enumerate() {
            let check = self.may_set(&rights, Action::Create, values, at)?;
            let id = match storing.ids.get(n).cloned().flatten() {
                Some(id) => NewId::Given(id),
                None => NewId::of(self.doc, values),
            };
            let merged = self.merged(values);
            let after =
                if merges { self.may_set(&rights, Action::Update, &merged, at)? } else { Condition::Always };
            let before = Allowed::from(Condition::all([after.clone(), rights.standing()]));
            let columns = self.doc.with_written(&merged.given);
            let conflict = storing.clash.map(|Clash { column, merge }| {
                let then = match merge {
                    true => Then::Merge { columns: &columns, before: &before, after: &after },
                    false => Then::Ignore,
                };
                Conflict { column, then }
            });
            let write =
                Write { kept: storing.key.map(|key| key.part(n)), ..self.write(&rights, storing.answer) };
            statements.push(sql::insert(self.doc, &id, values, (&check, conflict), write));
        }
        self.run_once(Request::Store, statements, storing.key).await.map_err(|failed| {
            if failed.met_nothing().is_none() {
                return failed.answer();
            }
            ApiError::forbidden(if merges {
                "your permissions do not cover one of these documents, or what you would make of it"
            } else {
                "you may only create documents that match your permissions"
            })
        })
    }

    /// The same values, with what they refer to: of a document that the caller may not read none can be told that it is there.
    pub(super) fn referring(self, mut values: Values) -> Values {
        let catalog = self.scope.tenant.apps.catalog();
        let referred = Referred::among(self.doc, &values.given, catalog, &self.scope.caller);
        values.referred = referred;
        values
    }

    /// Of `values`, what the body itself sets: defaults are for new documents only. The field that ids are made of stays.
    fn merged(self, values: &Values) -> Values {
        let is_id = |column: usize| {
            let name = self.doc.columns.get(column).map(|column| column.name.as_str());
            matches!(&self.doc.naming, Naming::Field(field) if Some(field.as_str()) == name)
        };
        let given = values.given.iter().copied().filter(|column| !is_id(*column)).collect();
        Values::naming(given)
    }

    /// Changes the documents that match.
    ///
    /// # Errors
    /// What keeps the write from being sent, and what the answer to a caller is when the database refuses it; inside, that there
    /// would be more than `which` says.
    pub async fn update_matching(
        self,
        which: Which<'_>,
        body: &Value,
        answer: Answer<'_>,
        key: Option<&Key>,
    ) -> Result<Result<Ran, DatabaseError>, ApiError> {
        let rights = self.rights();
        allowed(&rights, Action::Update)?;
        let mut errors = Vec::new();
        // Documents with different ids cannot all get the same one.
        let values = validate::document(self.doc, Mode::Patch(""), body, "", &|_| true, &mut errors);
        let mut values = self.referring(values);
        if !errors.is_empty() {
            return Err(ApiError::invalid(errors));
        }
        self.seal(&mut values)?;
        let after = self.may_set(&rights, Action::Update, &values, "")?;
        let before = Allowed::from(Condition::all([after.clone(), rights.standing()]));
        let write = Write { kept: key.map(|key| key.part(0)), ..self.write(&rights, answer) };
        let statement = sql::update(self.doc, which, &values, &Version::Any, (&before, &after), write);
        self.bounded(Request::Store, statement, key).await
    }

    /// Deletes the documents that match; errors are those of [`Self::update_matching`].
    pub async fn delete_matching(
        self,
        which: Which<'_>,
        answer: Answer<'_>,
        key: Option<&Key>,
    ) -> Result<Result<Ran, DatabaseError>, ApiError> {
        let rights = self.rights();
        let allowed = allowed(&rights, Action::Delete)?;
        let write = Write { kept: key.map(|key| key.part(0)), ..self.write(&rights, answer) };
        let consequences = self.consequences();
        let deletion = if self.doc.soft_delete { Deletion::Mark } else { Deletion::Purge(&consequences) };
        let statement = sql::delete(self.doc, which, &Version::Any, &allowed, deletion, write);
        self.bounded(Request::Delete, statement, key).await
    }

    async fn bounded(
        self,
        request: Request,
        statement: Bound,
        key: Option<&Key>,
    ) -> Result<Result<Ran, DatabaseError>, ApiError> {
        match self.run_once(request, vec![statement], key).await {
            Ok(ran) => Ok(Ok(ran)),
            Err(Failed::Database(_, _, error)) if is_too_many(&error) => Ok(Err(error)),
            Err(failed) => Err(failed.answer()),
        }
    }

    /// Changes the document with this id.
    pub async fn update(
        self,
        id: &str,
        whole: bool,
        body: &Value,
        version: &Version,
        key: Option<&Key>,
    ) -> Result<(Document, bool), ApiError> {
        let rights = self.rights();
        allowed(&rights, Action::Update)?;
        let id = self.id(id)?;
        let mode = if whole { Mode::Replace(id.as_str()) } else { Mode::Patch(id.as_str()) };
        let mut errors = Vec::new();
        let may_set = |column| rights.may_set(Action::Update, column);
        let mut values = self.referring(validate::document(self.doc, mode, body, "", &may_set, &mut errors));
        if !errors.is_empty() {
            return Err(ApiError::invalid(errors));
        }
        self.seal(&mut values)?;
        let after = self.may_set(&rights, Action::Update, &values, "")?;
        let before = Allowed::from(Condition::all([after.clone(), rights.standing()]));
        let shown = rights.shown();
        let write =
            Write { kept: key.map(|key| key.part(0)), ..self.write(&rights, Answer::Documents(&shown)) };
        let which = Which::Id(&id);
        let statement = sql::update(self.doc, which, &values, version, (&before, &after), write);
        let ran = self.run_once(Request::Store, vec![statement], key).await.map_err(Failed::answer)?;
        match ran.rows.first() {
            Some(row) => Ok((self.shown(&shown, row), ran.replayed)),
            None => Err(self.why_not(&id, &before, version).await?),
        }
    }

    /// Deletes the document with this id: only marks it where the type asks for that, unless it is to be purged. Whether that was
    /// done before, under the same key.
    pub async fn delete(
        self,
        id: &str,
        version: &Version,
        purge: bool,
        key: Option<&Key>,
    ) -> Result<bool, ApiError> {
        let rights = self.rights();
        let mut allowed = allowed(&rights, Action::Delete)?;
        if purge && self.doc.soft_delete {
            // One that is marked already, too.
            allowed = rights.restorable();
        }
        let id = self.id(id)?;
        let write = Write { kept: key.map(|key| key.part(0)), ..self.write(&rights, Answer::Marks) };
        let consequences = self.consequences();
        let mark = self.doc.soft_delete && !purge;
        let deletion = if mark { Deletion::Mark } else { Deletion::Purge(&consequences) };
        let statement = sql::delete(self.doc, Which::Id(&id), version, &allowed, deletion, write);
        let ran = self.run_once(Request::Delete, vec![statement], key).await.map_err(Failed::answer)?;
        if ran.rows.is_empty() {
            return Err(self.why_not(&id, &allowed, version).await?);
        }
        Ok(ran.replayed)
    }

    /// Brings back a document that was only marked as deleted.
    pub async fn restore(self, id: &str) -> Result<Document, ApiError> {
        if !self.doc.soft_delete {
            return Err(ApiError::not_found("documents of this type are not kept when they are deleted"));
        }
        let rights = self.rights();
        allowed(&rights, Action::Delete)?;
        let id = self.id(id)?;
        let shown = rights.shown();
        let write = self.write(&rights, Answer::Documents(&shown));
        let statement = sql::restore(self.doc, Which::Id(&id), &rights.restorable(), write);
        let reply = self.run(Request::Store, Group::write(vec![statement])).await?;
        let row =
            reply.rows.first().ok_or_else(|| ApiError::not_found("there is no such deleted document"))?;
        Ok(self.shown(&shown, row))
    }

    /// Purges documents whose time has come, `most` at once; how many there were.
    pub async fn expire(self, most: u32) -> Result<usize, ApiError> {
        let Some(ttl) = &self.doc.ttl else { return Ok(0) };
        let rights = self.rights();
        let needed_by = self.scope.tenant.apps.catalog().referrers().of(self.doc);
        let which = Which::Expired { ttl, needed_by, most };
        let consequences = self.consequences();
        let deletion = Deletion::Purge(&consequences);
        let write = self.write(&rights, Answer::Marks);
        let statement = sql::delete(self.doc, which, &Version::Any, &Allowed::All, deletion, write);
        Ok(self.run(Request::Delete, Group::write(vec![statement])).await?.rows.len())
    }

    /// What becomes of others when documents of this type are deleted.
    pub(super) fn consequences(self) -> Consequences<'a> {
        self.scope.tenant.apps.catalog().referrers().consequences(self.doc)
    }

    /// Seals the secrets among `values`.
    pub(super) fn seal(self, values: &mut Values) -> Result<(), ApiError> {
        values.seal(|n, clear| {
            let column = self.doc.columns.get(n);
            let column = column.ok_or_else(|| ApiError::internal("a value for a column that is none"))?;
            Ok(self.scope.tenant.safe()?.seal(&Place::of(self.doc, column), clear)?)
        })
    }

    /// Whether the caller may set what `values` sets: the condition that the document must meet for that.
    pub(super) fn may_set(
        self,
        rights: &Rights<'_>,
        action: Action,
        values: &Values,
        at: &str,
    ) -> Result<Condition<String>, ApiError> {
        let set = values.given.iter().copied().chain(values.results.iter().map(|(column, _)| *column));
        let refused = match rights.writes(action, set) {
            Ok(Condition::Never) => return Err(forbidden(action)),
            Ok(condition) => return Ok(condition),
            Err(refused) => refused,
        };
        let names: Vec<&str> = self.columns(&refused).map(|column| column.name.as_str()).collect();
        let errors = names.iter().map(|name| FieldError {
            pointer: format!("{at}/{name}"),
            message: "you may not set this field".into(),
        });
        Err(ApiError::forbidden(format!("you may not set {}", names.join(", ")))
            .with_errors(errors.collect()))
    }

    /// A plain write: of one document, with an answer that is not kept.
    pub(super) fn write<'w>(&'w self, rights: &'w Rights<'w>, answer: Answer<'w>) -> Write<'w> {
        let author = Author {
            user: &self.scope.caller.user,
            request: &self.scope.request.id,
            client: self.scope.request.client.as_deref(),
            trace: self.scope.request.trace.as_deref(),
            told: self.scope.tenant.auth.webhook().is_some(),
        };
        Write { author, rights, answer, together: false, result: None, kept: None }
    }

    /// A row with the columns `shown`.
    pub(super) fn shown(self, shown: &[usize], row: &Row) -> Document {
        let columns: Vec<&ColumnModel> = self.columns(shown).collect();
        let members: Vec<Member<'_>> = columns.iter().map(|column| Member::column(column)).collect();
        let place = columns.iter().position(|column| column.name == "version");
        let version = place.and_then(|place| row.text(place)).unwrap_or_default().to_owned();
        let mut json = Vec::with_capacity(row.len() * 2);
        render::document(&mut json, &members, row, false);
        Document { version, json }
    }

    /// Why a write met no document. Read after the write, so a document that changes in between may get another reason.
    pub(super) async fn why_not(
        self,
        id: &DocumentId,
        before: &Allowed,
        version: &Version,
    ) -> Result<ApiError, ApiError> {
        let visible = self.rights().allowed(Action::Read);
        if visible == Allowed::Denied {
            return Ok(not_found());
        }
        let statement = sql::look(self.doc, id, &visible, before);
        let reply = self.run(Request::Read, Group::read(statement)).await?;
        let Some(row) = reply.rows.first() else { return Ok(not_found()) };
        if row.text(1) != Some("t") {
            return Ok(ApiError::forbidden("your permissions do not cover this document"));
        }
        let current = row.text(0).unwrap_or_default();
        let admitted = match version {
            Version::Any => true,
            Version::OneOf(versions) => versions.iter().any(|version| version.to_string() == current),
        };
        Ok(if admitted {
            ApiError::forbidden("your permissions do not cover what you would make of this document")
        } else {
            ApiError::new(
                Code::PreconditionFailed,
                format!("the document has changed; it is at version {current}"),
            )
            .hint("read it again, and send its new ETag in If-Match")
        })
    }

    pub(super) fn allowed(self, action: Action) -> Result<Allowed, ApiError> {
        allowed(&self.rights(), action)
    }

    pub(super) fn id(self, text: &str) -> Result<DocumentId, ApiError> {
        DocumentId::parse(self.doc, text).ok_or_else(not_found)
    }

    fn columns(self, places: &[usize]) -> impl Iterator<Item = &'a ColumnModel> {
        places.iter().filter_map(move |place| self.doc.columns.get(*place))
    }

    pub(super) async fn run(self, request: Request, group: Group) -> Result<Reply, ApiError> {
        let group = group.charged_to(&self.scope.request.load);
        let result = self.database.run(&self.scope.tenant, group).await;
        let reply = result.map_err(|error| refusal::answer(self.doc, request, error))?;
        self.scope.request.seen.add_rows(reply.rows.len());
        Ok(reply)
    }

    /// Carries `statements` out together, unless that was done before under the same key.
    pub(super) async fn run_once(
        self,
        request: Request,
        statements: Vec<Bound>,
        key: Option<&Key>,
    ) -> Result<Ran, Failed<'a>> {
        // Nobody writes whose answer could not be told.
        self.scope.request.load.hold(WRITE_BYTES).map_err(Failed::Before)?;
        let claim = key.map(sql::claim_key);
        let claims = usize::from(claim.is_some());
        let group =
            Group::write(claim.into_iter().chain(statements).collect()).charged_to(&self.scope.request.load);
        let failed = |error| Failed::Database(self.doc, request, error);
        match (self.database.run(&self.scope.tenant, group).await, key) {
            (Ok(mut reply), _) => {
                reply.rows.drain(..claims.min(reply.rows.len()));
                self.scope.request.seen.add_rows(reply.rows.len());
                Ok(Ran { rows: reply.rows, replayed: false })
            }
            (Err(DatabaseError::Refused(error)), Some(key)) if error.state == SqlState::KEY_ANSWERED => {
                let rows = self.answered(key).await.map_err(Failed::Before)?;
                Ok(Ran { rows, replayed: true })
            }
            (Err(DatabaseError::Refused(mut error)), _) => {
                error.statement = error.statement.and_then(|n| n.checked_sub(claims));
                Err(failed(DatabaseError::Refused(error)))
            }
            (Err(error), _) => Err(failed(error)),
        }
    }

    /// The rows of the answer that is kept under `key`.
    async fn answered(self, key: &Key) -> Result<Vec<Row>, ApiError> {
        let reply = self.run(Request::Read, Group::read(sql::answers(key.id()))).await?;
        key.check(reply.rows.first().and_then(|row| row.text(0)))?;
        // Once as they are read, once as rows.
        self.scope.request.load.hold(bytes_of(&reply.rows).saturating_mul(2))?;
        let mut rows = Vec::new();
        for part in &reply.rows {
            let kept: Vec<Vec<Option<String>>> =
                serde_json::from_str(part.text(1).unwrap_or_default()).map_err(ApiError::internal)?;
            rows.extend(kept.iter().map(|values| Row::of_texts(values)));
        }
        Ok(rows)
    }
}

/// Why a group was not carried out.
#[derive(Debug)]
pub(super) enum Failed<'a> {
    /// The database refused it.
    Database(&'a DocModel, Request, DatabaseError),
    /// It was not asked.
    Before(ApiError),
}

impl Failed<'_> {
    pub(super) fn answer(self) -> ApiError {
        match self {
            Self::Database(doc, request, error) => refusal::answer(doc, request, error),
            Self::Before(error) => error,
        }
    }

    /// The statement that refused the whole group because it met no document, or would make one that it must not.
    pub(super) fn met_nothing(&self) -> Option<usize> {
        match self {
            Self::Database(_, _, DatabaseError::Refused(error)) if error.state == SqlState::MET_NOTHING => {
                Some(error.statement.unwrap_or_default())
            }
            _ => None,
        }
    }
}

fn allowed(rights: &Rights<'_>, action: Action) -> Result<Allowed, ApiError> {
    match rights.allowed(action) {
        Allowed::Denied => Err(forbidden(action)),
        allowed => Ok(allowed),
    }
}

fn bytes_of(rows: &[Row]) -> usize {
    rows.iter().map(Row::len).sum()
}

fn forbidden(action: Action) -> ApiError {
    let action = format!("{action:?}").to_lowercase();
    ApiError::forbidden(format!("you may not {action} documents of this type"))
}

fn not_found() -> ApiError {
    ApiError::not_found("there is no such document")
}
