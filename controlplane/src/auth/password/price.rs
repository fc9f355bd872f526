//! What a hash costs, read from its parameters. Pure.
//!
//! Times are those of one core of a server of today, in a release build. They need not be exact: they say how much of its share a
//! tenant has used up, and which hashes would hold a core for too long.

use super::stored::{Digest, Stored};

/// The longest that checking one hash may take, in microseconds.
const MAX_MICROS: u64 = 1_000_000;
/// The most memory that checking one hash may take.
pub(super) const MAX_MEMORY_KIB: u32 = 64 * 1024;
/// Of hashes that take longer than this, in microseconds, one is worked on at a time.
const COSTLY_MICROS: u64 = 250_000;

/// What a piece of work costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Price {
    /// Time on a core.
    pub micros: u64,
    /// Memory while it runs.
    pub memory_kib: u32,
}

impl Price {
    /// Of Argon2 with `memory_kib`, `iterations` times.
    pub const fn argon2(memory_kib: u32, iterations: u32) -> Self {
        // 0.75 µs for each KiB and pass.
        Self {
            micros: (memory_kib as u64).saturating_mul(iterations as u64).saturating_mul(3) / 4,
            memory_kib,
        }
    }

    /// Of checking a password against `stored`.
    pub fn of(stored: &Stored<'_>) -> Self {
        let time = |micros| Self { micros, memory_kib: 0 };
        match stored {
            Stored::Argon2 { memory_kib, iterations, .. } => Self::argon2(*memory_kib, *iterations),
            Stored::Bcrypt { cost, .. } => {
                time(1_u64.checked_shl(*cost).unwrap_or(u64::MAX).saturating_mul(50))
            }
            Stored::Pbkdf2 { digest, rounds, hash, .. } => {
                // One derivation for each block of the hash; 0.4 µs and 0.5 µs a round.
                let (block, tenths) = match digest {
                    Digest::Sha256 => (32, 4),
                    Digest::Sha512 => (64, 5),
                };
                time(u64::from(*rounds) * hash.len().div_ceil(block) as u64 * tenths / 10)
            }
        }
    }

    /// Of this and then `other`.
    pub fn then(self, other: Self) -> Self {
        Self {
            micros: self.micros.saturating_add(other.micros),
            memory_kib: self.memory_kib.max(other.memory_kib),
        }
    }

    /// Whether a hash of this price is checked at all, where the hashes made here cost `own`.
    pub fn is_payable(self, own: Self) -> bool {
        self.micros <= MAX_MICROS.max(own.micros) && self.memory_kib <= MAX_MEMORY_KIB.max(own.memory_kib)
    }

    /// Whether it holds a core for so long that others must be sure of another one, where the hashes made here cost `own`.
    pub fn is_costly(self, own: Self) -> bool {
        self.micros > COSTLY_MICROS.max(own.micros.saturating_mul(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Price = Price::argon2(19 * 1024, 2);

    fn price(stored: &str) -> Option<Price> {
        Stored::parse(stored).map(|stored| Price::of(&stored))
    }

    #[test]
    fn hashes_of_other_systems_are_payable_with_their_usual_parameters() {
        let hash = "A".repeat(43);
        let argon2 = |parameters: &str| format!("$argon2id$v=19${parameters}$c2FsdHNhbHQ${hash}");
        let pbkdf2 = |rounds: u32| format!("pbkdf2_sha256${rounds}$salt${hash}=");
        let bcrypt =
            |cost: u32| format!("$2b${cost:02}$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG");
        // RFC 9106's second choice; OWASP's; Django's PBKDF2 of today; what most others use.
        for usual in
            [argon2("m=65536,t=3,p=4"), argon2("m=47104,t=1,p=1"), pbkdf2(1_200_000), bcrypt(10), bcrypt(14)]
        {
            assert!(price(&usual).unwrap().is_payable(OWN), "{usual}");
        }
        for dear in [
            argon2("m=262144,t=1,p=1"),
            argon2("m=65536,t=100,p=1"),
            argon2("m=4294967295,t=4294967295,p=1"),
            pbkdf2(5_000_000),
            bcrypt(15),
            bcrypt(31),
        ] {
            assert!(!price(&dear).unwrap().is_payable(OWN), "{dear}");
        }
        assert!(!OWN.is_costly(OWN) && !price(&bcrypt(12)).unwrap().is_costly(OWN));
        assert!(
            price(&bcrypt(13)).unwrap().is_costly(OWN) && price(&pbkdf2(1_200_000)).unwrap().is_costly(OWN)
        );
    }

    #[test]
    fn a_longer_derived_hash_costs_more_rounds() {
        let of = |bytes: usize| {
            let stored = Stored::Pbkdf2 {
                digest: Digest::Sha256,
                rounds: 1000,
                salt: Vec::new(),
                hash: vec![0; bytes],
            };
            Price::of(&stored).micros
        };
        assert_eq!((of(32), of(33), of(64)), (400, 800, 800));
    }

    #[test]
    fn what_is_made_here_is_payable_whatever_it_costs() {
        let own = Price::argon2(256 * 1024, 16);
        assert!(own.is_payable(own) && !own.is_payable(OWN) && !own.is_costly(own));
    }
}
