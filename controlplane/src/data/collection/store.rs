//! New documents, and those that may be there already.

use std::borrow::Cow;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::Value;
use tenantry_crds::definition::Naming;

use super::{
    Ask, Dialect,
    ask::{Shown, Words, answer, empty, not_one, replay, with},
    prefer::{Applies, Count, Missing, Preferences, Resolution, Return},
    range::content_range,
};
use crate::{
    data::{
        documents::{Clash, Ran, Storing},
        id::DocumentId,
        media::{self, Format, Shape},
        model::DocModel,
        precondition,
        query::{Level, ListQuery, Output, Purpose},
        render::{self, Member},
        routes::path_segment,
        sql::Answer,
    },
    error::{ApiError, FieldError},
    postgres::Row,
};

/// Documents that one request may store.
pub const MAX_BULK: usize = 1000;

impl Ask<'_> {
    /// Stores the documents of `content`, all or none.
    ///
    /// # Errors
    /// When they cannot be read or stored.
    pub async fn store(self, content: &[u8]) -> Result<Response, ApiError> {
        let doc = self.documents.doc;
        let (prefer, format) = self.wishes()?;
        let words = Words::take(doc, self.parameters)?;
        let manner = self.dialect.manner(Purpose::Shown);
        let query = ListQuery::parse(self.documents.asked(), manner, &words.rest)?;
        let mut given = media::documents(doc, self.headers, content, MAX_BULK)?;
        let keep_missing = match prefer.missing {
            Some(Missing::Default) => true,
            Some(Missing::Null) => false,
            None => self.dialect == Dialect::Native,
        };
        if let Some(columns) = &words.columns {
            given.items.iter_mut().for_each(|item| only(item, columns, keep_missing));
        }
        let clash = clash(doc, &prefer, words.on_conflict.as_deref())?;
        let ids = match clash {
            Some(Clash { column: "id", .. }) if doc.naming == Naming::Uuid => {
                take_ids(doc, &mut given.items)?
            }
            _ => Vec::new(),
        };
        if format.is_object() && given.items.len() != 1 {
            return Err(not_one(given.items.len()));
        }
        let returns = prefer.answer.unwrap_or(self.dialect.usual_return());
        let answer = match returns {
            Return::Minimal => Answer::Marks,
            Return::HeadersOnly | Return::Representation => {
                Answer::Members(&query.level, self.dialect.style(format))
            }
        };
        let pointers: Vec<String> = match given.single {
            true => vec![String::new()],
            false => (0..given.items.len()).map(|n| format!("/{n}")).collect(),
        };
        let key = self.key("POST", content)?;
        let storing = Storing { answer, clash, ids: &ids, key: key.as_ref() };
        let Ran { rows, replayed } = self.documents.store(&given.items, &pointers, storing).await?;
        let response = match returns {
            Return::Minimal => empty(StatusCode::CREATED),
            Return::HeadersOnly => self.located(empty(StatusCode::CREATED), &query.level, &rows),
            Return::Representation => self.stored(format, given.single, &query.level, &rows)?,
        };
        let total = (prefer.count == Some(Count::Exact)).then_some(rows.len() as u64);
        let said = self.dialect == Dialect::Rest || total.is_some();
        let response = with(response, "content-range", content_range(0, 0, total).filter(|_| said));
        let response = with(response, "preference-applied", prefer.applied(Applies::Store));
        Ok(replay(response, replayed))
    }

    fn stored(
        self,
        format: Format,
        single: bool,
        level: &Level<'_>,
        rows: &[Row],
    ) -> Result<Response, ApiError> {
        let one = match (self.dialect, format, rows) {
            (Dialect::Native, Format::Json { shape: Shape::Usual, .. }, [row]) if single => Some(row),
            _ => None,
        };
        let Some(row) = one else {
            let load = &self.documents.scope.request.load;
            let shown = Shown { dialect: self.dialect, format, level, rows, load, changed: true };
            return Ok(answer(StatusCode::CREATED, format, shown.body()?));
        };
        let style = self.dialect.style(format);
        let mut content = Vec::with_capacity(row.len() * 2);
        render::document(&mut content, &Member::of(level, style), row, style.strip_nulls);
        let tag = value_of(level, row, "version").and_then(|version| precondition::entity_tag(&version));
        let response = with(answer(StatusCode::CREATED, format, content), header::ETAG.as_str(), tag);
        Ok(self.located(response, level, rows))
    }

    /// With the place of the one document that was stored.
    fn located(self, response: Response, level: &Level<'_>, rows: &[Row]) -> Response {
        let [row] = rows else { return response };
        let Some(id) = value_of(level, row, "id") else { return response };
        let (app, plural) = (&self.documents.doc.app, &self.documents.doc.plural);
        let place = match self.dialect {
            Dialect::Native => format!("/api/v1/data/{app}/{plural}/{}", path_segment(&id)),
            Dialect::Rest => format!("/{plural}?id=eq.{}", path_segment(&id)),
        };
        with(response, header::LOCATION.as_str(), HeaderValue::try_from(place).ok())
    }
}

