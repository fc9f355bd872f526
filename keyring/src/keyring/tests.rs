use base64::{Engine, engine::general_purpose::STANDARD};
use uuid::Uuid;

use super::*;
use crate::sealed;

fn text(seed: u8) -> Vec<u8> {
    STANDARD.encode(std::array::from_fn::<u8, 32, _>(|n| seed.wrapping_add(n as u8))).into_bytes()
}

fn ring(primary: &str, names: &[(&str, u8)]) -> Keyring {
    let keys: Vec<(&str, Vec<u8>)> = names.iter().map(|(name, seed)| (*name, text(*seed))).collect();
    Keyring::new(primary, keys.iter().map(|(name, text)| (*name, text.as_slice()))).unwrap()
}

const PIN: Context<'static> = Context { origin: Uuid::from_u128(7), place: &["crm", "card", "pin"] };

#[test]
fn a_value_opens_in_its_place_only() {
    let ring = ring("a", &[("a", 1)]);
    let sealed = ring.seal(&PIN, "4711 – geheim").unwrap();
    assert!(sealed.starts_with("tnc1:a:") && !sealed.contains("4711"), "{sealed}");
    assert_eq!(ring.open(&PIN, &sealed).unwrap().as_str(), "4711 – geheim");
    let elsewhere = [
        Context { origin: Uuid::from_u128(8), ..PIN },
        Context { place: &["erp", "card", "pin"], ..PIN },
        Context { place: &["crm", "user", "pin"], ..PIN },
        Context { place: &["crm", "card", "puk"], ..PIN },
        Context { place: &["crm", "cardpin"], ..PIN },
    ];
    for context in elsewhere {
        let refused = ring.open(&context, &sealed).unwrap_err();
        assert!(matches!(&refused, KeyringError::Refused(key) if key.as_str() == "a"), "{context:?}");
    }
}

#[test]
fn a_value_has_a_form_that_later_releases_read() {
    let ring = ring("a", &[("a", 1)]);
    assert_eq!(ring.open(&PIN, GOLDEN).unwrap().as_str(), "4711");
}
/// Made by another implementation of the same standards.
const GOLDEN: &str = "tnc1:a:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8LshIi9Gdk8aEda5e8UIn7eIuVrzkxe0yQrPIfFyht7eEzQ6oxG0_DrIWJ7bZoDcRo\
     UMqjka3byyO-3H07RZpikcphSg";

#[test]
fn every_value_has_keys_of_its_own() {
    let ring = ring("a", &[("a", 1)]);
    let all: Vec<String> = (0..100).map(|_| ring.seal(&PIN, "the same").unwrap()).collect();
    for (n, one) in all.iter().enumerate() {
        let body = |text: &str| Sealed::parse(text).map(|s| (s.salt, s.envelope, s.value)).unwrap();
        let (salt, envelope, value) = body(one);
        for other in &all[..n] {
            let (s, e, v) = body(other);
            assert!(salt != s && envelope != e && value != v);
        }
    }
    assert_eq!(ring.open(&PIN, &ring.seal(&PIN, "").unwrap()).unwrap().as_str(), "");
}

#[test]
fn a_value_that_was_changed_anywhere_does_not_open() {
    let ring = ring("a", &[("a", 1), ("b", 2)]);
    let sealed = ring.seal(&PIN, "4711").unwrap();
    for n in 0..sealed.len() {
        let mut changed = sealed.clone().into_bytes();
        changed[n] = if changed[n] == b'b' { b'a' } else { b'b' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(ring.open(&PIN, &changed).is_err(), "at {n}");
        assert!(ring.open(&PIN, &sealed[..n]).is_err(), "cut at {n}");
    }
    let other = ring.seal(&PIN, "4712").unwrap();
    let (one, two) = (Sealed::parse(&sealed).unwrap(), Sealed::parse(&other).unwrap());
    let mixed = Sealed { envelope: two.envelope, salt: two.salt, ..one }.text();
    assert!(matches!(ring.open(&PIN, &mixed), Err(KeyringError::Refused(_))), "another value's envelope");
    for clear in ["", "4711", "tnc1:", "tnc1:a:", "tnc1:a:!!", "tnc2:a:AAAA"] {
        assert!(matches!(ring.open(&PIN, clear), Err(KeyringError::NotSealed)), "{clear}");
    }
}

#[test]
fn a_missing_key_is_named() {
    let sealed = ring("new", &[("new", 2)]).seal(&PIN, "4711").unwrap();
    let refused = ring("old", &[("old", 1)]).open(&PIN, &sealed).unwrap_err();
    assert!(matches!(&refused, KeyringError::UnknownKey(key) if key.as_str() == "new"));
    assert!(refused.to_string().contains("key new"), "{refused}");
    let impostor = ring("new", &[("new", 3)]).open(&PIN, &sealed).unwrap_err();
    assert!(matches!(impostor, KeyringError::Refused(_)), "another key of the same name");
}

#[test]
fn a_new_primary_takes_values_over_one_by_one() {
    let old = ring("old", &[("old", 1)]);
    let both = ring("new", &[("old", 1), ("new", 2)]);
    let new = ring("new", &[("new", 2)]);
    assert_eq!(both.ids().map(KeyId::as_str).collect::<Vec<_>>(), ["new", "old"]);

    let sealed = old.seal(&PIN, "4711").unwrap();
    assert_eq!(both.open(&PIN, &sealed).unwrap().as_str(), "4711");
    let renewed = both.renew(&PIN, &sealed).unwrap().unwrap();
    assert!(renewed.starts_with(&sealed::prefix_of(&KeyId::new("new").unwrap())));
    assert_eq!(new.open(&PIN, &renewed).unwrap().as_str(), "4711");
    assert_eq!(both.renew(&PIN, &renewed).unwrap(), None, "nothing is left to do");
    assert!(matches!(new.renew(&PIN, &sealed), Err(KeyringError::UnknownKey(_))));
    let elsewhere = Context { place: &["crm", "card", "puk"], ..PIN };
    assert!(both.renew(&elsewhere, &sealed).is_err(), "a value in the wrong place is not made good");
}

#[test]
fn a_ring_of_wrong_keys_is_none() {
    let (a, b) = (text(1), text(2));
    let new =
        |primary: &str, keys: &[(&str, &[u8])]| Keyring::new(primary, keys.iter().copied()).unwrap_err();
    assert!(matches!(new("c", &[("a", &a), ("b", &b)]), KeyringError::NoPrimary(_)));
    assert!(matches!(new("a", &[]), KeyringError::NoPrimary(_)));
    assert!(matches!(new("a", &[("a", &a), ("b", &a)]), KeyringError::SameKey(..)));
    assert!(matches!(new("a", &[("a", b"short")]), KeyringError::BadKey(_)));
    assert!(matches!(new("A", &[("A", &a)]), KeyringError::BadName(_)));
    let shown = format!("{:?}", ring("a", &[("a", 1)]));
    assert_eq!(shown, r#"["a"]"#, "no key is ever shown");
}
