//! What can be done with the documents of a type, for one caller.

use serde_json::Value;
use tenantry_crds::v1alpha1::Action;

use super::{
    id::DocumentId,
    model::{ColumnModel, DocModel},
    permit::{self, Allowed},
    query::{CursorKey, ListQuery},
    refusal::{self, Request},
    render,
    sql::{self, Answer, Author, NewId, Version, Which},
    validate::{self, Mode, Values},
};
use crate::{
    auth::Scope,
    error::{ApiError, Code, FieldError},
    postgres::{Group, Reply, Row, TenantDatabase},
};

/// Documents that one request may create.
pub const MAX_BATCH: usize = 100;

/// The documents of a type, as one caller may use them.
#[derive(Debug, Clone, Copy)]
pub struct Documents<'a> {
    pub database: &'a TenantDatabase,
    pub cursors: &'a CursorKey,
    pub scope: &'a Scope,
    pub doc: &'a DocModel,
}

/// A document as JSON.
#[derive(Debug)]
pub struct Document {
    pub id: String,
    pub version: String,
    pub json: Vec<u8>,
}

impl Documents<'_> {
    /// A page of documents, as the whole body.
    pub async fn list(self, parameters: &[(String, String)]) -> Result<Vec<u8>, ApiError> {
        let visible = self.allowed(Action::Read)?;
        let query = ListQuery::parse(&self.scope.tenant, self.doc, parameters, self.cursors)?;
        let page = sql::list(self.doc, &query, &visible);
        let reply = self.run(Request::Read, Group::read(page.statement)).await?;
        let limit = usize::from(query.limit);
        let items = reply.rows.get(..limit).unwrap_or(&reply.rows);
        let last = items.last().filter(|_| reply.rows.len() > limit);
        let next = last.map(|row| {
            let values: Vec<_> = page.keys.iter().map(|key| row.text(*key)).collect();
            self.cursors.seal(&query.identity, &values)
        });
        let columns = self.columns(&query.select);
        let mut body = Vec::with_capacity(64 + items.iter().map(|row| row.len() * 2).sum::<usize>());
        body.extend_from_slice(b"{\"items\":");
        render::array(&mut body, &columns, items);
        body.extend_from_slice(b",\"next\":");
        match next {
            // Letters, digits, `-` and `_`.
            Some(cursor) => body.extend_from_slice(format!("\"{cursor}\"").as_bytes()),
            None => body.extend_from_slice(b"null"),
        }
        body.push(b'}');
        Ok(body)
    }

    /// The document with this id.
    pub async fn get(self, id: &str, select: Option<&str>) -> Result<Document, ApiError> {
        let visible = self.allowed(Action::Read)?;
        let select = super::query::select(self.doc, select).map_err(|problem| {
            let errors = vec![FieldError { pointer: "select".into(), message: problem }];
            ApiError::bad_request("the query cannot be read").with_errors(errors)
        })?;
        let id = self.id(id)?;
        let statement = sql::get(self.doc, &id, &select, &visible);
        let reply = self.run(Request::Read, Group::read(statement)).await?;
        let row = reply.rows.first().ok_or_else(not_found)?;
        let mut json = Vec::with_capacity(row.len() * 2);
        render::document(&mut json, &self.columns(&select), row);
        let version = row.text(select.len()).unwrap_or_default().to_owned();
        Ok(Document { id: id.as_str().to_owned(), version, json })
    }

    /// Stores new documents, all or none.
    pub async fn create(self, bodies: &[Value], pointers: &[String]) -> Result<Reply, ApiError> {
        let allowed = self.allowed(Action::Create)?;
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
        for values in &documents {
            // Of a new document every column is known, so nothing is left for the database to check.
            if self.after(&allowed, values, true) != Allowed::All {
                return Err(ApiError::forbidden("you may only create documents that match your permissions"));
            }
            let id = NewId::of(self.doc, values);
            statements.push(sql::insert(self.doc, &id, values, self.author(), Answer::Documents));
        }
        self.run(Request::Store, Group::write(statements)).await
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
        let of = |name: &str| {
            let place = columns.iter().position(|column| column.name == name);
            place.and_then(|place| row.text(place)).unwrap_or_default().to_owned()
        };
        let mut json = Vec::with_capacity(row.len() * 2);
        render::document(&mut json, &columns, row);
        Document { id: of("id"), version: of("version"), json }
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

    fn allowed(self, action: Action) -> Result<Allowed, ApiError> {
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

    fn columns(&self, places: &[usize]) -> Vec<&ColumnModel> {
        places.iter().filter_map(|place| self.doc.columns.get(*place)).collect()
    }

    fn author(&self) -> Author<'_> {
        Author {
            user: &self.scope.caller.user,
            request: &self.scope.request.id,
            client: self.scope.request.client.as_deref(),
        }
    }

    async fn run(self, request: Request, group: Group) -> Result<Reply, ApiError> {
        let result = self.database.run(&self.scope.tenant, group).await;
        result.map_err(|error| refusal::answer(self.doc, request, error))
    }
}

fn not_found() -> ApiError {
    ApiError::not_found("there is no such document")
}
