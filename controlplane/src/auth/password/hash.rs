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
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::{
    form::Password,
    price::Price,
    stored::{Digest, Stored},
};

/// Lanes of Argon2 that a hash may have. They share its memory and its work.
const MAX_LANES: u32 = 16;

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

    pub fn hash(self, password: &Password) -> Result<String, argon2::password_hash::Error> {
        let argon2 = self.argon2().map_err(|_| argon2::password_hash::Error::ParamsInvalid)?;
        Ok(argon2.hash_password(password.prepared().as_bytes())?.to_string())
    }

    /// What making a hash costs.
    pub const fn price(self) -> Price {
        Price::argon2(self.memory_kib, self.iterations)
    }

    /// What [`Self::check`] costs at most: a hash from elsewhere is replaced by one of ours, and a password that can be written in another
    /// way may be tried in both. Nothing for a hash that it does not look at, since it is not understood or costs too much.
    pub fn price_of_check(self, password: &Password, stored: &str) -> Option<Price> {
        let stored = self.payable(stored)?;
        let once = Price::of(&stored);
        let both = self.second_try(password, &stored);
        let price = if both.is_some() { once.then(once) } else { once };
        Some(if self.made(&stored) && both.is_none() { price } else { price.then(self.price()) })
    }

    pub fn check(self, password: &Password, stored: &str) -> Checked {
        let Some(stored) = self.payable(stored) else { return Checked::Wrong };
        let other = self.second_try(password, &stored);
        if self.opens(password.prepared(), &stored) {
            if self.made(&stored) {
                return Checked::Right;
            }
        } else if !other.is_some_and(|sent| self.opens(sent, &stored)) {
            return Checked::Wrong;
        }
        // One that cannot be upgraded now is the next time.
        self.hash(password).map_or(Checked::Right, Checked::Upgraded)
    }

    fn payable(self, stored: &str) -> Option<Stored<'_>> {
        Stored::parse(stored).filter(|stored| Price::of(stored).is_payable(self.price()))
    }

    /// What to try when the password in its form is not the one: what was sent, unless two tries together would cost too much.
    fn second_try<'a>(self, password: &'a Password, stored: &Stored<'_>) -> Option<&'a str> {
        let once = Price::of(stored);
        password.as_sent().filter(|_| once.then(once).is_payable(self.price()))
    }

    fn opens(self, password: &str, stored: &Stored<'_>) -> bool {
        match stored {
            Stored::Argon2 { text, lanes, .. } => {
                *lanes <= MAX_LANES
                    && self
                        .argon2()
                        .is_ok_and(|argon2| argon2.verify_password(password.as_bytes(), *text).is_ok())
            }
            Stored::Bcrypt { text, .. } => bcrypt::verify(password, text).unwrap_or(false),
            Stored::Pbkdf2 { digest, rounds, salt, hash } => {
                let mut derived = vec![0; hash.len()];
                match digest {
                    Digest::Sha256 => {
                        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, *rounds, &mut derived);
                    }
                    Digest::Sha512 => {
                        pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), salt, *rounds, &mut derived);
                    }
                }
                derived.ct_eq(hash).into()
            }
        }
    }

    /// Whether `stored` is what [`Self::hash`] makes today.
    fn made(self, stored: &Stored<'_>) -> bool {
        matches!(stored, Stored::Argon2 { memory_kib, iterations, lanes: 1, .. }
            if (*memory_kib, *iterations) == (self.memory_kib, self.iterations))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::{super::stored::BASE64, *};

    const PASSWORD: &str = "correct horse battery staple";

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    fn cost() -> Cost {
        Cost::new(64, 1).unwrap()
    }

    #[test]
    fn our_own_hash_is_right_and_an_older_one_is_upgraded() {
        let stored = cost().hash(&password(PASSWORD)).unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
        assert_ne!(stored, cost().hash(&password(PASSWORD)).unwrap(), "salted");
        assert_eq!(cost().check(&password(PASSWORD), &stored), Checked::Right);
        assert_eq!(cost().check(&password("wrong"), &stored), Checked::Wrong);
        let stronger = Cost::new(128, 2).unwrap();
        let Checked::Upgraded(better) = stronger.check(&password(PASSWORD), &stored) else {
            panic!("not upgraded")
        };
        assert_eq!(stronger.check(&password(PASSWORD), &better), Checked::Right);
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
            assert!(matches!(cost().check(&password(PASSWORD), stored), Checked::Upgraded(_)), "{stored}");
            assert_eq!(cost().check(&password("wrong"), stored), Checked::Wrong, "{stored}");
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
            "$argon2id$v=19$m=262144,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$",
            "$2b$31$abcdefghijklmnopqrstuuAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$2",
            "pbkdf2_sha256$4294967295$salt$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "pbkdf2_sha256$1$salt$",
            "$pbkdf2-md5$1000$c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(cost().check(&password(PASSWORD), stored), Checked::Wrong, "{stored}");
            assert_eq!(
                cost().price_of_check(&password(PASSWORD), stored),
                None,
                "{stored}: no work is planned for it"
            );
            assert!(super::super::storable(stored).is_err(), "{stored}");
        }
    }

    #[test]
    fn a_hash_that_is_replaced_is_paid_for_twice() {
        let own = cost().hash(&password(PASSWORD)).unwrap();
        assert_eq!(cost().price_of_check(&password(PASSWORD), &own), Some(cost().price()));
        let bcrypt = "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG";
        let both = Price { micros: 800 + cost().price().micros, memory_kib: 64 };
        assert_eq!(
            (cost().price_of_check(&password(PASSWORD), bcrypt), super::super::storable(bcrypt)),
            (Some(both), Ok(()))
        );
    }
    #[test]
    fn a_password_opens_whichever_way_it_is_typed_and_hashes_of_other_ways_are_replaced() {
        const COMPOSED: &str = "émile Paris 2026 x";
        const APART: &str = "e\u{301}mile Paris 2026 x";
        let both = [password(COMPOSED), password(APART)];
        for chosen in &both {
            let stored = cost().hash(chosen).unwrap();
            for shown in &both {
                assert_eq!(cost().check(shown, &stored), Checked::Right);
            }
        }
        // As it was hashed before passwords had a form, and as others hash.
        let ours = cost().argon2().unwrap().hash_password(APART.as_bytes()).unwrap().to_string();
        let theirs = bcrypt::hash(APART, 4).unwrap();
        for stored in [&ours, &theirs] {
            let Checked::Upgraded(better) = cost().check(&both[1], stored) else {
                panic!("{stored} does not open")
            };
            assert_eq!(cost().check(&both[0], &better), Checked::Right);
            assert_eq!(cost().check(&password("e\u{301}mile"), stored), Checked::Wrong);
        }
        // A second try is paid for, and there is none where two are more than a check may cost.
        let once = cost().price();
        let twice = once.then(once).then(once);
        assert_eq!(cost().price_of_check(&both[1], &ours), Some(twice));
        let dear = "$2b$14$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG";
        assert_eq!(cost().price_of_check(&both[1], dear), cost().price_of_check(&both[0], dear));
    }
}
