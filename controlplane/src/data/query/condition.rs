//! Trees of filters: `and=(a.eq.1,or(b.gt.2,not.and(c.is.null,d.lt.3)))`.

use super::{
    filter::{Filter, Operator},
    sight::Sight,
    subject::Subject,
    text::{Text, shown},
};
use crate::data::model::DocModel;

/// Trees in trees.
const MAX_DEPTH: usize = 8;
/// Filters and trees of one query.
const MAX_TERMS: usize = 60;

/// What must hold for a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// A filter.
    Filter(Filter),
    /// All of these.
    All(Vec<Condition>),
    /// One of these.
    Any(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
    /// That documents are embedded here, by their place in the level.
    Related(usize),
}

/// Reads conditions on documents of one type.
#[derive(Debug)]
pub(super) struct Conditions<'a> {
    pub sight: &'a Sight<'a>,
    pub doc: &'a DocModel,
    /// What is embedded, as it is called.
    pub embedded: &'a [String],
    /// Filters and trees that the query has so far.
    pub terms: &'a mut usize,
}

impl Conditions<'_> {
    /// The parameter `name=operator.value`.
    pub fn filter(&mut self, name: &str, text: &str) -> Result<Condition, String> {
        let mut name = Text::new(name);
        let mut text = Text::new(text);
        let who = self.who(&mut name, &[])?;
        let operator = Operator::read(&mut text)?;
        self.apply(who, operator, text.rest())
    }

    /// The parameter `and=(...)` or `or=(...)`.
    pub fn tree(&mut self, joint: Joint, text: &str) -> Result<Condition, String> {
        let mut text = Text::new(text);
        let tree = self.list(joint, &mut text, 1)?;
        if text.is_empty() {
            Ok(tree)
        } else {
            Err(format!("nothing is expected at {:?}", shown(text.rest())))
        }
    }

    fn list(&mut self, joint: Joint, text: &mut Text<'_>, depth: usize) -> Result<Condition, String> {
        if depth > MAX_DEPTH {
            return Err(format!("trees go at most {MAX_DEPTH} levels deep"));
        }
        if !text.take("(") {
            return Err("write (field.operator.value,field.operator.value)".into());
        }
        self.count()?;
        let mut terms = vec![self.term(text, depth)?];
        while text.take(",") {
            terms.push(self.term(text, depth)?);
        }
        if !text.take(")") {
            return Err(format!("a comma or a closing bracket is expected at {:?}", shown(text.rest())));
        }
        Ok(joint.of(terms))
    }

    fn term(&mut self, text: &mut Text<'_>, depth: usize) -> Result<Condition, String> {
        for (prefix, joint) in
            [("and(", Joint::And), ("or(", Joint::Or), ("not.and(", Joint::NotAnd), ("not.or(", Joint::NotOr)]
        {
            if text.starts_with(prefix) {
                text.take(prefix.trim_end_matches('('));
                return self.list(joint, text, depth + 1);
            }
        }
        let who = self.who(text, &['.', ',', '(', ')'])?;
        if !text.take(".") {
            return Err(format!("an operator is expected at {:?}", shown(text.rest())));
        }
        let operator = Operator::read(text)?;
        let quoted;
        let operand = if text.starts_with("\"") {
            quoted = text.quoted()?;
            quoted.as_str()
        } else if ["(", "{", "["].iter().any(|open| text.starts_with(open)) {
            text.bracketed()?
        } else {
            text.until(&[',', ')'])
        };
        self.apply(who, operator, operand)
    }

    /// A subject, or something embedded.
    fn who(&self, text: &mut Text<'_>, stops: &[char]) -> Result<Who, String> {
        let name = text.clone().name(stops)?;
        if self.sight.column(self.doc, &name).is_err()
            && let Some(embed) = self.embedded.iter().position(|embedded| *embedded == name)
        {
            text.name(stops)?;
            return if text.is_empty() || text.starts_with(".") {
                Ok(Who::Embedded(embed))
            } else {
                Err("an embedded document can only be tested with is.null".into())
            };
        }
        Subject::read(self.sight, self.doc, text, stops).map(Who::Subject)
    }

    fn apply(&mut self, who: Who, operator: Operator<'_>, operand: &str) -> Result<Condition, String> {
        self.count()?;
        match who {
            Who::Subject(subject) => {
                let kind = subject.kind(self.doc).ok_or("names no field")?;
                operator.filter(subject.clone(), kind, operand).map(Condition::Filter)
            }
            Who::Embedded(embed) => match operator.is_null(operand) {
                Some(true) => Ok(Condition::Related(embed)),
                Some(false) => Ok(Condition::Not(Box::new(Condition::Related(embed)))),
                None => Err("an embedded document can only be tested with is.null and not.is.null".into()),
            },
        }
    }

    fn count(&mut self) -> Result<(), String> {
        *self.terms += 1;
        if *self.terms > MAX_TERMS { Err(format!("use at most {MAX_TERMS} filters")) } else { Ok(()) }
    }
}

enum Who {
    Subject(Subject),
    Embedded(usize),
}

/// How the terms of a tree are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    And,
    Or,
    NotAnd,
    NotOr,
}

impl Joint {
    /// The parameter's name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "and" => Self::And,
            "or" => Self::Or,
            "not.and" => Self::NotAnd,
            "not.or" => Self::NotOr,
            _ => return None,
        })
    }

    fn of(self, terms: Vec<Condition>) -> Condition {
        match self {
            Self::And => Condition::All(terms),
            Self::Or => Condition::Any(terms),
            Self::NotAnd => Condition::Not(Box::new(Condition::All(terms))),
            Self::NotOr => Condition::Not(Box::new(Condition::Any(terms))),
        }
    }
}
