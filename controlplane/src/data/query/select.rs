//! `select=id,title:name,meta->>city,customer(name),orders!inner(total)`.

use super::{
    level::{Embed, Level, Output},
    sight::Sight,
    subject::{Path, Subject},
    text::{Text, shown},
};
use crate::data::{
    model::{DocModel, Unlinked},
    permit::Allowed,
};

/// Documents in documents.
const MAX_DEPTH: usize = 4;
/// Embedded types of one query.
const MAX_EMBEDS: usize = 10;
/// Members of all levels together.
const MAX_OUTPUTS: usize = 500;

/// What ends a name.
const STOPS: [char; 7] = [',', ':', '(', ')', '!', '.', '*'];

/// Reads the levels that `text` asks for; without a text, all that the caller may read of `doc`.
pub(super) fn parse<'a>(
    sight: &Sight<'a>,
    doc: &'a DocModel,
    text: Option<&str>,
) -> Result<Level<'a>, String> {
    let mut level = Level::new(sight, doc);
    let Some(text) = text else {
        level.outputs = all(sight, doc).collect();
        return Ok(level);
    };
    let mut reading = Reading { sight, embeds: 0, outputs: 0 };
    let mut text = Text::new(text);
    reading.members(&mut text, &mut level, 0)?;
    if text.is_empty() { Ok(level) } else { Err(format!("nothing is expected at {:?}", shown(text.rest()))) }
}

fn all(sight: &Sight<'_>, doc: &DocModel) -> impl Iterator<Item = Output> {
    sight.columns(doc).into_iter().map(|n| Output::Subject { subject: Subject::column(n), key: None })
}

struct Reading<'s, 'a> {
    sight: &'s Sight<'a>,
    embeds: usize,
    outputs: usize,
}

impl<'a> Reading<'_, 'a> {
    fn members(&mut self, text: &mut Text<'_>, level: &mut Level<'a>, depth: usize) -> Result<(), String> {
        loop {
            self.member(text, level, depth)?;
            if !text.take(",") {
                return Ok(());
            }
        }
    }

    fn member(&mut self, text: &mut Text<'_>, level: &mut Level<'a>, depth: usize) -> Result<(), String> {
        if text.take("*") {
            for output in all(self.sight, level.doc) {
                self.add(level, output)?;
            }
            return Ok(());
        }
        if text.starts_with("...") {
            return Err("an embedded document cannot be spread (...) into the one around it".into());
        }
        let mut name = text.name(&STOPS)?;
        let mut alias = None;
        if text.starts_with(":") && !text.starts_with("::") {
            text.take(":");
            alias = Some(name.into_owned());
            name = text.name(&STOPS)?;
        }
        if text.starts_with("!") || text.starts_with("(") {
            return self.embed(text, level, depth, &name, alias);
        }
        let (column, model) = self.sight.column(level.doc, &name)?;
        let path = Path::read(text, &STOPS)?;
        if path.is_some() && !super::Kind::Column(model).is_json() {
            return Err(format!("{name} holds no JSON, so there is nothing for -> and ->> to go into"));
        }
        if text.starts_with("::") {
            return Err("casts (::) are refused: a field has one type".into());
        }
        if text.starts_with(".") {
            return Err("aggregates are not supported; Prefer: count=exact counts documents".into());
        }
        let last = path.as_ref().and_then(|path| path.steps.last().cloned());
        let key = alias.or(last).filter(|key| *key != model.name);
        self.add(level, Output::Subject { subject: Subject { column, path }, key })
    }

    fn embed(
        &mut self,
        text: &mut Text<'_>,
        level: &mut Level<'a>,
        depth: usize,
        name: &str,
        alias: Option<String>,
    ) -> Result<(), String> {
        let (mut hint, mut required) = (None, false);
        while text.take("!") {
            match text.name(&STOPS)?.as_ref() {
                "inner" => required = true,
                "left" => required = false,
                other => hint = Some(other.to_owned()),
            }
        }
        if !text.starts_with("(") {
            return Err(format!("write {name}(field,field)"));
        }
        let link = self.sight.catalog.links().find(level.doc, name, hint.as_deref()).map_err(|unlinked| {
            match unlinked {
                Unlinked::Unknown => format!(
                    "{:?} is neither a reference of this document type nor the plural of a type that is linked with it{}",
                    shown(name),
                    if hint.is_some() { " in that way" } else { "" }
                ),
                Unlinked::Ambiguous(hints) => {
                    format!("{name} can be reached in more than one way; use one of {}", hints.join(", "))
                }
            }
        })?;
        let key = alias.unwrap_or_else(|| name.to_owned());
        let mut inner = Level::new(self.sight, link.target);
        if inner.visible == Allowed::Denied {
            // The whole query is refused for it; what stands in the brackets would only be refused field by field.
            text.bracketed()?;
            level.embeds.push(Embed { key, link, required, level: inner });
            return Ok(());
        }
        if self.sight.comparable(link.owner(level.doc), link.field()).is_err() {
            return Err(format!("{:?} is no reference of this document type", shown(name)));
        }
        self.embeds += 1;
        if depth == MAX_DEPTH || self.embeds > MAX_EMBEDS {
            return Err(format!("embed at most {MAX_EMBEDS} documents, and at most {MAX_DEPTH} levels deep"));
        }
        text.take("(");
        // Nothing in the brackets: only filters and !inner use what is embedded.
        if !text.starts_with(")") {
            self.members(text, &mut inner, depth + 1)?;
        }
        if !text.take(")") {
            return Err(format!("a comma or a closing bracket is expected at {:?}", shown(text.rest())));
        }
        if level.embeds.iter().any(|embed| embed.key == key) {
            return Err(format!("{} is named twice; rename one, as other:{name}(...)", shown(&key)));
        }
        let shows = !inner.outputs.is_empty();
        level.embeds.push(Embed { key, link, required, level: inner });
        if shows { self.add(level, Output::Embed(level.embeds.len() - 1)) } else { Ok(()) }
    }

    fn add(&mut self, level: &mut Level<'a>, output: Output) -> Result<(), String> {
        self.outputs += 1;
        if self.outputs > MAX_OUTPUTS {
            return Err(format!("select at most {MAX_OUTPUTS} fields"));
        }
        let key = level.key(&output);
        if level.outputs.iter().any(|known| level.key(known) == key) {
            return Err(format!("{} is named twice; rename one, as other:{0}", shown(key)));
        }
        level.outputs.push(output);
        Ok(())
    }
}
