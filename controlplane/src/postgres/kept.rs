//! The rows of a group while they arrive. What they take of the memory budget is taken in steps, each before its rows are kept, so
//! that no row asks for itself.

use bytes::Bytes;

use super::{
    error::DatabaseError,
    reply::{Reply, Row},
    statement::Access,
};
use crate::load::{Full, Load};

/// Bytes that the rows of one answer may have.
pub(super) const MAX_REPLY_BYTES: usize = 32 * 1024 * 1024;
/// Bytes that a row takes beside its own: rows without columns are an answer, too.
const ROW_COST: usize = size_of::<Row>();
/// Bytes that are taken when all are there, since most answers have less.
const FREE: usize = 64 * 1024;
/// Bytes that are taken at once of larger answers.
const STEP: usize = 256 * 1024;

/// The rows of a group, as far as there is room for them. Dropped, they give their memory back.
#[derive(Debug)]
pub(super) struct Kept {
    load: Load,
    rows: Vec<Row>,
    bytes: usize,
    /// Of the load's memory.
    taken: usize,
    dropped: Option<Dropped>,
}

/// Why there are no rows any more, and further ones are not kept.
#[derive(Debug, Clone, Copy)]
enum Dropped {
    TooLarge,
    NoMemory(Full),
}

impl Kept {
    /// None yet, of a group whose rows `load` pays for.
    pub fn new(load: Load) -> Self {
        Self { load, rows: Vec::new(), bytes: 0, taken: 0, dropped: None }
    }

    /// Takes the body of a row in.
    pub fn add(&mut self, body: Bytes) {
        if self.dropped.is_some() {
            return;
        }
        self.bytes += body.len() + ROW_COST;
        if self.bytes > MAX_REPLY_BYTES {
            self.drop_all(Dropped::TooLarge);
        } else if let Err(full) = self.take() {
            self.drop_all(Dropped::NoMemory(full));
        } else {
            self.rows.push(Row::new(body));
        }
    }

    /// One of them is larger than all may be.
    pub fn too_large(&mut self) {
        self.drop_all(Dropped::TooLarge);
    }

    /// What the group came to when nothing but its rows can be wrong. From then on it is the load that has their memory.
    pub fn into_reply(mut self, access: Access) -> Result<Reply, DatabaseError> {
        if self.dropped.is_none()
            && let Err(full) = self.settle(access)
        {
            self.drop_all(Dropped::NoMemory(full));
        }
        match (self.dropped, access) {
            (None, _) => {
                self.taken = 0;
                Ok(Reply { rows: std::mem::take(&mut self.rows) })
            }
            (Some(Dropped::TooLarge), _) => Err(DatabaseError::ReplyTooLarge { limit: MAX_REPLY_BYTES }),
            (Some(Dropped::NoMemory(full)), Access::Read) => Err(DatabaseError::NoMemory(full)),
            (Some(Dropped::NoMemory(_)), Access::Write) => Err(DatabaseError::Untold),
        }
    }

    /// Takes memory for more than is free.
    fn take(&mut self) -> Result<(), Full> {
        let wanted = self.bytes.saturating_sub(FREE).next_multiple_of(STEP);
        if wanted > self.taken {
            self.load.take(wanted - self.taken)?;
            self.taken = wanted;
        }
        Ok(())
    }

    /// Has as much memory as the rows, which are all there.
    fn settle(&mut self, access: Access) -> Result<(), Full> {
        if self.taken > self.bytes {
            self.load.release(self.taken - self.bytes);
        } else if access == Access::Read {
            self.load.take(self.bytes - self.taken)?;
        } else {
            // It has happened, and this is little.
            self.load.hold_anyway(self.bytes - self.taken);
        }
        self.taken = self.bytes;
        Ok(())
    }

    fn drop_all(&mut self, why: Dropped) {
        self.dropped = Some(why);
        self.rows = Vec::new();
        self.load.release(std::mem::take(&mut self.taken));
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.load.release(self.taken);
    }
}
