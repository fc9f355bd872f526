//! Hashes of passwords: Argon2id for our own; bcrypt and PBKDF2 of other systems are understood, and replaced at the next
//! sign-in.
//!
//! | form | from |
//! |---|---|
//! | `$argon2id$v=19$m=..,t=..,p=..$SALT$HASH` | us, and most others |
//! | `$2a$`, `$2b$`, `$2y$` | bcrypt |
//! | `pbkdf2_sha256$ROUNDS$SALT$HASH` | Django |
//! | `$pbkdf2-sha256$i=ROUNDS[,l=..]$SALT$HASH`, `$pbkdf2-sha512$..`, also with ROUNDS alone | PHC, passlib |

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use base64::{
    Engine,
    alphabet::STANDARD as ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

/// What a hash may cost: whoever can write one must not be able to stop the server with it.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_ITERATIONS: u32 = 16;
const MAX_BCRYPT_COST: u32 = 15;
const MAX_ROUNDS: u32 = 5_000_000;
/// The longest hash that PBKDF2 may have made, in bytes.
const MAX_DERIVED: usize = 64;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a password came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// It is the one.
    Right,
    /// It is the one, and this is the hash that is to be stored from now on.
    Upgraded(String),
    /// It is not.
    Wrong,
}

/// What a hash of ours costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    memory_kib: u32,
    iterations: u32,
}

impl Cost {
    pub fn new(memory_kib: u32, iterations: u32) -> Result<Self, argon2::Error> {
        let cost = Self { memory_kib, iterations };
        cost.argon2().map(|_| cost)
    }

    fn argon2(self) -> Result<Argon2<'static>, argon2::Error> {
        let params = Params::new(self.memory_kib, self.iterations, 1, None)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }

    pub fn hash(self, password: &str) -> Result<String, argon2::password_hash::Error> {
        let argon2 = self.argon2().map_err(|_| argon2::password_hash::Error::ParamsInvalid)?;
        Ok(argon2.hash_password(password.as_bytes())?.to_string())
    }

    pub fn check(self, password: &str, stored: &str) -> Checked {
        let right = if stored.starts_with("$argon2id$") {
            let own = parameters(stored);
            let bounded = own
                .is_some_and(|(m, t, p)| m <= MAX_MEMORY_KIB && t <= MAX_ITERATIONS && p <= MAX_ITERATIONS);
            let argon2 = self.argon2();
            let right = bounded
                && argon2.is_ok_and(|argon2| argon2.verify_password(password.as_bytes(), stored).is_ok());
            if right && own == Some((self.memory_kib, self.iterations, 1)) {
                return Checked::Right;
            }
            right
        } else if stored.starts_with("$2") {
            bcrypt_cost(stored).is_some_and(|cost| cost <= MAX_BCRYPT_COST)
                && bcrypt::verify(password, stored).unwrap_or(false)
        } else {
            pbkdf2(password, stored).unwrap_or(false)
        };
        if !right {
            return Checked::Wrong;
        }
        // One that cannot be upgraded now is the next time.
        self.hash(password).map_or(Checked::Right, Checked::Upgraded)
    }
}

