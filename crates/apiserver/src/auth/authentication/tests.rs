use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer as Signer, KeyPair};
use serde_json::{Value, json};

use super::jws::Token;
use super::*;
use crate::auth::objects::fake::Fake;
use crate::identity::TokenIssuer as _;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

struct World {
    objects: Arc<Fake>,
    clock: Clock,
    issuer: Arc<Issuer>,
    authentication: Authentication,
    ca: Signer<'static, KeyPair>,
}

fn authority(name: &str) -> (String, Signer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), Signer::new(params, key))
}

fn leaf(ca: &Signer<'static, KeyPair>, name: &str, group: &str) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = (UNIX_EPOCH + Duration::from_secs(NOW - 1000)).into();
    params.not_after = (UNIX_EPOCH + Duration::from_secs(NOW + 1000)).into();
    params.signed_by(&KeyPair::generate().unwrap(), ca).unwrap().der().to_vec()
}

fn world() -> World {
    let objects = Arc::new(Fake::default());
    let clock = Clock::manual(UNIX_EPOCH + Duration::from_secs(NOW));
    let settings = IssuerSettings {
        name: ISSUER.into(),
        api_audiences: Vec::new(),
        jwks_uri: String::new(),
        key_pem: KeyPair::generate().unwrap().serialize_pem(),
        old_keys_pem: vec![KeyPair::generate().unwrap().serialize_pem()],
    };
    let issuer = Arc::new(Issuer::new(settings, objects.clone(), clock.clone()).unwrap());
    let (ca_pem, ca) = authority("client-ca");
    let authentication = Authentication::new(Settings {
        client_ca_pem: ca_pem.clone(),
        static_tokens: StaticTokens::parse("static,admin,1,system:masters").unwrap(),
        front_proxy: Some(FrontProxy { ca_pem, names: vec!["front-proxy".into()] }),
        issuer: issuer.clone(),
        objects: objects.clone(),
        clock: clock.clone(),
    });
    World { objects, clock, issuer, authentication: authentication.unwrap(), ca }
}

