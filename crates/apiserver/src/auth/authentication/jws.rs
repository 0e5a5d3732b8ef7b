//! JSON Web Signatures, as small as service account tokens need: compact form, ES256 and RS256 (RFC 7515, 7517, 7518).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What stands before the point in the subject public key info of a P-256 key.
const P256_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
    0x07, 0x03, 0x42, 0x00,
];
/// The algorithm identifier of RSA keys.
const RSA_ID: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// Coordinates of a P-256 point, in bytes.
const P256_BYTES: usize = 32;

/// A key that signs tokens; it also verifies.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
    random: SystemRandom,
}

enum Pair {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// A key that verifies tokens.
#[derive(Clone, Debug)]
pub struct PublicKey {
    algorithm: Algorithm,
    bytes: Vec<u8>,
    id: String,
    jwk: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Es256,
    Rs256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

impl SigningKey {
    /// Reads a private key: PKCS#8 (P-256 or RSA) or PKCS#1, PEM.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        let random = SystemRandom::new();
        let pair = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| e.to_string())? {
            PrivateKeyDer::Pkcs8(key) => {
                let der = key.secret_pkcs8_der();
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
                    .map(Pair::P256)
                    .or_else(|_| RsaKeyPair::from_pkcs8(der).map(Pair::Rsa))
            }
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).map(Pair::Rsa),
            _ => return Err("it must be PKCS#8 (P-256 or RSA) or PKCS#1".to_owned()),
        };
        let pair = pair.map_err(|e| e.to_string())?;
        let public = match &pair {
            Pair::P256(key) => PublicKey::p256(key.public_key().as_ref()),
            Pair::Rsa(key) => PublicKey::rsa(key),
        };
        Ok(Self { pair, public, random })
    }

    /// The half that verifies.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a payload: `header.payload.signature`.
    pub fn sign(&self, payload: &[u8]) -> Result<String, String> {
        let header = json!({"alg": self.public.algorithm.name(), "kid": self.public.id}).to_string();
        let mut token = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let failed = |_| "the key does not sign".to_owned();
        let signature = match &self.pair {
            Pair::P256(key) => key.sign(&self.random, token.as_bytes()).map_err(failed)?.as_ref().to_vec(),
            Pair::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &self.random, token.as_bytes(), &mut signature).map_err(failed)?;
                signature
            }
        };
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }
}

impl PublicKey {
    fn p256(point: &[u8]) -> Self {
        let id = key_id(&[&P256_INFO, point].concat());
        let coordinate = |from: usize| URL_SAFE_NO_PAD.encode(point.get(from..from + P256_BYTES).unwrap_or_default());
        let jwk = json!({"use": "sig", "kty": "EC", "kid": id, "crv": "P-256", "alg": "ES256",
            "x": coordinate(1), "y": coordinate(1 + P256_BYTES)});
        Self { algorithm: Algorithm::Es256, bytes: point.to_vec(), id, jwk }
    }

    fn rsa(key: &RsaKeyPair) -> Self {
        let bytes = key.public_key().as_ref().to_vec();
        let bits = der(0x03, &[&[0], bytes.as_slice()].concat());
        let id = key_id(&der(0x30, &[RSA_ID.as_slice(), &bits].concat()));
        let parts: PublicKeyComponents<Vec<u8>> = key.public().into();
        let jwk = json!({"use": "sig", "kty": "RSA", "kid": id, "alg": "RS256",
            "n": URL_SAFE_NO_PAD.encode(parts.n), "e": URL_SAFE_NO_PAD.encode(parts.e)});
        Self { algorithm: Algorithm::Rs256, bytes, id, jwk }
    }

    /// The key as an entry of a JSON Web Key Set.
    pub fn jwk(&self) -> &Value {
        &self.jwk
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok()
    }
}

/// A token taken apart. Nothing in it is to be believed before [`Token::verified`] says so.
pub struct Token<'a> {
    header: Header,
    signed: &'a str,
    signature: Vec<u8>,
    /// The decoded payload.
    pub payload: Vec<u8>,
}

impl<'a> Token<'a> {
    /// `None` if it is no compact JWS.
    pub fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        if payload.contains('.') {
            return None;
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header = serde_json::from_slice(&decode(header)?).ok()?;
        Some(Self { header, signed, signature: decode(signature)?, payload: decode(payload)? })
    }

    /// Whether one of the keys has signed it. A key is asked only for its own algorithm, whatever the header says.
    pub fn verified<'k>(&self, keys: impl IntoIterator<Item = &'k PublicKey>) -> bool {
        keys.into_iter().any(|key| {
            let named = self.header.kid.is_empty() || self.header.kid == key.id;
            named && self.header.alg == key.algorithm.name() && key.verifies(self.signed.as_bytes(), &self.signature)
        })
    }
}

/// Kubernetes names a key by the SHA-256 of its subject public key info.
fn key_id(info: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(info))
}

/// One DER element with a definite length.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    if let Some(short) = u8::try_from(content.len()).ok().filter(|n| *n < 0x80) {
        out.push(short);
    } else {
        let bytes = content.len().to_be_bytes();
        let significant: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
        out.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
        out.extend(significant);
    }
    out.extend_from_slice(content);
    out
}
