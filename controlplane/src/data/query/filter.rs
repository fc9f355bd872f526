//! `operator.value`: a test of one subject, in the dialect of PostgREST.

use tenantry_migrations::layout::SqlType;

use super::{
    subject::{Kind, Subject},
    text::{self, Text, shown},
    value,
};

/// Values that `in`, `any` and `all` take at most.
const MAX_VALUES: usize = 1000;
/// Characters of a pattern.
const MAX_PATTERN: usize = 200;
/// What Postgres can be asked to read text as; its own list, which no tenant can change.
const LANGUAGES: [&str; 29] = [
    "simple",
    "arabic",
    "armenian",
    "basque",
    "catalan",
    "danish",
    "dutch",
    "english",
    "finnish",
    "french",
    "german",
    "greek",
    "hindi",
    "hungarian",
    "indonesian",
    "irish",
    "italian",
    "lithuanian",
    "nepali",
    "norwegian",
    "portuguese",
    "romanian",
    "russian",
    "serbian",
    "spanish",
    "swedish",
    "tamil",
    "turkish",
    "yiddish",
];

/// A test of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// What is tested.
    pub subject: Subject,
    /// Whether the test must fail.
    pub negated: bool,
    /// The test.
    pub test: Test,
}

/// What is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// Against a value.
    Compare(Comparison, String),
    /// Against several values, of which one or all must do.
    Each(Comparison, Quantifier, Vec<String>),
    /// Whether it is one of these values.
    In(Vec<String>),
    /// For NULL.
    Null,
    /// For this truth value; NULL is neither.
    Truth(bool),
    /// Whether it is another value, NULL being one.
    Distinct(String),
    /// Whether the JSON holds this JSON.
    Contains(String),
    /// Whether this JSON holds the JSON.
    ContainedIn(String),
    /// Whether one of these is a text in the JSON array, or a key of the JSON object.
    Overlaps(Vec<String>),
    /// Whether words are in the text.
    Words(Words),
}

/// A search for words in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// How the query is read.
    pub syntax: Syntax,
    /// The language, unless it is the server's usual one.
    pub language: Option<&'static str>,
    /// The query.
    pub query: String,
}

/// How a query for words is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// With `&`, `|`, `!` and `<->`.
    Query,
    /// As words that must all be there.
    Plain,
    /// As a phrase.
    Phrase,
    /// As people write to a search engine.
    Web,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the operators of SQL")]
pub enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Like,
    LikeAnyCase,
    Matches,
    MatchesAnyCase,
}

/// How many of several values must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantifier {
    /// At least one.
    Any,
    /// Each.
    All,
}

/// An operator with what stands before its value: `not.eq(any).`.
#[derive(Debug)]
pub(super) struct Operator<'a> {
    negated: bool,
    name: &'a str,
    modifier: Option<&'a str>,
}

impl<'a> Operator<'a> {
    /// Reads it, and the dot behind it.
    pub fn read(text: &mut Text<'a>) -> Result<Self, String> {
        let negated = text.take("not.");
        let name = text.until(&['.', '(', ',', ')']);
        let modifier = text.take("(").then(|| text.until(&[')']));
        let closed = modifier.is_none() || text.take(")");
        if closed && text.take(".") {
            Ok(Self { negated, name, modifier })
        } else {
            Err(format!(
                "write operator.value, as eq.{}; not. may come before it",
                shown(if name.is_empty() { "value" } else { name })
            ))
        }
    }

    /// Whether it is `is.null` or `not.is.null`; then whether it is negated.
    pub fn is_null(&self, operand: &str) -> Option<bool> {
        (self.name == "is" && self.modifier.is_none() && operand == "null").then_some(self.negated)
    }

    /// The filter with this operand.
    pub fn filter(self, subject: Subject, kind: Kind<'_>, operand: &str) -> Result<Filter, String> {
        let (mut negated, test) = (self.negated, self.test(kind, operand)?);
        if self.name == "is" && operand == "not_null" {
            negated = !negated;
        }
        Ok(Filter { subject, negated, test })
    }

