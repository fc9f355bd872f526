//! The search engine's indexes: one list of them, and the engine's own log of who changed settings. Reading each index would
//! open each of them, every time.

use std::collections::HashMap;

use super::{finding::Finding, memory::WantedIndex};
use crate::{
    backend::{
        Backends,
        search::{Engine, SettingsTask},
    },
    error::Error,
};

/// Indexes whose settings are read in one round, because the engine's log does not tell them. The rest comes in later ones.
const READS_AT_ONCE: usize = 500;

/// What is known of the engine's indexes.
#[derive(Debug, Default)]
pub struct Indexes {
    /// Tasks up to this one are known.
    seen: Option<u64>,
    /// When each index that is there was created.
    there: HashMap<String, String>,
    /// A digest of the settings of each, where the log or a look tells.
    settings: HashMap<String, u64>,
    /// Which index was in place, by its creation, after how many passes over its tenant.
    ours: HashMap<Box<str>, (String, u64)>,
    /// Settings that may still be read in this round.
    reads: usize,
}

/// How an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    InPlace,
    /// Not there.
    Missing,
    /// Another one under the same name.
    Replaced,
    /// There; its settings have to be read.
    Unsure,
}

impl Indexes {
    /// Asks the engine what is there and what changed since the last time.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn look(&mut self, engine: &Engine) -> Result<(), Error> {
        // The log first: what changes between the two is looked at again.
        let log = engine.settings_tasks(self.seen).await?;
        let there = engine.indexes().await?;
        self.take(log, there);
        self.reads = READS_AT_ONCE;
        Ok(())
    }

    /// What is wrong with the index that a tenant should have, which had `passes`.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn check(
        &mut self,
        backends: &Backends,
        wanted: &WantedIndex,
        passes: u64,
    ) -> Result<Option<Finding>, Error> {
        match self.state(wanted, passes) {
            State::InPlace => Ok(None),
            State::Missing => Ok(Some(Finding::of_index(&wanted.uid))),
            State::Replaced => {
                backends.search_tasks.replaced(&wanted.uid);
                Ok(Some(Finding::of_index(&wanted.uid)))
            }
            State::Unsure if self.reads == 0 => Ok(None),
            State::Unsure => {
                self.reads -= 1;
                let Some(settings) = backends.search()?.settings(&wanted.uid).await? else {
                    return Ok(Some(Finding::of_index(&wanted.uid)));
                };
                self.read(&wanted.uid, settings.digest());
                let same = settings.digest() == wanted.settings;
                Ok((!same).then(|| Finding::of_settings(&wanted.uid)))
            }
        }
    }

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
        self.seen = upto;
        // Settings go with the index that had them.
        let same = |uid: &str| {
            there.contains_key(uid) && self.there.get(uid).is_none_or(|old| there.get(uid) == Some(old))
        };
        self.settings.retain(|uid, _| same(uid));
        self.ours.retain(|uid, _| there.contains_key(&**uid));
        self.there = there;
    }

    /// How `wanted` is, whose tenant had `passes`.
    fn state(&mut self, wanted: &WantedIndex, passes: u64) -> State {
        let Some(created) = self.there.get(&*wanted.uid) else { return State::Missing };
        match self.ours.get(&*wanted.uid) {
            // A pass may have made it again.
            Some((ours, then)) if ours != created && *then == passes => return State::Replaced,
            Some((ours, then)) if ours == created && *then == passes => {}
            _ => {
                self.ours.insert(wanted.uid.clone(), (created.clone(), passes));
            }
        }
        if self.settings.get(&*wanted.uid) == Some(&wanted.settings) { State::InPlace } else { State::Unsure }
    }

    /// The settings of an index were read.
    fn read(&mut self, uid: &str, digest: u64) {
        self.settings.insert(uid.to_owned(), digest);
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
        let mut indexes = Indexes::default();
        indexes.take(
            vec![task(3, "b", Some(9)), task(2, "a", Some(2)), task(1, "a", Some(1))],
            there(&[("a", "t"), ("b", "t"), ("c", "t")]),
        );
        assert_eq!(indexes.state(&wanted("a", 2), 1), State::InPlace);
        assert_eq!(indexes.state(&wanted("b", 1), 1), State::Unsure, "someone changed it");
        assert_eq!(indexes.state(&wanted("c", 1), 1), State::Unsure, "the log has forgotten it");
        assert_eq!(indexes.state(&wanted("d", 1), 1), State::Missing);
        indexes.read("c", 1);
        assert_eq!(indexes.state(&wanted("c", 1), 1), State::InPlace);
        indexes.take(vec![task(4, "a", None)], there(&[("a", "t"), ("c", "t")]));
        assert_eq!(indexes.state(&wanted("a", 2), 1), State::Unsure, "part of it was changed");
        assert_eq!(indexes.state(&wanted("c", 1), 1), State::InPlace);
        assert_eq!(indexes.seen, Some(4));
    }

    #[test]
    fn what_has_not_ended_is_asked_for_again() {
        let mut indexes = Indexes::default();
        let running = SettingsTask { ended: false, ..task(6, "a", Some(2)) };
        indexes.take(
            vec![task(7, "b", Some(1)), running, task(5, "a", Some(1))],
            there(&[("a", "t"), ("b", "t")]),
        );
        assert_eq!(indexes.seen, Some(5));
        assert_eq!(indexes.state(&wanted("a", 1), 1), State::InPlace);
    }

    #[test]
    fn an_index_that_was_made_again_is_replaced_unless_a_pass_did_it() {
        let mut indexes = Indexes::default();
        indexes.take(vec![task(1, "a", Some(1))], there(&[("a", "t")]));
        assert_eq!(indexes.state(&wanted("a", 1), 1), State::InPlace);
        indexes.take(vec![], there(&[("a", "later")]));
        assert_eq!(indexes.state(&wanted("a", 1), 1), State::Replaced);
        assert_eq!(indexes.state(&wanted("a", 1), 2), State::Unsure, "ours by now");
        indexes.read("a", 1);
        assert_eq!(indexes.state(&wanted("a", 1), 2), State::InPlace);
    }
}
