use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef-hs256";
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
    -----END PUBLIC KEY-----\n";

/// Settings with both keys; the files live as long as the value.
struct Keys {
    settings: settings::Auth,
    folder: std::path::PathBuf,
}

impl Keys {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("tenantry-keys-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let (public, private) = (folder.join("public.pem"), folder.join("private.pem"));
        std::fs::write(&public, PUBLIC).unwrap();
        std::fs::write(&private, PRIVATE).unwrap();
        let settings = settings::Auth {
            hs256_secret: Some(SecretString::from(SECRET)),
            ed25519_public_key: Some(public),
            ed25519_private_key: Some(private),
            ..settings::Auth::default()
        };
        Self { settings, folder }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

fn grant() -> Grant {
    Grant {
        tenant: Uuid::from_u128(7),
        user: "alice".into(),
        roles: vec!["crm:sales".into()],
        claims: Map::new(),
        proof: Proof::default(),
        lifetime: Duration::from_secs(900),
    }
}

fn claims() -> Value {
    let now = unix_now();
    json!({"iss": "tenantry", "aud": "tenantry", "sub": "alice", "tid": Uuid::from_u128(7),
           "roles": ["crm:sales"], "iat": now, "exp": now + 900})
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with exactly this header and these claims, signed with HMAC-SHA256 under `secret`.
fn hmac_signed(header: &str, claims: &str, secret: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap().chain_update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

const HEADER: &str = r#"{"alg":"HS256","typ":"at+jwt"}"#;

#[test]
fn an_issued_token_is_accepted_under_either_key() {
    let keys = Keys::new();
    let tokens = Tokens::load(&keys.settings).unwrap();
    let only_secret = settings::Auth { ed25519_private_key: None, ..keys.settings.clone() };
    for settings in [&keys.settings, &only_secret] {
        let token = issue(settings, grant()).unwrap();
        for _once_and_from_the_cache in 0..2 {
            let verified = tokens.verify(&token).unwrap();
            assert_eq!(verified.tenant, Uuid::from_u128(7));
            assert_eq!(&*verified.caller.user, "alice");
            assert!(!verified.caller.admin);
        }
    }
    assert!(tokens.verify(&hmac_signed(HEADER, &claims().to_string(), SECRET.as_bytes())).is_ok());
}

#[test]
fn the_algorithm_of_a_token_does_not_choose_the_key() {
    let keys = Keys::new();
    let tokens = Tokens::load(&keys.settings).unwrap();
    let body = encode(&claims());
    for alg in ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS256", "ES256", "PS256", "eddsa"] {
        let header = encode(&json!({"alg": alg, "typ": "at+jwt"}));
        for signature in ["", "AAAA"] {
            let token = format!("{header}.{body}.{signature}");
            assert_eq!(tokens.verify(&token).unwrap_err(), Refused::NotAccessToken, "{alg}");
        }
    }
    let missing = format!("{}.{body}.", encode(&json!({"typ": "at+jwt"})));
    assert_eq!(tokens.verify(&missing).unwrap_err(), Refused::NotAccessToken);
    // The public key is public: as an HMAC secret it must open nothing.
    for secret in [PUBLIC.as_bytes(), PUBLIC.trim().as_bytes()] {
        let token = hmac_signed(HEADER, &claims().to_string(), secret);
        assert_eq!(tokens.verify(&token).unwrap_err(), Refused::BadSignature);
        let token = hmac_signed(r#"{"alg":"EdDSA","typ":"at+jwt"}"#, &claims().to_string(), secret);
        assert!(tokens.verify(&token).is_err());
    }
}

#[test]
fn what_a_header_could_change_is_refused() {
    let keys = Keys::new();
    let tokens = Tokens::load(&keys.settings).unwrap();
    for header in [
        r#"{"alg":"HS256","typ":"JWT"}"#,
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"HS256","typ":"rt+jwt"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","crit":["x"],"x":1}"#,
        r#"{"alg":"HS256","typ":"at+jwt","b64":false}"#,
        r#"{"alg":"HS256","typ":"at+jwt","zip":"DEF"}"#,
        r#"{"alg":"none","typ":"at+jwt","alg":"HS256"}"#,
        r#"{"alg":"dir","enc":"A128GCM","typ":"at+jwt"}"#,
        r#"["HS256"]"#,
    ] {
        let token = hmac_signed(header, &claims().to_string(), SECRET.as_bytes());
        assert_eq!(tokens.verify(&token).unwrap_err(), Refused::NotAccessToken, "{header}");
    }
}

#[test]
fn claims_of_a_wrong_value_or_type_are_refused() {
    let keys = Keys::new();
    let tokens = Tokens::load(&keys.settings).unwrap();
    let now = unix_now();
    let long = "x".repeat(256);
    for (claim, value) in [
        ("exp", Value::Null),
        ("exp", json!(now - 60)),
        ("exp", json!(-1)),
        ("exp", json!((now + 900).to_string())),
        ("exp", json!(now as f64 + 900.5)),
        ("exp", json!(1e300)),
        ("exp", json!(now + MAX_LIFETIME.as_secs() + 3600)),
        ("nbf", json!(now + 600)),
        ("nbf", json!((now - 600).to_string())),
        ("iat", json!(now + 600)),
        ("iat", Value::Null),
        ("iss", json!("somebody")),
        ("iss", json!(["tenantry"])),
        ("iss", Value::Null),
        ("aud", json!("somebody")),
        ("aud", json!(["somebody"])),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!(long)),
        ("sub", json!("a\nb")),
        ("tid", Value::Null),
        ("tid", json!("acme")),
        ("roles", json!("admin")),
        ("roles", json!(vec!["crm:sales"; MAX_ROLES + 1])),
    ] {
        let mut wrong = claims();
        wrong[claim] = value.clone();
        let token = hmac_signed(HEADER, &wrong.to_string(), SECRET.as_bytes());
        assert!(tokens.verify(&token).is_err(), "{claim}: {value}");
        wrong.as_object_mut().unwrap().remove(claim);
        let token = hmac_signed(HEADER, &wrong.to_string(), SECRET.as_bytes());
        assert_eq!(tokens.verify(&token).is_ok(), matches!(claim, "nbf" | "roles"), "without {claim}");
    }
}

#[test]
fn duplicate_claims_are_refused() {
    let keys = Keys::new();
    let tokens = Tokens::load(&keys.settings).unwrap();
    let text = claims().to_string().replacen('{', r#"{"tid":"00000000-0000-0000-0000-000000000009","#, 1);
    assert!(tokens.verify(&hmac_signed(HEADER, &text, SECRET.as_bytes())).is_err());
}

#[test]
fn the_form_of_a_token_is_exact() {
    let keys = Keys::new();
    let tokens = Tokens::load(&keys.settings).unwrap();
    let token = hmac_signed(HEADER, &claims().to_string(), SECRET.as_bytes());
    let (head, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let other_secret = hmac_signed(HEADER, &claims().to_string(), b"another-secret-of-at-least-32-bytes!");
    for wrong in [
        String::new(),
        "a.b.c".into(),
        head.to_owned(),
        format!("{head}."),
        format!("{token}.extra"),
        format!("{token}="),
        format!(" {token}"),
        format!("{token} "),
        format!("{head}.{flipped}{}", &signature[1..]),
        format!("{token}{}", "x".repeat(MAX_TOKEN_BYTES)),
        other_secret,
    ] {
        assert!(tokens.verify(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn keys_that_cannot_be_trusted_stop_the_start() {
    let keys = Keys::new();
    assert!(matches!(Tokens::load(&settings::Auth::default()), Err(KeyError::NoKey)));
    let weak = settings::Auth { hs256_secret: Some("short".into()), ..settings::Auth::default() };
    assert!(matches!(Tokens::load(&weak), Err(KeyError::WeakSecret)));
    assert!(matches!(issue(&weak, grant()), Err(KeyError::WeakSecret)));
    let swapped = settings::Auth {
        ed25519_public_key: keys.settings.ed25519_private_key.clone(),
        ..settings::Auth::default()
    };
    assert!(matches!(Tokens::load(&swapped), Err(KeyError::Pem { .. })));
    let gone = settings::Auth { ed25519_public_key: Some("no/such.pem".into()), ..settings::Auth::default() };
    assert!(matches!(Tokens::load(&gone), Err(KeyError::File { .. })));
}

const SECOND: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ8+jMn1pSFZbNgmOKEfvwiqSFDsDhcYfR7F0+qn6FsX\n\
    -----END PRIVATE KEY-----\n";
const P256: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgUZtVf+mQ0XWeSoEi\n\
    V3vdGUYO1t6Y0x/bLF8ruDjzfSqhRANCAAQeoGwiEtzYdLOTSEErsG4T6aiqN3Im\n\
    9ckMVIVbUgfQQmoR4s0XNO5U9fDPlMNgSbGE52TzMVNqW8t1XWBBVbJC\n\
    -----END PRIVATE KEY-----\n";
const P256_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHqBsIhLc2HSzk0hBK7BuE+moqjdy\n\
    JvXJDFSFW1IH0EJqEeLNFzTuVPXwz5TDYEmxhOdk8zFTalvLdV1gQVWyQg==\n\
    -----END PUBLIC KEY-----\n";

/// A folder of keys.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(std::env::temp_dir().join(format!("tenantry-keys-{}", Uuid::new_v4())));
        std::fs::create_dir(&folder.0).unwrap();
        files.iter().for_each(|(name, text)| folder.put(name, text));
        folder
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn settings(&self) -> settings::Auth {
        settings::Auth { keys_folder: Some(self.0.clone()), ..settings::Auth::default() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn header_of(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

#[test]
fn keys_rotate_with_an_overlap_and_one_that_is_gone_is_refused_at_once() {
    let folder = Folder::new(&[("one.pem", PRIVATE)]);
    let settings = folder.settings();
    let tokens = Tokens::load(&settings).unwrap();
    let old = tokens.issue(grant()).unwrap();
    assert!(!tokens.reload(&settings).unwrap());
    // Published, and not used yet.
    folder.put("two.pem", P256);
    assert!(matches!(tokens.reload(&settings), Err(KeyError::NoActive)));
    folder.put("active", "one\n");
    assert!(tokens.reload(&settings).unwrap());
    assert_eq!(header_of(&tokens.issue(grant()).unwrap()), header_of(&old));
    let published: Value = serde_json::from_slice(&tokens.jwks()).unwrap();
    let keys = published["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().all(|key| key.get("d").is_none() && key["use"] == "sig"), "{keys:?}");
    // In use, and the old one still accepted.
    folder.put("active", "two");
    assert!(tokens.reload(&settings).unwrap());
    let new = tokens.issue(grant()).unwrap();
    assert_eq!(header_of(&new)["alg"], "ES256");
    assert!(keys.iter().any(|key| key["kid"] == header_of(&new)["kid"]));
    assert!(tokens.verify(&old).is_ok() && tokens.verify(&new).is_ok());
    // A token that names one key is not checked with the other.
    let (_, rest) = new.split_once('.').unwrap();
    let mut swapped = header_of(&new);
    swapped["kid"] = header_of(&old)["kid"].clone();
    let swapped = format!("{}.{rest}", encode(&swapped));
    assert_eq!(tokens.verify(&swapped).unwrap_err(), Refused::NotAccessToken);
    // Gone.
    std::fs::remove_file(folder.0.join("one.pem")).unwrap();
    assert!(tokens.reload(&settings).unwrap());
    assert_eq!(tokens.verify(&old).unwrap_err(), Refused::NotAccessToken);
    assert!(tokens.verify(&new).is_ok());
}

#[test]
fn a_public_key_checks_and_does_not_sign() {
    let signs = Folder::new(&[("one.pem", P256)]);
    let token = Tokens::load(&signs.settings()).unwrap().issue(grant()).unwrap();
    let checks = Folder::new(&[("one.pem", P256_PUBLIC)]);
    let tokens = Tokens::load(&checks.settings()).unwrap();
    assert!(tokens.verify(&token).is_ok());
    assert_eq!(tokens.jwks(), Tokens::load(&signs.settings()).unwrap().jwks());
    assert!(matches!(tokens.issue(grant()), Err(KeyError::CannotIssue)));
    // r and s of zero, and a signature in another encoding.
    let (head, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    for forged in
        [vec![0; 64], vec![0; 70], signature[..63].to_vec(), [&[0x30, 0x44], signature.as_slice()].concat()]
    {
        assert!(tokens.verify(&format!("{head}.{}", URL_SAFE_NO_PAD.encode(forged))).is_err());
    }
}

#[test]
fn a_folder_that_cannot_be_used_stops_the_start() {
    for files in [
        &[("one.pem", "nonsense")][..],
        &[("one.pem", PRIVATE), ("active", "two")],
        &[("one.pem", PRIVATE), ("two.pem", SECOND)],
        &[("one.txt", PRIVATE)],
    ] {
        assert!(Tokens::load(&Folder::new(files).settings()).is_err(), "{files:?}");
    }
}

#[test]
fn what_a_session_rests_on_is_in_its_token() {
    let folder = Folder::new(&[("one.pem", SECOND)]);
    let tokens = Tokens::load(&folder.settings()).unwrap();
    let user = Uuid::from_u128(3);
    let proof = Proof {
        user: Some(user),
        session: Some(Uuid::from_u128(5)),
        version: Some(7),
        second_factor: true,
        ..Proof::default()
    };
    let claims = json!({"team": "blue"}).as_object().unwrap().clone();
    let grant = Grant { user: user.to_string(), proof, claims, ..grant() };
    let verified = tokens.verify(&tokens.issue(grant.clone()).unwrap()).unwrap();
    assert_eq!(verified.proof, proof);
    assert_eq!(verified.caller.claims["team"], "blue");
    let elsewhere = tokens.issue_for(grant.clone(), "chat".into()).unwrap();
    assert!(tokens.verify(&elsewhere).is_err());
    assert!(matches!(tokens.issue_for(grant, "tenantry".into()), Err(KeyError::OwnAudience)));
}
