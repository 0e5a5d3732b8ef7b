//! Issues and checks bound service account tokens, and publishes the keys (KEP-1205, KEP-1393).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use api::ApiError;
use api::field::{Error as FieldError, Path};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use stdx::Clock;

use super::Error;
use super::claims::{Claims, Kubernetes, Ref, seconds};
use super::jws::{PublicKey, SigningKey, Token};
use crate::auth::objects::{Objects, keys, sameness};
use crate::identity::{TokenIssuer, UserInfo};

/// The shortest life that may be asked for, in seconds.
const MIN_SECONDS: i64 = 600;
/// The longest, in seconds.
const MAX_SECONDS: i64 = 1 << 32;
/// Pods that ask for exactly this long get a year instead, and are watched from then on: their clients may not reload tokens.
const WATCHED_SECONDS: i64 = 3607;
/// That year, in seconds.
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;
/// Tokens whose signatures were checked and need no second look. When there are more, all are checked again once.
const MAX_KNOWN: usize = 8192;

/// Issues and checks tokens for one issuer name.
pub struct Issuer {
    name: String,
    api_audiences: Vec<String>,
    jwks_uri: String,
    signer: SigningKey,
    verifiers: Vec<PublicKey>,
    objects: Arc<dyn Objects>,
    clock: Clock,
    random: SystemRandom,
    known: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

/// A checked token.
pub(super) struct Checked {
    pub(super) user: UserInfo,
    pub(super) audiences: Vec<String>,
}

/// How tokens are issued.
pub struct IssuerSettings {
    /// The `iss` of tokens, a URL.
    pub name: String,
    /// The audiences of the API server itself; empty means the issuer's name.
    pub api_audiences: Vec<String>,
    /// Where the key set is found by others; empty means the issuer's name and `/openid/v1/jwks`.
    pub jwks_uri: String,
    /// The private key that signs, PEM.
    pub key_pem: String,
    /// Private keys of the past, PEM, whose tokens are still good.
    pub old_keys_pem: Vec<String>,
}

impl Issuer {
    /// Fails if a key cannot be read.
    pub fn new(settings: IssuerSettings, objects: Arc<dyn Objects>, clock: Clock) -> Result<Self, Error> {
        let signer = SigningKey::from_pem(&settings.key_pem).map_err(Error::Key)?;
        let mut verifiers = vec![signer.public().clone()];
        for pem in &settings.old_keys_pem {
            verifiers.push(SigningKey::from_pem(pem).map_err(Error::Key)?.public().clone());
        }
        let or = |given: String, other: String| if given.is_empty() { other } else { given };
        let audiences = settings.api_audiences;
        Ok(Self {
            jwks_uri: or(settings.jwks_uri, format!("{}/openid/v1/jwks", settings.name.trim_end_matches('/'))),
            api_audiences: if audiences.is_empty() { vec![settings.name.clone()] } else { audiences },
            name: settings.name,
            signer,
            verifiers,
            objects,
            clock,
            random: SystemRandom::new(),
            known: Mutex::default(),
        })
    }

    /// The audiences of the API server itself.
    pub fn api_audiences(&self) -> &[String] {
        &self.api_audiences
    }

    /// Those of the wanted audiences that are the API server's own: what tokens without audiences are good for.
    pub(super) fn common_audiences(&self, wanted: &[String]) -> Vec<String> {
        wanted.iter().filter(|a| self.api_audiences.contains(a)).cloned().collect()
    }

    /// `Ok(None)` if the token is not of this issuer.
    pub(super) fn check(&self, token: &str, wanted: &[String], objects: &dyn Objects, now: SystemTime) -> Result<Option<Checked>, String> {
        let Some(claims) = self.claims(token)? else { return Ok(None) };
        let audiences: Vec<String> = wanted.iter().filter(|a| claims.aud.contains(a)).cloned().collect();
        if audiences.is_empty() {
            let shown = |list: &[String]| list.iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(" ");
            return Err(format!("token audiences [{}] is invalid for the target audiences [{}]", shown(&claims.aud), shown(wanted)));
        }
        claims.in_time(now)?;
        Ok(Some(Checked { user: claims.user(objects, now)?, audiences }))
    }

