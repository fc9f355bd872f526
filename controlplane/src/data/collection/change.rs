//! Changes and deletes documents that match filters.

use axum::{http::StatusCode, response::Response};

use super::{
    Ask, Dialect,
    ask::{Shown, Words, answer, empty, not_one, replay, with},
    prefer::{Applies, Count, Preferences, Return},
    range::content_range,
};
use crate::{
    data::{
        documents::Ran,
        media::{self, Format},
        query::{Level, ListQuery, Purpose},
        sql::{Answer, Which},
    },
    error::{ApiError, Code},
    load::Load,
    postgres::{DatabaseError, Row, SqlState},
};

/// Documents that one request may change or delete.
const MOST: u32 = 10_000;

impl Ask<'_> {
    /// Changes the documents that match.
    ///
    /// # Errors
    /// When there is no filter, or documents cannot be changed.
    pub async fn change(self, content: &[u8]) -> Result<Response, ApiError> {
        let (prefer, format) = self.wishes()?;
        let words = Words::take(self.documents.doc, self.parameters)?;
        let query = self.matching(&words, "UPDATE")?;
        let mut given = media::documents(self.documents.doc, self.headers, content, 1)?.items;
        let mut given = given.pop().ok_or_else(|| ApiError::bad_request("the body is empty"))?;
        if let (Some(columns), Some(members)) = (&words.columns, given.as_object_mut()) {
            members.retain(|name, _| columns.contains(name));
        }
        let returns = prefer.answer.unwrap_or(self.dialect.usual_return());
        let set = Set::new(&self, &query.level, format, &prefer, returns);
        let key = self.key("PATCH", content)?;
        let reply = self.documents.update_matching(set.which(), &given, set.answer, key.as_ref()).await;
        set.finish(reply?)
    }

    /// Deletes the documents that match.
    ///
    /// # Errors
    /// When there is no filter, or documents cannot be deleted.
    pub async fn remove(self) -> Result<Response, ApiError> {
        let (prefer, format) = self.wishes()?;
        let words = Words { rest: self.parameters.to_vec(), ..Words::default() };
        let query = self.matching(&words, "DELETE")?;
        let returns = prefer.answer.unwrap_or(Return::Minimal);
        let set = Set::new(&self, &query.level, format, &prefer, returns);
        let key = self.key("DELETE", &[])?;
        let reply = self.documents.delete_matching(set.which(), set.answer, key.as_ref()).await;
        set.finish(reply?)
    }

    fn matching(&self, words: &Words, verb: &str) -> Result<ListQuery<'_>, ApiError> {
        let manner = self.dialect.manner(Purpose::Matching);
        let query = ListQuery::parse(self.documents.asked(), manner, &words.rest)?;
        if query.level.conditions.is_empty() {
            return Err(ApiError::bad_request(format!("{verb} requires a WHERE clause"))
                .hint("say which documents, with a filter, as id=eq.VALUE")
                .known_as("21000"));
        }
        Ok(query)
    }
}

/// Documents that are changed or deleted.
struct Set<'a> {
    dialect: Dialect,
    level: &'a Level<'a>,
    format: Format,
    prefer: &'a Preferences,
    returns: Return,
    answer: Answer<'a>,
    most: u32,
    load: &'a Load,
}

impl<'a> Set<'a> {
    fn new(
        ask: &Ask<'a>,
        level: &'a Level<'a>,
        format: Format,
        prefer: &'a Preferences,
        returns: Return,
    ) -> Self {
        let answer = match returns {
            Return::Representation => Answer::Members(level, ask.dialect.style(format)),
            Return::Minimal | Return::HeadersOnly => Answer::Count,
        };
        let single = format.is_object() && returns == Return::Representation;
        let most = if single { 1 } else { prefer.bound().unwrap_or(MOST).min(MOST) };
        let load = &ask.documents.scope.request.load;
        Self { dialect: ask.dialect, level, format, prefer, returns, answer, most, load }
    }

    fn which(&self) -> Which<'a> {
        Which::Matching { level: self.level, most: self.most }
    }

    fn finish(self, reply: Result<Ran, DatabaseError>) -> Result<Response, ApiError> {
        let Ran { rows, replayed } = match reply {
            Ok(ran) => ran,
            Err(error) => return Err(self.too_many(error)),
        };
        let (response, touched) = match self.returns {
            Return::Representation => {
                let (dialect, format, level, load) = (self.dialect, self.format, self.level, self.load);
                let shown = Shown { dialect, format, level, rows: &rows, load, changed: true };
                let body = shown.body()?;
                (answer(StatusCode::OK, self.format, body), rows.len() as u64)
            }
            Return::Minimal | Return::HeadersOnly => {
                let count = |row: &Row| row.text(0)?.parse().ok();
                (empty(StatusCode::NO_CONTENT), rows.first().and_then(count).unwrap_or_default())
            }
        };
        let total = (self.prefer.count == Some(Count::Exact)).then_some(touched);
        let range = match self.dialect {
            Dialect::Native => Some(touched),
            Dialect::Rest => total,
        };
        let shown = if self.returns == Return::Representation { rows.len() } else { 0 };
        let response = with(response, "content-range", content_range(0, shown, range));
        let response = with(response, "preference-applied", self.prefer.applied(Applies::Change));
        Ok(replay(response, replayed))
    }

    fn too_many(&self, error: DatabaseError) -> ApiError {
        debug_assert!(is_too_many(&error));
        if self.format.is_object() && self.most == 1 {
            return not_one(2).hint("more than one document matches the filter");
        }
        ApiError::new(Code::BadRequest, format!("the filter matches more than {} documents", self.most))
            .hint("narrow it; nothing was changed")
            .known_as("PGRST124")
    }
}

/// Whether the server refused a write because it would touch more documents than it may.
pub fn is_too_many(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::Refused(error) if error.state == SqlState::DIVISION_BY_ZERO)
}
