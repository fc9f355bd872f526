//! A request for a set of documents, and the parts that all answers have.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};

use super::{Dialect, prefer::Preferences};
use crate::{
    data::{
        documents::Documents,
        idempotency::{Key, REPLAYED},
        media::{Format, Shape},
        model::DocModel,
        query::{Asked, Level, Sight},
        render::{self, Member},
    },
    error::{ApiError, Code, FieldError},
    load::Load,
    postgres::Row,
};

/// A request for a set of documents.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Whose documents, and of which type.
    pub documents: Documents<'a>,
    /// In which form.
    pub dialect: Dialect,
    /// The query.
    pub parameters: &'a [(String, String)],
    /// The headers.
    pub headers: &'a HeaderMap,
}

impl Ask<'_> {
    /// The key under which the answer to a write is kept.
    pub(super) fn key(&self, verb: &str, content: &[u8]) -> Result<Option<Key>, ApiError> {
        let (app, plural) = (&self.documents.doc.app, &self.documents.doc.plural);
        let route = format!("{verb} {:?} {app}/{plural} {:?}", self.dialect, self.parameters);
        Key::of(self.headers, self.documents.scope, &route, content)
    }

    /// What the headers prefer, and the format of the answer.
    pub(super) fn wishes(&self) -> Result<(Preferences, Format), ApiError> {
        Ok((Preferences::read(self.headers)?, Format::accepted(self.headers)?))
    }
}

impl<'a> Documents<'a> {
    /// Who asks, and for what.
    pub(in crate::data) fn asked(self) -> Asked<'a> {
        let sight = Sight { catalog: self.scope.tenant.apps.catalog(), caller: &self.scope.caller };
        Asked { tenant: self.scope.tenant.uid, doc: self.doc, sight, cursors: self.cursors }
    }
}

/// Documents that become a body.
pub(super) struct Shown<'a> {
    pub dialect: Dialect,
    pub format: Format,
    pub level: &'a Level<'a>,
    pub rows: &'a [Row],
    /// Of the request, which takes the memory for the body.
    pub load: &'a Load,
    /// They tell of a change that has happened.
    pub changed: bool,
}

impl Shown<'_> {
    /// The body.
    ///
    /// # Errors
    /// 406 when one object is wanted and there is another number of them; when there is no memory for it.
    pub fn body(&self) -> Result<Vec<u8>, ApiError> {
        let mut out = Vec::new();
        self.append_to(&mut out, b"", 0)?;
        Ok(out)
    }

    /// Appends the same behind `head`, with room for `more` bytes after it.
    pub fn append_to(&self, out: &mut Vec<u8>, head: &[u8], more: usize) -> Result<(), ApiError> {
        let Self { format, level, rows, .. } = *self;
        let style = self.dialect.style(format);
        let members = Member::of(level, style);
        out.reserve_exact(head.len() + self.room(&members)? + more);
        out.extend_from_slice(head);
        match format {
            Format::Json { shape: Shape::Object, .. } => {
                let [row] = rows else { return Err(not_one(rows.len())) };
                render::document(out, &members, row, style.strip_nulls);
            }
            Format::Json { .. } => {
                out.push(b'[');
                render::documents(out, &members, rows, style.strip_nulls, b",");
                out.push(b']');
            }
            Format::Lines => {
                render::documents(out, &members, rows, false, b"\n");
                out.extend_from_slice(if rows.is_empty() { b"" } else { b"\n" });
            }
            Format::Csv => {
                let names = level.outputs.iter().map(|output| level.key(output));
                render::csv(out, names, &members, rows);
            }
        }
        Ok(())
    }

    /// Bytes to begin with. Of what is large it is known how large it gets, so that it takes its memory at once, or not at all.
    fn room(&self, members: &[Member<'_>]) -> Result<usize, ApiError> {
        const HEAD: usize = 64;
        let bytes: usize = self.rows.iter().map(Row::len).sum();
        if bytes <= SMALL_ROWS {
            return Ok(HEAD + bytes * 2);
        }
        let most = HEAD + render::most_bytes(members, self.rows);
        match self.changed {
            true => self.load.hold_after_change(most)?,
            false => self.load.hold(most)?,
        }
        Ok(most)
    }
}

/// Bytes of rows that are turned into a body without asking for memory first: it is counted when it is there.
const SMALL_ROWS: usize = 32 * 1024;

/// One object is wanted and there are so many.
pub(super) fn not_one(documents: usize) -> ApiError {
    let message = format!("The result contains {documents} rows");
    ApiError::new(Code::NotAcceptable, "Cannot coerce the result to a single JSON object")
        .with_errors(vec![FieldError { pointer: String::new(), message }])
        .known_as("PGRST116")
}

/// The answer with this body.
pub(super) fn answer(status: StatusCode, format: Format, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response
}

/// Says of an answer that it was given before.
pub(super) fn replay(mut response: Response, replayed: bool) -> Response {
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// The answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Adds `value` as `name`, if there is one.
pub(super) fn with(mut response: Response, name: &'static str, value: Option<HeaderValue>) -> Response {
    if let Some(value) = value {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The words of a write's query that name columns, taken out of the others.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// `columns=a,b`: the members of the body that count.
    pub columns: Option<Vec<String>>,
    /// `on_conflict=a`: the column that says whether a document is there already.
    pub on_conflict: Option<String>,
    /// All other parameters.
    pub rest: Vec<(String, String)>,
}

impl Words {
    pub fn take(doc: &DocModel, parameters: &[(String, String)]) -> Result<Self, ApiError> {
        let mut words = Self::default();
        for (name, value) in parameters {
            match name.as_str() {
                "columns" => {
                    let names = value.split(',').map(|name| name.trim().trim_matches('"').to_owned());
                    words.columns = Some(names.collect());
                }
                "on_conflict" => words.on_conflict = Some(value.trim_matches('"').to_owned()),
                _ => words.rest.push((name.clone(), value.clone())),
            }
        }
        let unknown = words.columns.iter().flatten().find(|name| doc.column(name).is_none());
        match unknown {
            None => Ok(words),
            Some(name) => {
                let shown: String = name.chars().take(40).collect();
                let message = format!("{shown:?} is no field of this document type");
                let errors = vec![FieldError { pointer: "columns".into(), message }];
                Err(ApiError::bad_request("the query cannot be read")
                    .with_errors(errors)
                    .known_as("PGRST204"))
            }
        }
    }
}
