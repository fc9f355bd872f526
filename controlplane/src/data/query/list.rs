//! What was asked for.

use std::collections::HashSet;

use uuid::Uuid;

use super::{
    CursorKey, ListIdentity, Sight,
    condition::{Conditions, Joint},
    level::Level,
    order, select,
    text::shown,
};
use crate::{
    data::model::DocModel,
    error::{ApiError, FieldError},
};

/// Items at most, of a page or of what is embedded in a document.
pub const MAX_LIMIT: u32 = 1000;
/// Parameters of one query at most.
const MAX_PARAMETERS: usize = 100;

/// What documents were asked for, checked against their type.
#[derive(Debug)]
pub struct ListQuery<'a> {
    /// The documents.
    pub level: Level<'a>,
    /// The values of the order's subjects in the item before the page.
    pub after: Option<Vec<Option<String>>>,
    /// What the next page's cursor is sealed with.
    pub identity: ListIdentity,
}

/// How a query is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// What the query is for.
    pub purpose: Purpose,
    /// Items of a page when the query does not say.
    pub usual_limit: u32,
    /// Whether a limit that is too high is lowered and not refused, and none at all is possible.
    pub lenient_limit: bool,
}

/// What a query is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To read a page.
    Page,
    /// To name the documents that are changed or deleted, and what is shown of them.
    Matching,
    /// To name what is shown of one document, or of those that are stored.
    Shown,
}

/// Who asks, and for documents of which type.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The tenant's uid.
    pub tenant: Uuid,
    /// The type.
    pub doc: &'a DocModel,
    /// What the caller may know of.
    pub sight: Sight<'a>,
    /// Opens cursors.
    pub cursors: &'a CursorKey,
}

impl<'a> ListQuery<'a> {
    /// Reads the parameters of a query.
    ///
    /// # Errors
    /// 400, with every parameter that is wrong; 403 when the caller may not read what is to be embedded.
    pub fn parse(
        asked: Asked<'a>,
        manner: Manner,
        parameters: &[(String, String)],
    ) -> Result<Self, ApiError> {
        let mut parsing = Parsing::new(asked, manner, parameters);
        parsing.level.order = Vec::new();
        for (name, value) in parameters {
            if let Err(problem) = parsing.parameter(name, value) {
                wrong(&mut parsing.errors, name, problem);
            }
        }
        parsing.finish()
    }
}

struct Parsing<'a, 'p> {
    asked: Asked<'a>,
    manner: Manner,
    level: Level<'a>,
    identity: ListIdentity,
    /// Words that may be given once and were.
    given: HashSet<&'p str>,
    after: Option<&'p str>,
    terms: usize,
    errors: Vec<FieldError>,
}

impl<'a, 'p> Parsing<'a, 'p> {
    fn new(asked: Asked<'a>, manner: Manner, parameters: &'p [(String, String)]) -> Self {
        let mut errors = Vec::new();
        if parameters.len() > MAX_PARAMETERS {
            wrong(&mut errors, "", format!("use at most {MAX_PARAMETERS} parameters"));
        }
        let text = parameters.iter().find(|(name, _)| name == "select").map(|(_, value)| value.as_str());
        let level = select::parse(&asked.sight, asked.doc, text).unwrap_or_else(|problem| {
            wrong(&mut errors, "select", problem);
            Level::new(&asked.sight, asked.doc)
        });
        let mut identity = ListIdentity::default();
        for part in [
            asked.tenant.as_bytes().as_slice(),
            asked.doc.app.as_str().as_bytes(),
            asked.doc.name.as_str().as_bytes(),
        ] {
            identity.add(part);
        }
        if level.has_required() {
            identity.add(text.unwrap_or_default().as_bytes());
        }
        Self { asked, manner, level, identity, given: HashSet::new(), after: None, terms: 0, errors }
    }

