//! AES-256-GCM and HKDF-SHA256, by `ring`.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Prk},
};
use zeroize::Zeroizing;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes that sealing adds.
pub(crate) const TAG_BYTES: usize = MAX_TAG_LEN;

/// A key for one message. It has one nonce, because it has one message: [`seal_once`] takes it away from the caller.
pub(crate) type OneKey = Zeroizing<[u8; KEY_BYTES]>;

const ONLY: [u8; NONCE_LEN] = [0; NONCE_LEN];

/// The cipher refused: a tag is wrong, or a message is longer than any can be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// Seals the one message of `key`.
pub(crate) fn seal_once(key: &OneKey, about: &[u8], message: &mut Vec<u8>) -> Result<(), Refused> {
    seal(key, ONLY, about, message)
}

/// Opens the one message of `key`; what was sealed is at the start of `message` then, and is this long.
pub(crate) fn open_once(key: &OneKey, about: &[u8], message: &mut [u8]) -> Result<usize, Refused> {
    open(key, ONLY, about, message)
}

fn cipher(key: &OneKey) -> Result<LessSafeKey, Refused> {
    UnboundKey::new(&AES_256_GCM, key.as_slice()).map(LessSafeKey::new).map_err(|_| Refused)
}

fn seal(key: &OneKey, nonce: [u8; NONCE_LEN], about: &[u8], message: &mut Vec<u8>) -> Result<(), Refused> {
    let nonce = Nonce::assume_unique_for_key(nonce);
    cipher(key)?.seal_in_place_append_tag(nonce, Aad::from(about), message).map_err(|_| Refused)
}

fn open(key: &OneKey, nonce: [u8; NONCE_LEN], about: &[u8], message: &mut [u8]) -> Result<usize, Refused> {
    let nonce = Nonce::assume_unique_for_key(nonce);
    cipher(key)?.open_in_place(nonce, Aad::from(about), message).map(|clear| clear.len()).map_err(|_| Refused)
}

/// A key of 256 bits.
struct Wanted;

impl KeyType for Wanted {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

/// The key that `key` and `salt` make for a purpose.
pub(crate) fn derive(key: &[u8; KEY_BYTES], salt: &[u8], purpose: &[u8]) -> Result<OneKey, Refused> {
    let mut derived = Zeroizing::new([0; KEY_BYTES]);
    // The key is uniform already: nothing has to be extracted from it.
    let prk = Prk::new_less_safe(HKDF_SHA256, key);
    let info = [purpose, salt];
    let okm = prk.expand(&info, Wanted).map_err(|_| Refused)?;
    okm.fill(derived.as_mut_slice()).map_err(|_| Refused)?;
    Ok(derived)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect()
    }

    fn key(hex: &str) -> OneKey {
        Zeroizing::new(bytes(hex).try_into().unwrap())
    }

    /// Test cases 13 to 16 of "The Galois/Counter Mode of Operation", which NIST has among its examples for SP 800-38D.
    #[test]
    fn the_cipher_is_the_one_of_the_standard() {
        const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";
        const KEY: &str = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
        const NONCE: &str = "cafebabefacedbaddecaf888";
        const TEXT: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                            1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
        const SEALED: &str = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                              8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
        let cases = [
            (ZERO, "000000000000000000000000", "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
            (
                ZERO,
                "000000000000000000000000",
                "",
                "00000000000000000000000000000000",
                "cea7403d4d606b6e074ec5d3baf39d18",
                "d0d1c8a799996bf0265b98b5d48ab919",
            ),
            (KEY, NONCE, "", TEXT, SEALED, "b094dac5d93471bdec1a502270e3cc6c"),
            (
                KEY,
                NONCE,
                "feedfacedeadbeeffeedfacedeadbeefabaddad2",
                &TEXT[..120],
                &SEALED[..120],
                "76fc6ece0f4e1768cddf8853bb2d551b",
            ),
        ];
        for (of, nonce, about, text, sealed, tag) in cases {
            let (of, nonce, about) = (key(of), bytes(nonce).try_into().unwrap(), bytes(about));
            let mut message = bytes(text);
            seal(&of, nonce, &about, &mut message).unwrap();
            assert_eq!(message, [bytes(sealed), bytes(tag)].concat());
            let length = open(&of, nonce, &about, &mut message).unwrap();
            assert_eq!(message[..length], bytes(text));
        }
    }

    /// The expansion of test case 1 of RFC 5869, to the length of a key.
    #[test]
    fn keys_are_derived_as_the_standard_says() {
        let prk = key("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
        let derived = derive(&prk, &bytes("f5f6f7f8f9"), &bytes("f0f1f2f3f4")).unwrap();
        assert_eq!(
            derived.as_slice(),
            bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf")
        );
    }

    #[test]
    fn nothing_opens_that_was_changed() {
        let key = key(&"07".repeat(KEY_BYTES));
        let mut message = b"a secret".to_vec();
        seal_once(&key, b"about", &mut message).unwrap();
        for n in 0..message.len() {
            let mut changed = message.clone();
            changed[n] ^= 1;
            assert_eq!(open_once(&key, b"about", &mut changed), Err(Refused), "at {n}");
        }
        assert_eq!(open_once(&key, b"above", &mut message.clone()), Err(Refused));
        assert_eq!(open_once(&key, b"about", &mut message[..TAG_BYTES - 1]), Err(Refused));
    }
}
