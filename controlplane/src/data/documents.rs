//! What can be done with the documents of a type, for one caller.

use serde_json::Value;
use tenantry_crds::{definition::Naming, v1alpha1::Action};

use super::{
    collection::{Dialect, is_too_many},
    id::DocumentId,
    model::{ColumnModel, DocModel},
    permit::{self, Allowed},
    query::{CursorKey, ListQuery, Purpose},
    refusal::{self, Request},
    render::{self, Member},
    sql::{self, Answer, Author, Conflict, NewId, Style, Then, Version, Which},
    validate::{self, Mode, Values},
};
use crate::{
    auth::Scope,
    error::{ApiError, Code},
    postgres::{Bound, DatabaseError, Group, Reply, Row, TenantDatabase},
};

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

impl Documents<'_> {
    /// The document with this id.
    pub async fn get(self, id: &str, select: Option<&str>) -> Result<Document, ApiError> {
        let visible = self.allowed(Action::Read)?;
        let id = self.id(id)?;
        let Some(select) = select else {
            let columns = self.asked().sight.columns(self.doc);
            let statement = sql::get(self.doc, &id, &columns, &visible);
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
    ) -> Result<Reply, ApiError> {
        let allowed = self.allowed(Action::Create)?;
        let may_change = match storing.clash {
            Some(Clash { merge: true, .. }) => self.allowed(Action::Update)?,
            _ => Allowed::All,
        };
        let mut errors = Vec::new();
        let documents: Vec<Values> = bodies
            .iter()
            .zip(pointers)
            .map(|(body, at)| validate::document(self.doc, Mode::Create, body, at, &mut errors))
            .collect();
        if !errors.is_empty() {
            return Err(ApiError::invalid(errors));
        }
        let mut statements = Vec::with_capacity(documents.len());
        for (n, (body, values)) in bodies.iter().zip(&documents).enumerate() {
            // Of a new document every column is known, so nothing is left for the database to check.
            if self.after(&allowed, values, true) != Allowed::All {
                return Err(ApiError::forbidden("you may only create documents that match your permissions"));
            }
            let id = match storing.ids.get(n).cloned().flatten() {
                Some(id) => NewId::Given(id),
                None => NewId::of(self.doc, values),
            };
            let merged = self.merged(body, values);
            let after = self.after(&may_change, &merged, false);
            if after == Allowed::Denied {
                return Err(ApiError::forbidden("you may only make documents that match your permissions"));
            }
            let columns: Vec<usize> = merged.columns.iter().map(|(column, _)| *column).collect();
            let conflict = storing.clash.map(|Clash { column, merge }| {
                let then = match merge {
                    true => Then::Merge { columns: &columns, allowed: &may_change, after: &after },
                    false => Then::Ignore,
                };
                Conflict { column, then }
            });
            statements.push(sql::insert(self.doc, &id, values, conflict, self.author(), storing.answer));
        }
        match self.send(Group::write(statements)).await {
            Err(error) if is_too_many(&error) => Err(ApiError::forbidden(
                "your permissions do not cover a document that is there already, or what you would make of it",
            )),
            reply => reply.map_err(|error| refusal::answer(self.doc, Request::Store, error)),
        }
    }

    /// Of `values`, what `body` itself sets: defaults are for new documents only. The field that ids are made of stays.
    fn merged(self, body: &Value, values: &Values) -> Values {
        let set = |column: usize| {
            let name = self.doc.columns.get(column).map(|column| column.name.as_str()).unwrap_or_default();
            let is_id = matches!(&self.doc.naming, Naming::Field(field) if field.as_str() == name);
            !is_id && body.get(name).is_some()
        };
        let columns = values.columns.iter().filter(|(column, _)| set(*column)).cloned().collect();
        Values { columns, ..Values::default() }
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
    ) -> Result<Result<Reply, DatabaseError>, ApiError> {
        let allowed = self.allowed(Action::Update)?;
        let mut errors = Vec::new();
        // Documents with different ids cannot all get the same one.
        let values = validate::document(self.doc, Mode::Patch(""), body, "", &mut errors);
        if !errors.is_empty() {
            return Err(ApiError::invalid(errors));
        }
        let after = self.after(&allowed, &values, false);
        if after == Allowed::Denied {
            return Err(ApiError::forbidden("you may only make documents that match your permissions"));
        }
        let (doc, any) = (self.doc, Version::Any);
        let statement = sql::update(doc, which, &values, &any, &allowed, &after, self.author(), answer);
        self.bounded(Request::Store, statement).await
    }

    /// Deletes the documents that match; errors are those of [`Self::update_matching`].
    pub async fn delete_matching(
        self,
        which: Which<'_>,
        answer: Answer<'_>,
    ) -> Result<Result<Reply, DatabaseError>, ApiError> {
        let allowed = self.allowed(Action::Delete)?;
        let statement = sql::delete(self.doc, which, &Version::Any, &allowed, self.author(), answer);
        self.bounded(Request::Delete, statement).await
    }

    async fn bounded(
        self,
        request: Request,
        statement: Bound,
    ) -> Result<Result<Reply, DatabaseError>, ApiError> {
        match self.send(Group::write(vec![statement])).await {
            Err(error) if is_too_many(&error) => Ok(Err(error)),
            reply => reply.map(Ok).map_err(|error| refusal::answer(self.doc, request, error)),
        }
    }

    /// Changes the document with this id.
    pub async fn update(
        self,
        id: &str,
        whole: bool,
        body: &Value,
        version: &Version,
    ) -> Result<Document, ApiError> {
        let allowed = self.allowed(Action::Update)?;
        let id = self.id(id)?;
        let mode = if whole { Mode::Replace(id.as_str()) } else { Mode::Patch(id.as_str()) };
        let mut errors = Vec::new();
        let values = validate::document(self.doc, mode, body, "", &mut errors);
        if !errors.is_empty() {
            return Err(ApiError::invalid(errors));
        }
        let after = self.after(&allowed, &values, false);
        if after == Allowed::Denied {
            return Err(ApiError::forbidden("you may only make documents that match your permissions"));
        }
        let (which, answer) = (Which::Id(&id), Answer::Documents);
        let statement =
            sql::update(self.doc, which, &values, version, &allowed, &after, self.author(), answer);
        let reply = self.run(Request::Store, Group::write(vec![statement])).await?;
        match reply.rows.first() {
            Some(row) => Ok(self.shown(row)),
            None => Err(self.why_not(&id, &[&allowed, &after], version).await?),
        }
    }

    /// Deletes the document with this id.
    pub async fn delete(self, id: &str, version: &Version) -> Result<(), ApiError> {
        let allowed = self.allowed(Action::Delete)?;
        let id = self.id(id)?;
        let statement =
            sql::delete(self.doc, Which::Id(&id), version, &allowed, self.author(), Answer::Marks);
        let reply = self.run(Request::Delete, Group::write(vec![statement])).await?;
        if reply.rows.is_empty() { Err(self.why_not(&id, &[&allowed], version).await?) } else { Ok(()) }
    }

    /// A row with all columns that answers show.
    pub fn shown(self, row: &Row) -> Document {
        let columns: Vec<&ColumnModel> =
            self.doc.columns.iter().filter(|column| column.is_readable()).collect();
        let members: Vec<Member<'_>> = columns.iter().map(|column| Member::column(column)).collect();
        let of = |name: &str| {
            let place = columns.iter().position(|column| column.name == name);
            place.and_then(|place| row.text(place)).unwrap_or_default().to_owned()
        };
        let mut json = Vec::with_capacity(row.len() * 2);
        render::document(&mut json, &members, row, false);
        Document { version: of("version"), json }
    }

    /// Why a write met no document. Read after the write, so a document that changes in between may get another reason.
    async fn why_not(
        self,
        id: &DocumentId,
        allowed: &[&Allowed],
        version: &Version,
    ) -> Result<ApiError, ApiError> {
        let visible = permit::allowed(self.doc, &self.scope.caller, Action::Read);
        if visible == Allowed::Denied {
            return Ok(not_found());
        }
        let statement = sql::look(self.doc, id, &visible, allowed);
        let reply = self.run(Request::Read, Group::read(statement)).await?;
        let Some(row) = reply.rows.first() else { return Ok(not_found()) };
        if row.text(1) != Some("t") {
            return Ok(ApiError::forbidden(
                "your permissions do not cover this document, or what you would make of it",
            ));
        }
        let current = row.text(0).unwrap_or_default();
        Ok(match version {
            Version::Any => {
                ApiError::new(Code::Conflict, "the document changed at the same moment; try again")
            }
            Version::OneOf(_) => ApiError::new(
                Code::PreconditionFailed,
                format!("the document has changed; it is at version {current}"),
            )
            .hint("read it again, and send its new ETag in If-Match"),
        })
    }

    pub(super) fn allowed(self, action: Action) -> Result<Allowed, ApiError> {
        match permit::allowed(self.doc, &self.scope.caller, action) {
            Allowed::Denied => Err(ApiError::forbidden(format!(
                "you may not {} documents of this type",
                format!("{action:?}").to_lowercase()
            ))),
            allowed => Ok(allowed),
        }
    }

    /// What is left of `allowed` once a write has set `values`.
    fn after(self, allowed: &Allowed, values: &Values, new: bool) -> Allowed {
        let user = self.scope.caller.user.as_ref();
        allowed.after(|name| match name {
            "updated_by" => Some(Some(user)),
            "created_by" if new => Some(Some(user)),
            _ => {
                let (column, _) = self.doc.column(name)?;
                // A new document has NULL where nothing is set.
                values.get(column).or(new.then_some(None))
            }
        })
    }

    fn id(self, text: &str) -> Result<DocumentId, ApiError> {
        DocumentId::parse(self.doc, text).ok_or_else(not_found)
    }

    fn columns(&self, places: &[usize]) -> impl Iterator<Item = &ColumnModel> {
        places.iter().filter_map(|place| self.doc.columns.get(*place))
    }

    fn author(&self) -> Author<'_> {
        Author {
            user: &self.scope.caller.user,
            request: &self.scope.request.id,
            client: self.scope.request.client.as_deref(),
        }
    }

    pub(super) async fn run(self, request: Request, group: Group) -> Result<Reply, ApiError> {
        self.send(group).await.map_err(|error| refusal::answer(self.doc, request, error))
    }

    async fn send(self, group: Group) -> Result<Reply, DatabaseError> {
        self.database.run(&self.scope.tenant, group).await
    }
}

fn not_found() -> ApiError {
    ApiError::not_found("there is no such document")
}