/// Memory, iterations and lanes of `$argon2id$v=19$m=M,t=T,p=P$..`.
fn parameters(stored: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = stored.split('$').nth(3)?.split(',').map(|pair| pair.split_once('=')?.1.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

fn bcrypt_cost(stored: &str) -> Option<u32> {
    stored.split('$').nth(2)?.parse().ok()
}

fn pbkdf2(password: &str, stored: &str) -> Option<bool> {
    let parts: Vec<&str> = stored.split('$').collect();
    let (digest, rounds, salt, hash) = match parts.as_slice() {
        ["pbkdf2_sha256", rounds, salt, hash] => {
            ("sha256", rounds.parse().ok()?, salt.as_bytes().to_vec(), BASE64.decode(hash).ok()?)
        }
        ["", scheme, options, salt, hash] => {
            let rounds = options.split(',').find_map(|option| option.strip_prefix("i="));
            // passlib writes `.` where others write `+`.
            let decode = |text: &str| BASE64.decode(text.replace('.', "+")).ok();
            let rounds = rounds.unwrap_or(options).parse().ok()?;
            (scheme.strip_prefix("pbkdf2-")?, rounds, decode(salt)?, decode(hash)?)
        }
        _ => return None,
    };
    if !(1..=MAX_ROUNDS).contains(&rounds) || !(16..=MAX_DERIVED).contains(&hash.len()) {
        return None;
    }
    let mut derived = vec![0; hash.len()];
    match digest {
        "sha256" => pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, rounds, &mut derived),
        "sha512" => pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), &salt, rounds, &mut derived),
        _ => return None,
    }
    Some(derived.ct_eq(&hash).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "correct horse battery staple";

    fn cost() -> Cost {
        Cost::new(64, 1).unwrap()
    }

    #[test]
    fn our_own_hash_is_right_and_an_older_one_is_upgraded() {
        let stored = cost().hash(PASSWORD).unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
        assert_ne!(stored, cost().hash(PASSWORD).unwrap(), "salted");
        assert_eq!(cost().check(PASSWORD, &stored), Checked::Right);
        assert_eq!(cost().check("wrong", &stored), Checked::Wrong);
        let stronger = Cost::new(128, 2).unwrap();
        let Checked::Upgraded(better) = stronger.check(PASSWORD, &stored) else { panic!("not upgraded") };
        assert_eq!(stronger.check(PASSWORD, &better), Checked::Right);
    }

    #[test]
    fn hashes_from_elsewhere_are_understood_and_upgraded() {
        let bcrypt = bcrypt::hash(PASSWORD, 4).unwrap();
        let derive = |rounds: u32, salt: &[u8]| {
            let mut derived = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(PASSWORD.as_bytes(), salt, rounds, &mut derived);
            derived
        };
        let unpadded = |bytes: &[u8]| BASE64.encode(bytes).trim_end_matches('=').to_owned();
        let django = format!("pbkdf2_sha256$1000$pepper${}", BASE64.encode(derive(1000, b"pepper")));
        let salt = b"sixteen bytes...";
        let phc = format!("$pbkdf2-sha256$i=1000,l=32${}${}", unpadded(salt), unpadded(&derive(1000, salt)));
        let passlib = format!("$pbkdf2-sha256$1000${}${}", unpadded(salt), unpadded(&derive(1000, salt)))
            .replace('+', ".");
        for stored in [&bcrypt, &django, &phc, &passlib, &bcrypt.replacen("$2b$", "$2y$", 1)] {
            assert!(matches!(cost().check(PASSWORD, stored), Checked::Upgraded(_)), "{stored}");
            assert_eq!(cost().check("wrong", stored), Checked::Wrong, "{stored}");
        }
    }

    /// RFC 7914, section 11.
    #[test]
    fn pbkdf2_is_what_others_make() {
        let hash = "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc";
        let first: Vec<u8> =
            (0..32).map(|n| u8::from_str_radix(&hash[2 * n..2 * n + 2], 16).unwrap()).collect();
        let mut derived = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(b"passwd", b"salt", 1, &mut derived);
        assert_eq!(derived.as_slice(), first);
    }

    #[test]
    fn what_costs_too_much_or_is_no_hash_is_wrong() {
        for stored in [
            "",
            "plain text",
            "$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=19$m=64,t=4294967295,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$",
            "$2b$31$abcdefghijklmnopqrstuuAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$2",
            "pbkdf2_sha256$4294967295$salt$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "pbkdf2_sha256$1$salt$",
            "$pbkdf2-md5$1000$c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(cost().check(PASSWORD, stored), Checked::Wrong, "{stored}");
        }
    }
}
