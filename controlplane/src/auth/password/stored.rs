//! The forms of stored hashes. Pure.

use base64::{
    Engine,
    alphabet::STANDARD as ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::price::Price;

/// The lengths of hashes that PBKDF2 may have made, in bytes.
const DERIVED: std::ops::RangeInclusive<usize> = 16..=64;
/// What bcrypt itself knows.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=31;

pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A hash that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    Argon2 { text: &'a str, memory_kib: u32, iterations: u32, lanes: u32 },
    Bcrypt { text: &'a str, cost: u32 },
    Pbkdf2 { digest: Digest, rounds: u32, salt: Vec<u8>, hash: Vec<u8> },
}

/// What PBKDF2 is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Digest {
    Sha256,
    Sha512,
}

impl<'a> Stored<'a> {
    /// Reads a hash; nothing for what is not understood.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.starts_with("$argon2id$") {
            let mut numbers =
                text.split('$').nth(3)?.split(',').map(|pair| pair.split_once('=')?.1.parse().ok());
            let (memory_kib, iterations, lanes) = (numbers.next()??, numbers.next()??, numbers.next()??);
            return Some(Self::Argon2 { text, memory_kib, iterations, lanes });
        }
        if text.starts_with("$2") {
            let cost = text.split('$').nth(2)?.parse().ok()?;
            return BCRYPT_COSTS.contains(&cost).then_some(Self::Bcrypt { text, cost });
        }
        pbkdf2(text)
    }
}

fn pbkdf2(text: &str) -> Option<Stored<'static>> {
    let parts: Vec<&str> = text.split('$').collect();
    let (digest, rounds, salt, hash) = match parts.as_slice() {
        ["pbkdf2_sha256", rounds, salt, hash] => {
            (Digest::Sha256, rounds.parse().ok()?, salt.as_bytes().to_vec(), BASE64.decode(hash).ok()?)
        }
        ["", scheme, options, salt, hash] => {
            let digest = match *scheme {
                "pbkdf2-sha256" => Digest::Sha256,
                "pbkdf2-sha512" => Digest::Sha512,
                _ => return None,
            };
            let rounds = options.split(',').find_map(|option| option.strip_prefix("i="));
            // passlib writes `.` where others write `+`.
            let decode = |text: &str| BASE64.decode(text.replace('.', "+")).ok();
            (digest, rounds.unwrap_or(options).parse().ok()?, decode(salt)?, decode(hash)?)
        }
        _ => return None,
    };
    (rounds >= 1 && DERIVED.contains(&hash.len())).then_some(Stored::Pbkdf2 { digest, rounds, salt, hash })
}

/// Whether a hash from elsewhere may be stored: one that nobody could sign in with is refused here, and not at the door.
///
/// # Errors
/// What is wrong with it.
pub fn storable(text: &str) -> Result<(), &'static str> {
    let stored = Stored::parse(text)
        .ok_or("must be a hash by Argon2id, bcrypt or PBKDF2, in a form that is understood")?;
    if Price::of(&stored).is_payable(Price::default()) {
        Ok(())
    } else {
        Err("costs too much: at most bcrypt 14, 2,500,000 rounds of PBKDF2 with SHA-256, 64 MiB of Argon2id")
    }
}
