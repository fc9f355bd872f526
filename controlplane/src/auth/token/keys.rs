//! The keys that tokens are signed and checked with, and what is published of them.

mod signer;

use std::{collections::BTreeMap, path::Path};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    jwk::{Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tenantry_config::settings;

pub(super) use signer::Signer;

use super::{KeyError, MIN_SECRET_BYTES};

/// Keys that a folder may have: each is tried by whoever reads the published set.
const MAX_KEYS: usize = 16;
const MAX_FILE_BYTES: u64 = 16 * 1024;
/// The file that names the key that signs.
const ACTIVE: &str = "active";

/// All keys at one moment.
pub(super) struct KeySet {
    keys: Vec<Key>,
    signer: Option<Signer>,
    jwks: Bytes,
    /// What the set was made of, to see a change.
    fingerprint: Vec<u8>,
}

/// A key that tokens are checked with.
pub(super) struct Key {
    /// Present for those that are published: a token that names a key is checked with that one only.
    kid: Option<String>,
    pub algorithm: Algorithm,
    pub decoding: DecodingKey,
}

impl KeySet {
    pub fn load(settings: &settings::Auth) -> Result<Self, KeyError> {
        let mut set = Self { keys: Vec::new(), signer: None, jwks: Bytes::new(), fingerprint: Vec::new() };
        let mut published = BTreeMap::new();
        if let Some(secret) = &settings.hs256_secret {
            let secret = strong(secret)?;
            let decoding = DecodingKey::from_secret(secret);
            set.keys.push(Key { kid: None, algorithm: Algorithm::HS256, decoding });
            set.signer = Some(Signer::hs256(EncodingKey::from_secret(secret)));
        }
        if let Some(path) = &settings.ed25519_public_key {
            let setting = "auth.ed25519PublicKey";
            let pem = read(setting, path)?;
            let decoding =
                DecodingKey::from_ed_pem(&pem).map_err(|source| KeyError::Pem { setting, source })?;
            let jwk = public_jwk(&pem).ok_or(KeyError::Unusable(setting.to_owned()))?;
            publish(&mut published, jwk)?;
            // Whoever issues with its private half may name it otherwise.
            set.keys.push(Key { kid: None, algorithm: Algorithm::EdDSA, decoding });
        }
        if let Some(path) = &settings.ed25519_private_key {
            let setting = "auth.ed25519PrivateKey";
            let encoding = EncodingKey::from_ed_pem(&read(setting, path)?)
                .map_err(|source| KeyError::Pem { setting, source })?;
            set.sign_with(Algorithm::EdDSA, encoding, &mut published)
                .map_err(|source| KeyError::Pem { setting, source })?;
        }
        if let Some(folder) = &settings.keys_folder {
            set.read_folder(folder, &mut published)?;
        }
        if set.keys.is_empty() {
            return Err(KeyError::NoKey);
        }
        let keys: Vec<_> = published.into_values().collect();
        set.jwks = serde_json::to_vec(&json!({"keys": keys})).map_err(KeyError::Jwks)?.into();
        Ok(set)
    }

    /// The keys that may have signed a token whose header says this.
    pub fn candidates<'a>(
        &'a self,
        algorithm: &'a str,
        kid: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(move |key| {
            name(key.algorithm) == algorithm
                && match (kid, &key.kid) {
                    (Some(asked), Some(known)) => asked == known,
                    _ => true,
                }
        })
    }

    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// The published keys, as a JWK Set.
    pub fn jwks(&self) -> &Bytes {
        &self.jwks
    }

    pub fn is_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    pub fn names(&self) -> Vec<&str> {
        self.keys.iter().map(|key| key.kid.as_deref().unwrap_or(name(key.algorithm))).collect()
    }

    fn sign_with(
        &mut self,
        algorithm: Algorithm,
        encoding: EncodingKey,
        published: &mut BTreeMap<String, Jwk>,
    ) -> Result<(), jsonwebtoken::errors::Error> {
        let jwk = Jwk::from_encoding_key(&encoding, algorithm)?;
        let decoding = DecodingKey::from_jwk(&jwk)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
        insert(published, kid.clone(), jwk);
        self.keys.push(Key { kid: Some(kid.clone()), algorithm, decoding });
        self.signer = Some(Signer::published(kid, algorithm, encoding)?);
        Ok(())
    }

    fn read_folder(&mut self, folder: &Path, published: &mut BTreeMap<String, Jwk>) -> Result<(), KeyError> {
        let files = pem_files(folder)?;
        let active = match std::fs::read_to_string(folder.join(ACTIVE)) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(KeyError::File { setting: "auth.keysFolder", source }),
        };
        let configured = self.signer.take();
        let mut signers = 0;
        let mut chosen = None;
        for (stem, pem) in &files {
            self.fingerprint.extend_from_slice(stem.as_bytes());
            self.fingerprint.extend_from_slice(pem);
            let unusable = || KeyError::Unusable(stem.clone());
            if String::from_utf8_lossy(pem).contains("PRIVATE KEY") {
                let (algorithm, encoding) = private_key(pem).ok_or_else(unusable)?;
                self.sign_with(algorithm, encoding, published).map_err(|_| unusable())?;
                signers += 1;
                let signer = self.signer.take();
                if active.as_ref().is_none_or(|active| active == stem) {
                    chosen = signer;
                }
            } else {
                let jwk = public_jwk(pem).ok_or_else(unusable)?;
                let algorithm = algorithm_of(&jwk).ok_or_else(unusable)?;
                let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| unusable())?;
                let kid = publish(published, jwk)?;
                self.keys.push(Key { kid: Some(kid), algorithm, decoding });
            }
        }
        self.fingerprint.extend_from_slice(active.as_deref().unwrap_or_default().as_bytes());
        match (&active, signers) {
            (None, 2..) => return Err(KeyError::NoActive),
            (Some(active), _) if chosen.is_none() => return Err(KeyError::Unusable(active.clone())),
            _ => {}
        }
        self.signer = chosen.or(configured);
        Ok(())
    }
}

