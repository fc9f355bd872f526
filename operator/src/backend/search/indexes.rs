//! What is known of the engine's indexes: one list of them, and the engine's own log of who changed settings. Reading the
//! settings of each would open each of them, every time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Engine, engine::SettingsTask};
use crate::error::Error;

/// Indexes whose settings are read after one look, because the engine's log does not tell them. The rest comes later.
const READS_AT_ONCE: usize = 500;

/// What is known of the engine's indexes.
#[derive(Debug, Default)]
pub struct Indexes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The last look succeeded.
    current: bool,
    /// Tasks up to this one are known.
    seen: Option<u64>,
    /// When each index that is there was created.
    there: HashMap<String, String>,
    /// A digest of the settings of each, where the log or a look tells.
    settings: HashMap<String, u64>,
    /// Which index was in place, by its creation, after how many passes over its tenant.
    ours: HashMap<Box<str>, (String, u64)>,
    /// Settings that may still be read.
    reads: usize,
}

/// A search index that a tenant should have.
#[derive(Debug, Clone)]
pub struct WantedIndex {
    /// Its uid.
    pub uid: Box<str>,
    /// The digest of its settings.
    pub settings: u64,
}

/// What is wrong with an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not there.
    Missing,
    /// Another one has its name.
    Replaced,
    /// It has other settings.
    Settings,
}

/// How an index is, as far as memory tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Known(Option<Fault>),
    /// The settings have to be read.
    Unsure,
}

impl Indexes {
    /// Asks the engine what is there and what changed since the last time.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn look(&self, engine: &Engine) -> Result<(), Error> {
        let seen = {
            let mut known = self.known();
            known.current = false;
            known.seen
        };
        // The log first: what changes between the two is looked at again.
        let log = engine.settings_tasks(seen).await?;
        let there = engine.indexes().await?;
        self.known().take(log, there);
        Ok(())
    }

    /// What is wrong with the index of a tenant that had `passes`; nothing either when the last look failed.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn check(
        &self,
        engine: &Engine,
        wanted: &WantedIndex,
        passes: u64,
    ) -> Result<Option<Fault>, Error> {
        {
            let mut known = self.known();
            match known.state(wanted, passes) {
                _ if !known.current => return Ok(None),
                State::Known(fault) => return Ok(fault),
                State::Unsure if known.reads == 0 => return Ok(None),
                State::Unsure => known.reads -= 1,
            }
        }
        let Some(settings) = engine.settings(&wanted.uid).await? else { return Ok(Some(Fault::Missing)) };
        let digest = settings.digest();
        self.known().settings.insert((*wanted.uid).to_owned(), digest);
        Ok((digest != wanted.settings).then_some(Fault::Settings))
    }

    /// Whether the index was in place as ours at the last look that saw it.
    pub fn was_ours(&self, uid: &str) -> bool {
        let known = self.known();
        known.ours.get(uid).is_some_and(|(created, _)| known.there.get(uid) == Some(created))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn take(&mut self, log: Vec<SettingsTask>, there: HashMap<String, String>) {
        let mut upto = log.iter().map(|task| task.task).max().or(self.seen);
        // Newest first: what the newest says of an index holds.
        for task in log.into_iter().rev() {
            if !task.ended {
                upto = upto.min(task.task.checked_sub(1));
                continue;
            }
            match task.settings {
                Some(digest) => self.settings.insert(task.index, digest),
                None => self.settings.remove(&task.index),
            };
        }
        // Settings go with the index that had them.
        let replaced = |uid: &str| self.there.get(uid).is_some_and(|old| there.get(uid) != Some(old));
        self.settings.retain(|uid, _| there.contains_key(uid) && !replaced(uid));
        self.ours.retain(|uid, _| there.contains_key(&**uid));
        (self.seen, self.there, self.current, self.reads) = (upto, there, true, READS_AT_ONCE);
    }

    fn state(&mut self, wanted: &WantedIndex, passes: u64) -> State {
        let Some(created) = self.there.get(&*wanted.uid) else { return State::Known(Some(Fault::Missing)) };
        match self.ours.get(&*wanted.uid) {
            Some((ours, then)) if ours != created && *then == passes => {
                return State::Known(Some(Fault::Replaced));
            }
            Some((_, then)) if *then == passes => {}
            // A pass may have made it again.
            _ => {
                self.ours.insert(wanted.uid.clone(), (created.clone(), passes));
            }
        }
        if self.settings.get(&*wanted.uid) == Some(&wanted.settings) {
            State::Known(None)
        } else {
            State::Unsure
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(uid: &str, settings: u64) -> WantedIndex {
        WantedIndex { uid: uid.into(), settings }
    }

    fn task(task: u64, index: &str, settings: Option<u64>) -> SettingsTask {
        SettingsTask { task, index: index.into(), settings, ended: true }
    }

    fn there(all: &[(&str, &str)]) -> HashMap<String, String> {
        all.iter().map(|(uid, at)| ((*uid).to_owned(), (*at).to_owned())).collect()
    }

    #[test]
    fn the_log_tells_settings_without_a_look() {
        let mut indexes = Known::default();
        indexes.take(
            vec![task(3, "b", Some(9)), task(2, "a", Some(2)), task(1, "a", Some(1))],
            there(&[("a", "t"), ("b", "t"), ("c", "t")]),
        );
        assert_eq!(indexes.state(&wanted("a", 2), 1), State::Known(None));
        assert_eq!(indexes.state(&wanted("b", 1), 1), State::Unsure, "someone changed it");
        assert_eq!(indexes.state(&wanted("c", 1), 1), State::Unsure, "the log has forgotten it");
        assert_eq!(indexes.state(&wanted("d", 1), 1), State::Known(Some(Fault::Missing)));
        indexes.settings.insert("c".into(), 1);
        assert_eq!(indexes.state(&wanted("c", 1), 1), State::Known(None));
        indexes.take(vec![task(4, "a", None)], there(&[("a", "t"), ("c", "t")]));
        assert_eq!(indexes.state(&wanted("a", 2), 1), State::Unsure, "part of it was changed");
        assert_eq!(indexes.state(&wanted("c", 1), 1), State::Known(None));
        assert_eq!(indexes.seen, Some(4));
    }

    #[test]
    fn what_has_not_ended_is_asked_for_again() {
        let mut indexes = Known::default();
        let running = SettingsTask { ended: false, ..task(6, "a", Some(2)) };
        indexes.take(
            vec![task(7, "b", Some(1)), running, task(5, "a", Some(1))],
            there(&[("a", "t"), ("b", "t")]),
        );
        assert_eq!(indexes.seen, Some(5));
        assert_eq!(indexes.state(&wanted("a", 1), 1), State::Known(None));
    }

    #[test]
    fn an_index_that_was_made_again_is_replaced_unless_a_pass_did_it() {
        let mut indexes = Known::default();
        indexes.take(vec![task(1, "a", Some(1))], there(&[("a", "t")]));
        assert_eq!(indexes.state(&wanted("a", 1), 1), State::Known(None));
        indexes.take(vec![], there(&[("a", "later")]));
        assert_eq!(indexes.state(&wanted("a", 1), 1), State::Known(Some(Fault::Replaced)));
        assert_eq!(indexes.state(&wanted("a", 1), 2), State::Unsure, "ours by now");
        indexes.settings.insert("a".into(), 1);
        assert_eq!(indexes.state(&wanted("a", 1), 2), State::Known(None));
    }
}
