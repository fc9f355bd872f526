//! Time-based one-time passwords (RFC 6238): six digits, thirty seconds, SHA-1, as all authenticators have them. Pure.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// Seconds that a code is for.
pub(super) const STEP_SECONDS: u64 = 30;
/// Steps before and after the present one whose code is accepted: clocks differ, and people type slowly.
const SKEW: u64 = 1;
/// Bytes of a secret.
pub(super) const SECRET_BYTES: usize = 20;
const DIGITS: usize = 6;

/// The code of `step`.
fn code(secret: &[u8], step: u64) -> Option<u32> {
    let mac =
        Hmac::<Sha1>::new_from_slice(secret).ok()?.chain_update(step.to_be_bytes()).finalize().into_bytes();
    let at = usize::from(mac.last()? & 0x0f);
    let bytes: [u8; 4] = mac.get(at..at + 4)?.try_into().ok()?;
    Some((u32::from_be_bytes(bytes) & 0x7fff_ffff) % 10_u32.pow(DIGITS as u32))
}

/// The step after `last_step` whose code `given` is, at the moment `now` in seconds since 1970.
pub(super) fn matching_step(secret: &[u8], given: &str, now: u64, last_step: u64) -> Option<u64> {
    let given: String = given.chars().filter(|c| !c.is_whitespace()).collect();
    if given.len() != DIGITS || !given.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let present = now / STEP_SECONDS;
    let mut found = None;
    for step in present.saturating_sub(SKEW)..=present + SKEW {
        let right: bool = format!("{:06}", code(secret, step)?).as_bytes().ct_eq(given.as_bytes()).into();
        if right && step > last_step {
            found = Some(step);
        }
    }
    found
}

/// Base32 without padding, as authenticators take a secret.
pub(super) fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut text, mut buffer, mut bits) = (String::new(), 0_u32, 0);
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(buffer >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(buffer << (5 - bits) & 31) as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    /// RFC 6238, appendix B, the last six of eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (now, expected) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            assert_eq!(matching_step(SECRET, expected, now, 0), Some(now / 30), "{now}");
        }
    }

    #[test]
    fn a_code_is_good_for_a_while_and_once() {
        let of = |step: u64| format!("{:06}", code(SECRET, step).unwrap());
        let now = 1000 * STEP_SECONDS;
        for step in 999..=1001 {
            assert_eq!(matching_step(SECRET, &of(step), now, 0), Some(step));
        }
        assert_eq!(matching_step(SECRET, &of(998), now, 0), None);
        assert_eq!(matching_step(SECRET, &of(1002), now, 0), None);
        assert_eq!(matching_step(SECRET, &of(1000), now, 1000), None, "used before");
        for wrong in ["", "12345", "1234567", "abcdef", "１２３４５６"] {
            assert_eq!(matching_step(SECRET, wrong, now, 0), None);
        }
    }

    #[test]
    fn base32_is_that_of_the_standard() {
        assert_eq!(base32(b"foobar"), "MZXW6YTBOI");
        assert_eq!(base32(SECRET), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }
}