impl World {
    async fn ask(&self, headers: &[(&'static str, &str)], certificates: Vec<Vec<u8>>) -> Result<Option<UserInfo>, u16> {
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        self.authentication.authenticate(&parts, &Peer { address: None, certificates }).await.map_err(|e| e.code)
    }

    async fn bearer(&self, token: &str) -> Result<Option<UserInfo>, u16> {
        self.ask(&[("authorization", &format!("Bearer {token}"))], Vec::new()).await
    }

    fn populate(&self) -> (Value, Value) {
        let account = json!({"metadata": {"name": "sa", "namespace": "ns", "uid": "sa-uid"}});
        let pod = json!({"metadata": {"name": "p", "namespace": "ns", "uid": "pod-uid"},
            "spec": {"serviceAccountName": "sa", "nodeName": "n1"}});
        self.objects.put("/registry/serviceaccounts/ns/sa", &account);
        self.objects.put("/registry/pods/ns/p", &pod);
        self.objects.put("/registry/minions/n1", &json!({"metadata": {"name": "n1", "uid": "node-uid"}}));
        (account, pod)
    }

    async fn token(&self, spec: Value, account: &Value, bound: Option<&Value>) -> String {
        let answer = self.issuer.issue(json!({"spec": spec}), account, bound).await.unwrap();
        answer["status"]["token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn certificates_name_users_if_our_authority_signed_them() {
    let w = world();
    assert_eq!(w.ask(&[], vec![]).await, Ok(None));
    let admin = leaf(&w.ca, "admin", "system:masters");
    for _ in 0..2 {
        let user = w.ask(&[], vec![admin.clone()]).await.unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.groups.join(",").as_str()), ("admin", "system:masters,system:authenticated"));
    }
    let (_, stranger) = authority("client-ca");
    assert_eq!(w.ask(&[], vec![leaf(&stranger, "admin", "system:masters")]).await, Err(401));
    assert_eq!(w.ask(&[], vec![b"garbage".to_vec()]).await, Err(401));
    w.clock.advance(Duration::from_secs(2000));
    assert_eq!(w.ask(&[], vec![admin]).await, Err(401), "it has expired");
}

#[tokio::test]
async fn the_front_proxy_is_believed_by_name() {
    let w = world();
    let headers = [("x-remote-user", "bob"), ("x-remote-group", "dev"), ("x-remote-extra-scopes", "a")];
    let user = w.ask(&headers, vec![leaf(&w.ca, "front-proxy", "x")]).await.unwrap().unwrap();
    assert_eq!((user.name.as_str(), user.groups.join(",").as_str()), ("bob", "dev,system:authenticated"));
    let other = w.ask(&headers, vec![leaf(&w.ca, "other", "x")]).await.unwrap().unwrap();
    assert_eq!(other.name, "other", "whoever else says so is only himself");
    assert_eq!(w.ask(&headers, vec![]).await, Ok(None));
}

#[tokio::test]
async fn static_tokens_and_wrong_ones() {
    let w = world();
    assert_eq!(w.bearer("static").await.unwrap().unwrap().name, "admin");
    for wrong in ["nope", "a.b.c", "a.b", "..", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(w.bearer(wrong).await, Err(401), "{wrong}");
    }
}

#[tokio::test]
async fn a_bound_token_lives_as_long_as_its_pod() {
    let w = world();
    let (account, pod) = w.populate();
    let spec = json!({"expirationSeconds": 3600, "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}});
    let token = w.token(spec, &account, Some(&pod)).await;
    let claims: Value = serde_json::from_slice(&Token::parse(&token).unwrap().payload).unwrap();
    assert_eq!(claims["aud"], json!([ISSUER]));
    assert_eq!((claims["exp"].as_u64(), claims["iat"].as_u64(), claims["nbf"].as_u64()), (Some(NOW + 3600), Some(NOW), Some(NOW)));
    assert_eq!(claims["sub"], "system:serviceaccount:ns:sa");
    assert_eq!(
        claims["kubernetes.io"],
        json!({"namespace": "ns", "serviceaccount": {"name": "sa", "uid": "sa-uid"}, "pod": {"name": "p", "uid": "pod-uid"},
            "node": {"name": "n1", "uid": "node-uid"}})
    );
    let user = w.bearer(&token).await.unwrap().unwrap();
    assert_eq!(user.name, "system:serviceaccount:ns:sa");
    assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]);
    assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
    assert_eq!(user.extra["authentication.kubernetes.io/node-name"], ["n1"]);

    let mut forged = token.clone().into_bytes();
    let at = forged.len() - 10;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    assert_eq!(w.bearer(&String::from_utf8(forged).unwrap()).await, Err(401));

    let mut again = pod.clone();
    again["metadata"]["uid"] = json!("another");
    w.objects.put("/registry/pods/ns/p", &again);
    assert_eq!(w.bearer(&token).await, Err(401), "another pod of the same name");
    w.objects.put("/registry/pods/ns/p", &pod);
    w.clock.advance(Duration::from_secs(3600 + 61));
    assert_eq!(w.bearer(&token).await, Err(401), "it has expired");
}

#[tokio::test]
async fn tokens_end_with_the_service_account() {
    let w = world();
    let (account, _) = w.populate();
    let token = w.token(json!({"expirationSeconds": 600}), &account, None).await;
    assert!(w.bearer(&token).await.is_ok());
    w.objects.delete("/registry/serviceaccounts/ns/sa");
    assert_eq!(w.bearer(&token).await, Err(401));
}

#[tokio::test]
async fn audiences_are_kept_apart() {
    let w = world();
    let (account, _) = w.populate();
    let token = w.token(json!({"expirationSeconds": 600, "audiences": ["vault", "x"]}), &account, None).await;
    assert_eq!(w.bearer(&token).await, Err(401));
    let review = async |audiences: Value| w.authentication.review_token(json!({"spec": {"token": token, "audiences": audiences}})).await;
    let good = review(json!(["vault"])).await.unwrap();
    assert_eq!((&good["status"]["authenticated"], &good["status"]["audiences"]), (&json!(true), &json!(["vault"])));
    assert_eq!(good["status"]["user"]["username"], "system:serviceaccount:ns:sa");
    let bad = review(json!([])).await.unwrap();
    assert_eq!(bad["status"].get("authenticated"), None);
    assert!(bad["status"]["error"].as_str().unwrap().contains("token audiences [\"vault\" \"x\"] is invalid"), "{bad}");
    assert_eq!(w.authentication.review_token(json!({"spec": {}})).await.unwrap_err().code, 400);
}

#[tokio::test]
async fn requests_are_checked() {
    let w = world();
    let (account, pod) = w.populate();
    let refused = async |spec: Value, bound: Option<&Value>| w.issuer.issue(json!({"spec": spec}), &account, bound).await.unwrap_err();
    let short = refused(json!({"expirationSeconds": 599}), None).await;
    assert!(
        short.message.ends_with("spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"),
        "{short}"
    );
    let mut other = pod.clone();
    other["spec"]["serviceAccountName"] = json!("other");
    let wrong = refused(json!({"boundObjectRef": {"kind": "Pod"}}), Some(&other)).await;
    assert_eq!(wrong.message, "cannot bind token for serviceaccount \"sa\" to pod running with different serviceaccount name.");

    let spec = json!({"expirationSeconds": 3607, "boundObjectRef": {"kind": "Pod"}});
    let token = w.token(spec, &account, Some(&pod)).await;
    let claims: Value = serde_json::from_slice(&Token::parse(&token).unwrap().payload).unwrap();
    assert_eq!(claims["exp"], NOW + 365 * 24 * 3600);
    assert_eq!(claims["kubernetes.io"]["warnafter"], NOW + 3607);
}

#[test]
fn the_documents_name_the_keys() {
    let w = world();
    let keys = w.issuer.key_set();
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!((&keys[0]["kty"], &keys[0]["crv"], &keys[0]["alg"]), (&json!("EC"), &json!("P-256"), &json!("ES256")));
    assert_eq!(keys[0]["x"].as_str().unwrap().len(), 43);
    assert_eq!(
        w.issuer.discovery_document(),
        json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"), "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"]})
    );
}