    fn parameter(&mut self, name: &'p str, value: &'p str) -> Result<(), String> {
        let Ok((level, rest)) = self.level.find(name) else {
            let first = name.split('.').next().unwrap_or_default();
            return Err(format!("{:?} is not embedded; add it to select, as {0}(...)", shown(first)));
        };
        let embedded = rest.len() != name.len();
        let once =
            matches!(rest, "order" | "limit" | "offset") || (!embedded && matches!(rest, "select" | "after"));
        if once && !self.given.insert(name) {
            return Err("is given twice".into());
        }
        let page = self.manner.purpose == Purpose::Page;
        match rest {
            "select" if !embedded => return Ok(()),
            "after" if !embedded && page => {
                self.after = Some(value);
                return Ok(());
            }
            // What a write shows has an order, too.
            "order" if !embedded && self.manner.purpose == Purpose::Matching => {}
            "order" | "limit" | "offset" | "after" if !embedded && !page => {
                return Err("belongs to reading a list".into());
            }
            "limit" => {
                level.limit = limit(value, self.manner.lenient_limit)?;
                // An empty page is a page, too.
                self.given.insert(name);
                return Ok(());
            }
            _ => {}
        }
        self.identity.add(name.as_bytes());
        self.identity.add(value.as_bytes());
        match rest {
            "order" => {
                level.order = order::parse(&self.asked.sight, level.doc, Some(value))?;
                return Ok(());
            }
            "offset" => {
                level.offset = value.parse().map_err(|_| "use a number from 0".to_owned())?;
                return Ok(());
            }
            _ if !embedded && self.manner.purpose == Purpose::Shown => {
                return Err("is no parameter here; select is".into());
            }
            _ => {}
        }
        let embedded: Vec<String> = level.embeds.iter().map(|embed| embed.key.clone()).collect();
        let mut conditions = Conditions {
            sight: &self.asked.sight,
            doc: level.doc,
            embedded: &embedded,
            terms: &mut self.terms,
        };
        let condition = match Joint::parse(rest) {
            Some(joint) => conditions.tree(joint, value)?,
            None => conditions.filter(rest, value)?,
        };
        level.conditions.push(condition);
        Ok(())
    }

    fn finish(mut self) -> Result<ListQuery<'a>, ApiError> {
        let Manner { purpose, usual_limit, .. } = self.manner;
        if self.level.order.is_empty() && purpose == Purpose::Page {
            match order::parse(&self.asked.sight, self.asked.doc, None) {
                Ok(order) => self.level.order = order,
                Err(problem) => wrong(&mut self.errors, "order", problem),
            }
        }
        if !self.given.contains("limit") {
            self.level.limit = usual_limit;
        }
        if purpose != Purpose::Page && self.level.has_required() {
            wrong(&mut self.errors, "select", "!inner belongs to reading a list");
        }
        complete(&self.asked.sight, &mut self.level, &self.given, "");
        let (identity, order) = (&self.identity, &self.level.order);
        let after = self.after.and_then(|cursor| {
            let values =
                self.asked.cursors.open(identity, cursor).filter(|values| values.len() == order.len());
            if values.is_none() {
                let problem =
                    "is no cursor of this list; take `next` of the page before and keep filters and order";
                wrong(&mut self.errors, "after", problem);
            }
            values
        });
        if let Some(plural) = self.level.denied() {
            return Err(ApiError::forbidden(format!("you may not read {plural}")));
        }
        if !self.errors.is_empty() {
            return Err(ApiError::bad_request("the query cannot be read").with_errors(self.errors));
        }
        Ok(ListQuery { level: self.level, after, identity: self.identity })
    }
}

/// Gives what is embedded the limits and orders that the query did not.
fn complete(sight: &Sight<'_>, level: &mut Level<'_>, given: &HashSet<&str>, path: &str) {
    for embed in &mut level.embeds {
        let path = format!("{path}{}.", embed.key);
        if !given.contains(format!("{path}limit").as_str()) {
            embed.level.limit = MAX_LIMIT;
        }
        if embed.level.order.is_empty() {
            embed.level.order = order::parse(sight, embed.level.doc, None).unwrap_or_default();
        }
        complete(sight, &mut embed.level, given, &path);
    }
}

fn wrong(errors: &mut Vec<FieldError>, name: &str, message: impl Into<String>) {
    errors.push(FieldError { pointer: name.chars().take(100).collect(), message: message.into() });
}

fn limit(text: &str, lenient: bool) -> Result<u32, String> {
    let limit = text.parse::<u32>().ok();
    let limit = if lenient {
        limit.map(|limit| limit.min(MAX_LIMIT))
    } else {
        limit.filter(|n| (1..=MAX_LIMIT).contains(n))
    };
    limit.ok_or_else(|| format!("use a number from 1 to {MAX_LIMIT}"))
}
