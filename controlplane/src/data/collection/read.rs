//! A page of documents.

use axum::{
    http::{HeaderValue, StatusCode},
    response::Response,
};
use serde_json::Value;
use tenantry_crds::v1alpha1::Action;

use super::{
    Ask, Dialect,
    ask::{Shown, answer, with},
    prefer::{Applies, Count},
    range::{Range, content_range, status},
};
use crate::{
    data::{
        documents::Documents,
        media::{Format, Shape},
        query::{ListQuery, MAX_LIMIT, Purpose},
        refusal::Request,
        routes::path_segment,
        sql,
    },
    error::{ApiError, FieldError},
    load::Load,
    postgres::{Group, Row},
};

/// A page of documents.
struct Page<'a> {
    query: ListQuery<'a>,
    rows: Vec<Row>,
    /// How many there are on all pages, if that was asked for.
    total: Option<u64>,
    /// Where the next page begins, if there is one.
    next: Option<String>,
}

impl Ask<'_> {
    /// A page of documents.
    ///
    /// # Errors
    /// When the query cannot be read or documents cannot be had.
    pub async fn read(self) -> Result<Response, ApiError> {
        let (prefer, format) = self.wishes()?;
        let range = Range::read(self.headers)?;
        let page = self.documents.page(self.dialect, self.parameters, format, range, prefer.count).await?;
        let (level, rows) = (&page.query.level, page.rows.as_slice());
        let mut code = status(level.offset, rows.len(), page.total)?;
        let mut link = None;
        let load = &self.documents.scope.request.load;
        let usual = matches!(format, Format::Json { shape: Shape::Usual, .. });
        let content = match self.dialect {
            Dialect::Native if usual => page.with_next(format, load)?,
            dialect => Shown { dialect, format, level, rows, load, changed: false }.body()?,
        };
        if self.dialect == Dialect::Native {
            code = StatusCode::OK;
            link = page.next.as_deref().filter(|_| !usual).and_then(|next| self.link(next));
        }
        let said = self.dialect == Dialect::Rest || page.total.is_some();
        let range = content_range(level.offset, rows.len(), page.total).filter(|_| said);
        let response = with(answer(code, format, content), "content-range", range);
        let response = with(response, "link", link);
        Ok(with(response, "preference-applied", prefer.applied(Applies::Read)))
    }

    /// Where the next page is, for formats that have no room for it.
    fn link(&self, next: &str) -> Option<HeaderValue> {
        let others = self.parameters.iter().filter(|(name, _)| name != "after");
        let query: String =
            others.map(|(name, value)| format!("{}={}&", path_segment(name), path_segment(value))).collect();
        HeaderValue::try_from(format!("<?{query}after={next}>; rel=\"next\"")).ok()
    }
}

impl<'a> Documents<'a> {
    /// A page of documents with the cursor of the next, as the whole body.
    pub async fn list(self, parameters: &[(String, String)]) -> Result<Vec<u8>, ApiError> {
        let format = Format::Json { shape: Shape::Usual, strip_nulls: false };
        let page = self.page(Dialect::Native, parameters, format, None, None).await?;
        page.with_next(format, &self.scope.request.load)
    }

    async fn page(
        self,
        dialect: Dialect,
        parameters: &[(String, String)],
        format: Format,
        range: Option<Range>,
        count: Option<Count>,
    ) -> Result<Page<'a>, ApiError> {
        self.allowed(Action::Read)?;
        let mut query = ListQuery::parse(self.asked(), dialect.manner(Purpose::Page), parameters)?;
        if let Some(range) = range {
            query.level.offset = query.level.offset.saturating_add(range.offset);
            query.level.limit = query.level.limit.min(range.limit.unwrap_or(MAX_LIMIT));
        }
        if query.after.is_some() && query.level.offset > 0 {
            let errors =
                vec![FieldError { pointer: "offset".into(), message: "cannot be used with after".into() }];
            return Err(ApiError::bad_request("the query cannot be read").with_errors(errors));
        }
        let page = sql::list(&query, dialect.style(format));
        let mut statements = match count {
            None => Vec::new(),
            Some(Count::Exact) => vec![sql::count(&query.level, None)],
            Some(Count::Planned) => vec![sql::plan(&query.level)],
            Some(Count::Estimated) => {
                vec![sql::plan(&query.level), sql::count(&query.level, Some(MAX_LIMIT + 1))]
            }
        };
        let counts = statements.len();
        statements.push(page.statement);
        let reply = self.run(Request::Read, Group::read_all(statements)).await?;
        let total = count.and_then(|count| total(count, &reply.rows));
        let mut rows = reply.rows;
        rows.drain(..counts.min(rows.len()));
        let limit = usize::try_from(query.level.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| {
            let values: Vec<_> = page.keys.iter().map(|key| row.text(*key)).collect();
            self.cursors.seal(&query.identity, &values)
        });
        Ok(Page { query, rows, total, next })
    }
}

impl Page<'_> {
    /// `{"items": [...], "next": ..., "count": ...}`.
    fn with_next(&self, format: Format, load: &Load) -> Result<Vec<u8>, ApiError> {
        const HEAD: &[u8] = b"{\"items\":";
        // Cursors are letters, digits, `-` and `_`.
        let next = self.next.as_ref().map_or("null".to_owned(), |next| format!("\"{next}\""));
        let count = self.total.map_or(String::new(), |total| format!(",\"count\":{total}"));
        let tail = format!(",\"next\":{next}{count}}}");
        let (level, rows) = (&self.query.level, self.rows.as_slice());
        let shown = Shown { dialect: Dialect::Native, format, level, rows, load, changed: false };
        let mut out = Vec::new();
        shown.append_to(&mut out, HEAD, tail.len())?;
        out.extend_from_slice(tail.as_bytes());
        Ok(out)
    }
}

/// What the rows before the page say about how many documents there are.
fn total(count: Count, rows: &[Row]) -> Option<u64> {
    let counted = |row: &Row| row.text(0)?.parse::<u64>().ok();
    match count {
        Count::Exact => rows.first().and_then(counted),
        Count::Planned => rows.first().and_then(planned),
        Count::Estimated => match (rows.get(1).and_then(counted), rows.first().and_then(planned)) {
            (Some(counted), Some(planned)) if counted > u64::from(MAX_LIMIT) => Some(planned.max(counted)),
            (counted, _) => counted,
        },
    }
}

fn planned(row: &Row) -> Option<u64> {
    let plan: Value = serde_json::from_str(row.text(0)?).ok()?;
    plan.pointer("/0/Plan/Plan Rows")?.as_f64().map(|rows| rows as u64)
}