/// The value of a column of the platform, if the level shows it.
fn value_of(level: &Level<'_>, row: &Row, name: &str) -> Option<String> {
    let (column, _) = level.doc.column(name)?;
    let place = level.outputs.iter().position(|output| {
        matches!(output, Output::Subject { subject, .. } if subject.column == column && subject.path.is_none())
    })?;
    row.text(place).map(str::to_owned)
}

/// Leaves the members that are named; those that are missing are null, unless they are to get their defaults.
fn only(item: &mut Value, columns: &[String], keep_missing: bool) {
    let Value::Object(members) = item else { return };
    members.retain(|name, _| columns.contains(name));
    if !keep_missing {
        for name in columns {
            members.entry(name.as_str()).or_insert(Value::Null);
        }
    }
}

fn clash<'a>(
    doc: &'a DocModel,
    prefer: &Preferences,
    on_conflict: Option<&str>,
) -> Result<Option<Clash<'a>>, ApiError> {
    let refused = |message: Cow<'static, str>| {
        let errors = vec![FieldError { pointer: "on_conflict".into(), message: message.into_owned() }];
        Err(ApiError::bad_request("the query cannot be read").with_errors(errors).known_as("42P10"))
    };
    let merge = match (prefer.resolution, on_conflict) {
        (None, None) => return Ok(None),
        (None, Some(_)) => {
            return refused(
                "say what to do, with Prefer: resolution=merge-duplicates or ignore-duplicates".into(),
            );
        }
        (Some(resolution), _) => resolution == Resolution::MergeDuplicates,
    };
    let name = on_conflict.unwrap_or("id");
    if name == "id" {
        return match doc.naming {
            Naming::Series(_) | Naming::Gapless(_) => {
                refused("documents of this type get their ids from a series; name a unique field".into())
            }
            Naming::Uuid | Naming::Field(_) => Ok(Some(Clash { column: "id", merge })),
        };
    }
    match doc.column(name) {
        Some((_, column)) if column.field().is_some_and(|field| field.unique) => {
            Ok(Some(Clash { column: &column.name, merge }))
        }
        _ => refused("name one field that is unique".into()),
    }
}

/// The ids that the documents bring, taken out of them; where one brings none, it gets a new one.
fn take_ids(doc: &DocModel, items: &mut [Value]) -> Result<Vec<Option<DocumentId>>, ApiError> {
    let mut errors = Vec::new();
    let ids = items
        .iter_mut()
        .enumerate()
        .map(|(n, item)| {
            let id = item.as_object_mut().and_then(|members| members.remove("id"))?;
            let known = id.as_str().and_then(|id| DocumentId::parse(doc, id));
            if known.is_none() && !id.is_null() {
                errors.push(FieldError {
                    pointer: format!("/{n}/id"),
                    message: "must be a UUID, as text".into(),
                });
            }
            known
        })
        .collect();
    if errors.is_empty() { Ok(ids) } else { Err(ApiError::invalid(errors)) }
}
