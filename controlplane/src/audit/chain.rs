//! Whether a chain, its rows and its head agree.

use std::fmt;

use super::canonical::{Digest, Entry, GENESIS, Head, Seal, SealKey};

/// Findings of one tenant that are kept; more are only counted.
const KEPT: usize = 100;

/// Something that is not as it was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A row says something else than when it was sealed.
    Changed { id: i64 },
    /// A row that was sealed is gone.
    Removed { id: i64 },
    /// A row is in no seal, though all of its time are.
    Inserted { id: i64 },
    /// A seal says something else than when it was made.
    SealChanged { seal: i64 },
    /// A seal does not continue the one before it.
    Unlinked { seal: i64 },
    /// Seals are gone.
    SealsMissing { first: i64, last: i64 },
    /// A seal comes after the one that the head calls the last.
    PastHead { seal: i64 },
    /// There are seals and no head.
    HeadMissing,
    /// The head is not about the last seal.
    HeadWrong,
    /// The head was not signed with the key it names.
    HeadForged,
    /// The head was signed with another key than ours: it cannot be checked.
    OtherKey,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { id } => write!(f, "row {id} was changed"),
            Self::Removed { id } => write!(f, "row {id} was removed"),
            Self::Inserted { id } => write!(f, "row {id} was inserted: it is in no seal"),
            Self::SealChanged { seal } => write!(f, "seal {seal} was changed"),
            Self::Unlinked { seal } => write!(f, "seal {seal} does not continue the one before it"),
            Self::SealsMissing { first, last } if first == last => write!(f, "seal {first} was removed"),
            Self::SealsMissing { first, last } => write!(f, "seals {first} to {last} were removed"),
            Self::PastHead { seal } => write!(f, "seal {seal} comes after the last one by the head"),
            Self::HeadMissing => write!(f, "the head was removed"),
            Self::HeadWrong => write!(f, "the head is not about the last seal"),
            Self::HeadForged => write!(f, "the head's signature is wrong"),
            Self::OtherKey => {
                write!(f, "the head was signed with another key; if the key was changed, run `audit sign`")
            }
        }
    }
}

/// A head as it is stored.
#[derive(Debug, Clone)]
pub struct SignedHead {
    pub head: Head,
    pub key_id: Vec<u8>,
    pub mac: Vec<u8>,
}

impl SignedHead {
    /// What is wrong with the signature.
    pub fn finding(&self, role: &str, key: &SealKey) -> Option<Finding> {
        if self.key_id != key.id() {
            return Some(Finding::OtherKey);
        }
        (!key.verifies(role, &self.head, &self.mac)).then_some(Finding::HeadForged)
    }
}

/// Checks one tenant's chain, seal by seal.
#[derive(Debug)]
pub struct Check<'a> {
    role: &'a str,
    last: Head,
    findings: Vec<Finding>,
    found: usize,
}

/// What became of a [`Check`].
#[derive(Debug, PartialEq, Eq)]
pub struct Checked {
    /// The last seal that there is.
    pub last: Head,
    /// The first of the findings.
    pub findings: Vec<Finding>,
    /// How many there are in all.
    pub found: usize,
}

impl<'a> Check<'a> {
    /// A check of the chain of `role`.
    pub fn of(role: &'a str) -> Self {
        Self { role, last: Head::NONE, findings: Vec::new(), found: 0 }
    }

    /// The last seal that was handed in, as a head.
    pub fn last(&self) -> &Head {
        &self.last
    }

    /// Rows above this id are those of the next seal. Before the first one, all: ids below those of the sequence are nobody's.
    pub fn after(&self) -> i64 {
        if self.last.seal == 0 { i64::MIN } else { self.last.upto }
    }