    fn test(&self, kind: Kind<'_>, operand: &str) -> Result<Test, String> {
        if let Some(comparison) = comparison(self.name) {
            return self.compare(kind, comparison, operand);
        }
        if let Some(syntax) = syntax(self.name) {
            if !kind.is_text() {
                return Err(format!("{} needs a field that holds text", self.name));
            }
            let language = self.modifier.map(language).transpose()?;
            return Ok(Test::Words(Words { syntax, language, query: value::of(Kind::Text, operand)? }));
        }
        if let Some(modifier) = self.modifier {
            return Err(format!("{} takes no ({})", shown(self.name), shown(modifier)));
        }
        let boolean = matches!(kind, Kind::Column(column) if column.sql_type == SqlType::Boolean);
        match self.name {
            "in" => {
                let values = bounded(text::values(operand, '(', ')')?)?;
                Ok(Test::In(values.iter().map(|text| value::of(kind, text)).collect::<Result<_, _>>()?))
            }
            "is" => match operand {
                "null" | "not_null" => Ok(Test::Null),
                "unknown" if boolean => Ok(Test::Null),
                "true" | "false" if boolean => Ok(Test::Truth(operand == "true")),
                _ => Err("use is.null or is.not_null, or is.true and is.false with a Boolean".into()),
            },
            "isdistinct" => value::of(kind, operand).map(Test::Distinct),
            "cs" | "cd" | "ov" if !kind.is_json() => {
                Err(format!("{} needs a field that holds JSON or a list", self.name))
            }
            "cs" => value::contained(operand).map(Test::Contains),
            "cd" => value::contained(operand).map(Test::ContainedIn),
            "ov" => value::array(operand).and_then(bounded).map(Test::Overlaps),
            "sl" | "sr" | "nxl" | "nxr" | "adj" => {
                Err(format!("{} compares ranges, and no type of field holds one", self.name))
            }
            other => Err(format!(
                "{:?} is no operator; use eq, neq, gt, gte, lt, lte, like, ilike, match, imatch, in, is, isdistinct, \
                 fts, plfts, phfts, wfts, cs, cd or ov",
                shown(other)
            )),
        }
    }

    fn compare(&self, kind: Kind<'_>, comparison: Comparison, operand: &str) -> Result<Test, String> {
        if comparison.is_pattern() && !kind.is_text() {
            return Err(format!("{} needs a field that holds text", self.name));
        }
        let value = |text: &str| match comparison {
            Comparison::Like | Comparison::LikeAnyCase => pattern(text).map(|text| text.replace('*', "%")),
            Comparison::Matches | Comparison::MatchesAnyCase => pattern(text),
            _ => value::of(kind, text),
        };
        let quantifier = match self.modifier {
            None => return Ok(Test::Compare(comparison, value(operand)?)),
            Some(_) if comparison == Comparison::NotEqual => {
                return Err("neq takes no (any) or (all); use not.eq(any)".into());
            }
            Some("any") => Quantifier::Any,
            Some("all") => Quantifier::All,
            Some(other) => return Err(format!("({}) is neither (any) nor (all)", shown(other))),
        };
        let values = bounded(text::values(operand, '{', '}')?)?;
        let values = values.iter().map(|text| value(text)).collect::<Result<_, _>>()?;
        Ok(Test::Each(comparison, quantifier, values))
    }
}

impl Comparison {
    fn is_pattern(self) -> bool {
        matches!(self, Self::Like | Self::LikeAnyCase | Self::Matches | Self::MatchesAnyCase)
    }
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "eq" => Comparison::Equal,
        "neq" => Comparison::NotEqual,
        "gt" => Comparison::Greater,
        "gte" => Comparison::GreaterOrEqual,
        "lt" => Comparison::Less,
        "lte" => Comparison::LessOrEqual,
        "like" => Comparison::Like,
        "ilike" => Comparison::LikeAnyCase,
        "match" => Comparison::Matches,
        "imatch" => Comparison::MatchesAnyCase,
        _ => return None,
    })
}

fn syntax(name: &str) -> Option<Syntax> {
    Some(match name {
        "fts" => Syntax::Query,
        "plfts" => Syntax::Plain,
        "phfts" => Syntax::Phrase,
        "wfts" => Syntax::Web,
        _ => return None,
    })
}

fn language(name: &str) -> Result<&'static str, String> {
    LANGUAGES
        .into_iter()
        .find(|known| *known == name)
        .ok_or_else(|| format!("{:?} is no language; use one of {}", shown(name), LANGUAGES.join(", ")))
}

fn bounded(values: Vec<String>) -> Result<Vec<String>, String> {
    if values.len() <= MAX_VALUES { Ok(values) } else { Err(format!("use at most {MAX_VALUES} values")) }
}

fn pattern(text: &str) -> Result<String, String> {
    if text.chars().count() > MAX_PATTERN || text.contains('\0') {
        return Err(format!("use a pattern of at most {MAX_PATTERN} characters"));
    }
    // A backslash at the end would escape nothing, which Postgres refuses.
    if text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1 {
        return Err("end the pattern with something other than a single backslash".into());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_end_well() {
        assert_eq!(pattern("*a\\\\").unwrap(), "*a\\\\");
        assert!(pattern("a\\").is_err());
        assert!(pattern(&"x".repeat(201)).is_err());
    }

    #[test]
    fn an_operator_is_read_with_what_belongs_to_it() {
        let read = |text| {
            let mut text = Text::new(text);
            Operator::read(&mut text).map(|o| (o.negated, o.name, o.modifier, text.rest()))
        };
        assert_eq!(read("eq.a.b").unwrap(), (false, "eq", None, "a.b"));
        assert_eq!(read("not.like(any).{a,b}").unwrap(), (true, "like", Some("any"), "{a,b}"));
        assert_eq!(read("fts(english).x").unwrap(), (false, "fts", Some("english"), "x"));
        for wrong in ["eq", "", "not.", "eq(any", "eq(any){a}", "eq,1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
