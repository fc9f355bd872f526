use super::*;

const KEY: &str = "a key of at least 32 bytes, for these tests";
const ANOTHER: &str = "another key of at least 32 bytes, for these tests";
const PIN: Place<'static> = Place::Field { app: "crm", doc_type: "card", field: "pin" };

struct Keys(std::path::PathBuf);

impl Keys {
    fn new(name: &str, keys: &[(&str, u8)]) -> Self {
        let folder = std::env::temp_dir().join(format!("vault-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, seed) in keys {
            let key: [u8; 32] = std::array::from_fn(|n| seed.wrapping_add(n as u8));
            std::fs::write(folder.join(name), STANDARD.encode(key)).unwrap();
        }
        Self(folder)
    }

    fn vault(&self, primary: &str) -> Vault {
        let settings = settings::Keyring { folder: self.0.clone(), primary: primary.into() };
        Vault::with(Some(&settings), &KEY.to_owned().into(), None).unwrap()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn of(key: &str) -> Vault {
    Vault::with(None, &key.to_owned().into(), None).unwrap()
}

#[test]
fn a_secret_opens_for_its_tenant_and_as_what_it_is_only() {
    let vault = of(KEY);
    let (mine, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let sealed = vault.of(mine).seal(&PIN, "4711").unwrap();
    assert!(!sealed.contains("4711"));
    assert_eq!(vault.of(mine).open(&PIN, &sealed).unwrap().as_str(), "4711");
    assert!(vault.of(other).open(&PIN, &sealed).is_err());
    let puk = Place::Field { app: "crm", doc_type: "card", field: "puk" };
    for elsewhere in [puk, Place::Authenticator(mine)] {
        assert!(vault.of(mine).open(&elsewhere, &sealed).is_err(), "{elsewhere:?}");
    }
}

#[test]
fn without_a_keyring_secrets_are_sealed_under_a_key_that_another_key_makes() {
    let (one, same, another) = (of(KEY), of(KEY), of(ANOTHER));
    let sealed = one.of(Uuid::nil()).seal(&PIN, "4711").unwrap();
    assert_eq!(same.of(Uuid::nil()).open(&PIN, &sealed).unwrap().as_str(), "4711", "every replica has it");
    let refused = another.of(Uuid::nil()).open(&PIN, &sealed).unwrap_err();
    assert!(matches!(refused, KeyringError::UnknownKey(_)), "{refused}");

    let rotated = Vault::with(None, &ANOTHER.to_owned().into(), Some(&KEY.to_owned().into())).unwrap();
    let safe = rotated.of(Uuid::nil());
    assert_eq!(safe.open(&PIN, &sealed).unwrap().as_str(), "4711", "the key before");
    let renewed = safe.renew(&PIN, &sealed).unwrap().unwrap();
    assert_eq!(another.of(Uuid::nil()).open(&PIN, &renewed).unwrap().as_str(), "4711");
}

#[test]
fn what_was_damaged_is_not_sealed_again_as_if_it_were_a_value() {
    let vault = of(KEY);
    for damaged in ["tnc1:", "tnc1:a:AAAA", "tnc1:derived-00000000:AAAA"] {
        assert!(vault.of(Uuid::nil()).renew(&PIN, damaged).is_err(), "{damaged}");
    }
}

#[test]
fn a_keyring_takes_over_what_was_sealed_before_it_and_what_was_in_the_clear() {
    let before = of(KEY);
    let keys = Keys::new("takes-over", &[("2026-11", 1)]);
    let with_keyring = keys.vault("2026-11");
    let safe = with_keyring.of(Uuid::nil());
    let sealed = before.of(Uuid::nil()).seal(&PIN, "4711").unwrap();
    for stored in [sealed.as_str(), "4711"] {
        let renewed = safe.renew(&PIN, stored).unwrap().unwrap();
        assert!(renewed.starts_with("tnc1:2026-11:"), "{renewed}");
        assert_eq!(safe.open(&PIN, &renewed).unwrap().as_str(), "4711");
        assert_eq!(safe.renew(&PIN, &renewed).unwrap(), None);
    }
}

#[test]
fn a_key_that_is_missing_is_named_to_whoever_can_put_it_back() {
    let keys = Keys::new("missing", &[("2026-05", 1), ("2026-11", 2)]);
    let sealed = keys.vault("2026-05").of(Uuid::nil()).seal(&PIN, "4711").unwrap();
    std::fs::remove_file(keys.0.join("2026-05")).unwrap();
    let vault = keys.vault("2026-11");
    let error = ApiError::from(vault.of(Uuid::nil()).open(&PIN, &sealed).unwrap_err());
    assert_eq!(error.code(), Code::Unavailable);
    assert!(format!("{error:?}").contains("2026-05"), "{error:?}");
    assert!(vault.of(Uuid::nil()).renew(&PIN, &sealed).is_err(), "and it stays as it is");
}

#[test]
fn a_digest_of_a_secret_needs_the_platforms_key() {
    let (one, same, another) = (of(KEY), of(KEY), of(ANOTHER));
    assert_eq!(one.digest(&[b"4711"]), same.digest(&[b"4711"]));
    assert_ne!(one.digest(&[b"4711"]), another.digest(&[b"4711"]));
    assert_ne!(one.digest(&[b"47", b"11"]), one.digest(&[b"4711"]));
}