    /// Takes in the next seal, and the rows with ids above the `upto` of the seal before and up to its own.
    pub fn seal(&mut self, seal: &Seal, rows: &[Entry]) {
        let gap = seal.seal > self.last.seal + 1;
        if gap {
            self.find(Finding::SealsMissing { first: self.last.seal + 1, last: seal.seal - 1 });
        }
        let expected = if self.last.seal == 0 { GENESIS } else { self.last.hash };
        let in_order = seal.entries.is_sorted_by(|a, b| a.id < b.id)
            && seal.entries.iter().all(|entry| (self.last.upto..=seal.upto).contains(&entry.id));
        if seal.hash_of(self.role) != seal.hash || !in_order {
            self.find(Finding::SealChanged { seal: seal.seal });
        } else if !gap && seal.previous != expected {
            self.find(Finding::Unlinked { seal: seal.seal });
        }
        self.rows(&seal.entries, rows);
        self.last = Head {
            seal: seal.seal,
            rows: self.last.rows + i64::try_from(seal.entries.len()).unwrap_or(i64::MAX),
            upto: seal.upto,
            hash: seal.hash,
        };
    }

    /// Ends the check: `head` as it is stored, and the ids of rows above the last seal that should be sealed by now.
    pub fn finish(mut self, head: Option<&SignedHead>, key: &SealKey, unsealed: &[i64]) -> Checked {
        for id in unsealed {
            self.find(Finding::Inserted { id: *id });
        }
        match head {
            None if self.last.seal > 0 => self.find(Finding::HeadMissing),
            None => {}
            Some(signed) => {
                let (head, last) = (&signed.head, self.last.clone());
                if head.seal > last.seal {
                    self.find(Finding::SealsMissing { first: last.seal + 1, last: head.seal });
                } else if head.seal < last.seal {
                    self.find(Finding::PastHead { seal: head.seal + 1 });
                } else if *head != last {
                    self.find(Finding::HeadWrong);
                }
                if let Some(finding) = signed.finding(self.role, key) {
                    self.find(finding);
                }
            }
        }
        Checked { last: self.last, findings: self.findings, found: self.found }
    }

    /// Compares what was sealed with what is there, both by ascending id.
    fn rows(&mut self, sealed: &[Entry], rows: &[Entry]) {
        let mut rows = rows.iter().peekable();
        for entry in sealed {
            while let Some(row) = rows.next_if(|row| row.id < entry.id) {
                self.find(Finding::Inserted { id: row.id });
            }
            match rows.next_if(|row| row.id == entry.id) {
                Some(row) if row.digest == entry.digest => {}
                Some(_) => self.find(Finding::Changed { id: entry.id }),
                None => self.find(Finding::Removed { id: entry.id }),
            }
        }
        for row in rows {
            self.find(Finding::Inserted { id: row.id });
        }
    }

    fn find(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < KEPT {
            self.findings.push(finding);
        }
    }
}