fn pem_files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, KeyError> {
    let failed = |source| KeyError::File { setting: "auth.keysFolder", source };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let (Some(stem), Some("pem")) = (
            path.file_stem().and_then(|stem| stem.to_str()),
            path.extension().and_then(|extension| extension.to_str()),
        ) else {
            continue;
        };
        if files.len() == MAX_KEYS || std::fs::metadata(&path).map_err(failed)?.len() > MAX_FILE_BYTES {
            return Err(KeyError::Unusable(stem.to_owned()));
        }
        files.insert(stem.to_owned(), std::fs::read(&path).map_err(failed)?);
    }
    Ok(files)
}

fn private_key(pem: &[u8]) -> Option<(Algorithm, EncodingKey)> {
    let ed = EncodingKey::from_ed_pem(pem).ok().map(|key| (Algorithm::EdDSA, key));
    ed.or_else(|| EncodingKey::from_ec_pem(pem).ok().map(|key| (Algorithm::ES256, key)))
}

/// `SubjectPublicKeyInfo` of the two kinds of keys that we take: what stands before the key itself never differs.
const ED25519_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const P256_HEAD: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

fn public_jwk(pem: &[u8]) -> Option<Jwk> {
    let text = std::str::from_utf8(pem).ok()?;
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let der = STANDARD.decode(body).ok()?;
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = if let Some(x) = der.strip_prefix(&ED25519_HEAD).filter(|x| x.len() == 32) {
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": encode(x)})
    } else {
        let (x, y) = der.strip_prefix(&P256_HEAD).filter(|point| point.len() == 64)?.split_at(32);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "x": encode(x), "y": encode(y)})
    };
    serde_json::from_value(jwk).ok()
}

fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    match jwk.common.key_algorithm {
        Some(KeyAlgorithm::EdDSA) => Some(Algorithm::EdDSA),
        Some(KeyAlgorithm::ES256) => Some(Algorithm::ES256),
        _ => None,
    }
}

fn publish(published: &mut BTreeMap<String, Jwk>, jwk: Jwk) -> Result<String, KeyError> {
    let kid =
        jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| KeyError::Unusable("a public key".into()))?;
    insert(published, kid.clone(), jwk);
    Ok(kid)
}

fn insert(published: &mut BTreeMap<String, Jwk>, kid: String, mut jwk: Jwk) {
    jwk.common.key_id = Some(kid.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    published.insert(kid, jwk);
}

/// The name of an algorithm in a header; nothing for one that none of our keys has.
pub(super) const fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "HS256",
        Algorithm::EdDSA => "EdDSA",
        Algorithm::ES256 => "ES256",
        _ => "",
    }
}

fn strong(secret: &SecretString) -> Result<&[u8], KeyError> {
    let bytes = secret.expose_secret().as_bytes();
    if bytes.len() < MIN_SECRET_BYTES { Err(KeyError::WeakSecret) } else { Ok(bytes) }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, KeyError> {
    std::fs::read(path).map_err(|source| KeyError::File { setting, source })
}