    /// The claims of a token that one of our keys has signed.
    fn claims(&self, token: &str) -> Result<Option<Arc<Claims>>, String> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&digest) {
            return Ok(Some(known.clone()));
        }
        let Some(parsed) = Token::parse(token) else { return Ok(None) };
        let Ok(claims) = serde_json::from_slice::<Claims>(&parsed.payload) else { return Ok(None) };
        if claims.iss != self.name {
            return Ok(None);
        }
        if !parsed.verified(&self.verifiers) {
            return Err("the signature is not valid".to_owned());
        }
        let claims = Arc::new(claims);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(digest, claims.clone());
        Ok(Some(claims))
    }

    /// A random UUID (version 4).
    fn uuid(&self) -> Result<String, ApiError> {
        let mut bytes = [0_u8; 16];
        self.random.fill(&mut bytes).map_err(|_| ApiError::internal("no randomness for a token's id"))?;
        let random = u128::from_be_bytes(bytes);
        // Version 4 and the RFC 9562 variant have fixed bits.
        let id = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let h = format!("{id:032x}");
        let part = |from: usize, to: usize| h.get(from..to).unwrap_or_default();
        Ok(format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)))
    }

    /// What the token is bound to, from the request's reference.
    fn bind(&self, request: &Value, account: &str, bound: Option<&Value>, claims: &mut Kubernetes) -> Result<(), ApiError> {
        let Some(bound) = bound else { return Ok(()) };
        let reference = reference(bound);
        match text(request, "/spec/boundObjectRef/kind") {
            "Pod" => {
                if text(bound, "/spec/serviceAccountName") != account {
                    return Err(ApiError::bad_request(format!(
                        "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                    )));
                }
                let node = text(bound, "/spec/nodeName");
                if !node.is_empty() {
                    let uid = sameness(self.objects.as_ref(), &format!("{}{node}", keys::NODES)).map(|m| m.uid);
                    claims.node = Some(Ref { name: node.to_owned(), uid: uid.unwrap_or_default() });
                }
                claims.pod = Some(reference);
            }
            "Secret" => claims.secret = Some(reference),
            "Node" => claims.node = Some(reference),
            kind => {
                let version = text(request, "/spec/boundObjectRef/apiVersion");
                return Err(ApiError::bad_request(format!("cannot bind token to object of type {version}, Kind={kind}")));
            }
        }
        Ok(())
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn reference(object: &Value) -> Ref {
    Ref { name: text(object, "/metadata/name").to_owned(), uid: text(object, "/metadata/uid").to_owned() }
}

fn lifetime(request: &Value) -> Result<i64, ApiError> {
    let wanted = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(3600);
    let why = if wanted < MIN_SECONDS {
        "may not specify a duration less than 10 minutes"
    } else if wanted > MAX_SECONDS {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(wanted);
    };
    let errs = [FieldError::invalid(&Path::new("spec").child("expirationSeconds"), wanted, why)];
    Err(ApiError::invalid("authentication.k8s.io", "TokenRequest", "", &errs))
}

fn rfc3339(at: SystemTime) -> String {
    jiff::Timestamp::from_second(seconds(at)).map(|t| t.to_string()).unwrap_or_default()
}

#[async_trait::async_trait]
impl TokenIssuer for Issuer {
    async fn issue(&self, mut request: Value, service_account: &Value, bound: Option<&Value>) -> Result<Value, ApiError> {
        let (account, namespace) = (reference(service_account), text(service_account, "/metadata/namespace"));
        let wanted = lifetime(&request)?;
        let asked = request.pointer("/spec/audiences").and_then(Value::as_array).into_iter().flatten();
        let asked: Vec<String> = asked.filter_map(|a| Some(a.as_str()?.to_owned())).collect();
        let audiences = if asked.is_empty() { self.api_audiences.clone() } else { asked };
        let mut kubernetes = Kubernetes { namespace: namespace.to_owned(), serviceaccount: account.clone(), ..Kubernetes::default() };
        self.bind(&request, &account.name, bound, &mut kubernetes)?;
        let now = self.clock.now();
        let ours = audiences.iter().all(|a| self.api_audiences.contains(a));
        let mut life = wanted;
        if kubernetes.pod.is_some() && wanted == WATCHED_SECONDS && ours {
            kubernetes.warnafter = Some(seconds(now).saturating_add(wanted));
            life = EXTENDED_SECONDS;
        }
        let claims = Claims {
            aud: audiences.clone(),
            exp: seconds(now).saturating_add(life),
            iat: seconds(now),
            iss: self.name.clone(),
            jti: self.uuid()?,
            sub: format!("system:serviceaccount:{namespace}:{}", account.name),
            nbf: seconds(now),
            kubernetes,
        };
        let payload = serde_json::to_vec(&claims).map_err(ApiError::internal)?;
        let token = self.signer.sign(&payload).map_err(|e| ApiError::internal(format!("failed to generate token: {e}")))?;
        let until = now.checked_add(Duration::from_secs(wanted.unsigned_abs())).unwrap_or(now);
        if let Some(o) = request.as_object_mut() {
            let meta = json!({"name": account.name, "namespace": namespace, "uid": account.uid, "creationTimestamp": rfc3339(now)});
            o.insert("metadata".to_owned(), meta);
            if let Some(spec) = o.get_mut("spec").and_then(Value::as_object_mut) {
                spec.insert("audiences".to_owned(), json!(audiences));
                spec.insert("expirationSeconds".to_owned(), wanted.into());
            }
            o.insert("status".to_owned(), json!({"token": token, "expirationTimestamp": rfc3339(until)}));
        }
        Ok(request)
    }

    fn discovery_document(&self) -> Value {
        let mut algorithms: Vec<&Value> = self.verifiers.iter().filter_map(|k| k.jwk().get("alg")).collect();
        algorithms.dedup();
        json!({
            "issuer": self.name, "jwks_uri": self.jwks_uri, "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": algorithms,
        })
    }

    fn key_set(&self) -> Value {
        json!({"keys": self.verifiers.iter().map(PublicKey::jwk).collect::<Vec<_>>()})
    }
}