/// The seal that continues `head` with `entries`.
pub fn next(role: &str, head: &Head, upto: i64, entries: Vec<Entry>, sealed_micros: i64) -> (Seal, Head) {
    let none: Digest = [0; 32];
    let mut seal =
        Seal { seal: head.seal + 1, upto, entries, sealed_micros, previous: head.hash, hash: none };
    seal.hash = seal.hash_of(role);
    let rows = head.rows + i64::try_from(seal.entries.len()).unwrap_or(i64::MAX);
    let head = Head { seal: seal.seal, rows, upto, hash: seal.hash };
    (seal, head)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    const ROLE: &str = "tenant_acme";

    struct Journal {
        seals: Vec<Seal>,
        head: Option<SignedHead>,
        rows: Vec<Entry>,
    }

    fn key() -> SealKey {
        SealKey::derive(&SecretString::from("secret"))
    }

    fn entry(id: i64) -> Entry {
        Entry { id, digest: [u8::try_from(id).unwrap(); 32] }
    }

    fn signed(head: Head) -> SignedHead {
        SignedHead { key_id: key().id().to_vec(), mac: key().sign(ROLE, &head), head }
    }

    /// Rows 1, 3, 5 and 7, 9 and 12 in three seals.
    fn journal() -> Journal {
        let batches: [(&[i64], i64); 3] = [(&[1, 3, 5], 6), (&[7, 9], 10), (&[12], 20)];
        let (mut head, mut seals, mut rows) = (Head::NONE, Vec::new(), Vec::new());
        for (ids, upto) in batches {
            let entries: Vec<_> = ids.iter().map(|id| entry(*id)).collect();
            rows.extend(entries.clone());
            let (seal, next) = next(ROLE, &head, upto, entries, 1000);
            seals.push(seal);
            head = next;
        }
        Journal { seals, head: Some(signed(head)), rows }
    }

    fn findings(journal: &Journal) -> Vec<Finding> {
        let mut check = Check::of(ROLE);
        for seal in &journal.seals {
            let after = check.after();
            let rows: Vec<_> =
                journal.rows.iter().filter(|row| row.id > after && row.id <= seal.upto).copied().collect();
            check.seal(seal, &rows);
        }
        let after = check.after();
        let unsealed: Vec<_> = journal.rows.iter().map(|row| row.id).filter(|id| *id > after).collect();
        check.finish(journal.head.as_ref(), &key(), &unsealed).findings
    }

    fn after(change: impl FnOnce(&mut Journal)) -> Vec<Finding> {
        let mut journal = journal();
        change(&mut journal);
        findings(&journal)
    }

    #[test]
    fn a_journal_that_nobody_touched_has_no_findings() {
        assert_eq!(after(|_| ()), []);
        assert_eq!(findings(&Journal { seals: vec![], head: None, rows: vec![] }), []);
    }

    #[test]
    fn a_row_that_was_changed_removed_or_inserted_is_named() {
        assert_eq!(after(|j| j.rows[1].digest = [9; 32]), [Finding::Changed { id: 3 }]);
        assert_eq!(after(|j| _ = j.rows.remove(4)), [Finding::Removed { id: 9 }]);
        assert_eq!(after(|j| _ = j.rows.pop()), [Finding::Removed { id: 12 }]);
        assert_eq!(after(|j| j.rows.insert(1, entry(2))), [Finding::Inserted { id: 2 }]);
        assert_eq!(
            after(|j| j.rows.insert(0, Entry { id: -1, digest: [0; 32] })),
            [Finding::Inserted { id: -1 }]
        );
        assert_eq!(after(|j| j.rows.insert(5, entry(11))), [Finding::Inserted { id: 11 }]);
        assert_eq!(after(|j| j.rows.push(entry(21))), [Finding::Inserted { id: 21 }]);
    }

    #[test]
    fn a_row_that_is_changed_with_its_entry_is_found_by_the_seal() {
        let found = after(|j| {
            j.rows[3].digest = [9; 32];
            j.seals[1].entries[0].digest = [9; 32];
        });
        assert_eq!(found, [Finding::SealChanged { seal: 2 }]);
        let rehashed = after(|j| {
            j.rows[3].digest = [9; 32];
            j.seals[1].entries[0].digest = [9; 32];
            j.seals[1].hash = j.seals[1].hash_of(ROLE);
        });
        assert_eq!(rehashed, [Finding::Unlinked { seal: 3 }]);
    }

    #[test]
    fn a_chain_that_is_made_anew_lacks_the_signature() {
        let found = after(|j| {
            let entries = vec![entry(1)];
            let (seal, head) = next(ROLE, &Head::NONE, 20, entries.clone(), 1000);
            (j.seals, j.rows) = (vec![seal], entries);
            j.head.as_mut().unwrap().head = head;
        });
        assert_eq!(found, [Finding::HeadForged]);
    }

    #[test]
    fn an_end_that_is_cut_off_is_missed() {
        let cut = after(|j| {
            j.seals.pop();
            j.rows.pop();
        });
        assert_eq!(cut, [Finding::SealsMissing { first: 3, last: 3 }]);
        let middle = after(|j| {
            j.seals.remove(1);
            j.rows.drain(3..5);
        });
        assert_eq!(middle, [Finding::SealsMissing { first: 2, last: 2 }, Finding::HeadWrong]);
        assert_eq!(after(|j| j.head = None), [Finding::HeadMissing]);
        let rewound = after(|j| {
            let (seal, head) = next(ROLE, &Head::NONE, 6, j.seals[0].entries.clone(), 1000);
            assert_eq!(seal, j.seals[0]);
            j.head = Some(signed(head));
        });
        assert_eq!(rewound, [Finding::PastHead { seal: 2 }]);
    }

    #[test]
    fn a_key_that_is_not_ours_is_no_proof() {
        let found = after(|j| j.head.as_mut().unwrap().key_id = vec![0; 8]);
        assert_eq!(found, [Finding::OtherKey]);
    }
}
