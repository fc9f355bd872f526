//! The key that signs, and how it does so.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    errors::{Error, ErrorKind},
};
use p256::{SecretKey, elliptic_curve::sec1::ToEncodedPoint, pkcs8::DecodePrivateKey};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde::Serialize;

/// The key that signs.
pub(in crate::auth::token) struct Signer {
    kid: Option<String>,
    algorithm: Algorithm,
    signing: Signing,
}

enum Signing {
    /// By the library, which reads the key anew for each token: no matter for these kinds.
    Library(EncodingKey),
    /// ES256. Reading the key and signing take several times as long in the library.
    P256(Box<EcdsaKeyPair>, SystemRandom),
}

impl Signer {
    pub(super) fn hs256(key: EncodingKey) -> Self {
        Self { kid: None, algorithm: Algorithm::HS256, signing: Signing::Library(key) }
    }

    /// A key whose public half is published under the name `kid`.
    pub(super) fn published(kid: String, algorithm: Algorithm, key: EncodingKey) -> Result<Self, Error> {
        let signing = match algorithm {
            Algorithm::ES256 => {
                let random = SystemRandom::new();
                Signing::P256(Box::new(pair(&key, &random).ok_or(ErrorKind::InvalidEcdsaKey)?), random)
            }
            _ => Signing::Library(key),
        };
        Ok(Self { kid: Some(kid), algorithm, signing })
    }

    /// `claims` as a token of type `typ`.
    pub(in crate::auth::token) fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, Error> {
        let header =
            Header { typ: Some(typ.to_owned()), kid: self.kid.clone(), ..Header::new(self.algorithm) };
        match &self.signing {
            Signing::Library(key) => jsonwebtoken::encode(&header, claims, key),
            Signing::P256(pair, random) => {
                let (header, claims) = (serde_json::to_vec(&header)?, serde_json::to_vec(claims)?);
                let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
                let message = format!("{}.{}", encode(&header), encode(&claims));
                let signature = pair
                    .sign(random, message.as_bytes())
                    .map_err(|_| ErrorKind::Signing("there is no randomness".to_owned()))?;
                Ok(format!("{message}.{}", encode(signature.as_ref())))
            }
        }
    }
}

fn pair(key: &EncodingKey, random: &SystemRandom) -> Option<EcdsaKeyPair> {
    let secret = SecretKey::from_pkcs8_der(key.as_bytes()).ok()?;
    let public = secret.public_key().to_encoded_point(false);
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    EcdsaKeyPair::from_private_key_and_public_key(algorithm, &secret.to_bytes(), public.as_bytes(), random)
        .ok()
}
