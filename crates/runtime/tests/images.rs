//! Images end to end: built, imported, found, pulled from a registry on loopback, removed. Needs root, as unpacking does.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use runtime::images::{Credentials, ImageStore, NewImage, Reference, Registries, import, write_archive};

fn archive(dir: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let file = dir.join("hello");
    fs::write(&file, text).unwrap();
    let image = NewImage {
        name: name.into(),
        files: vec![(file, "/bin/hello".into())],
        links: vec![("/bin/hi".into(), "hello".into())],
        entrypoint: vec!["/bin/hello".into()],
        ..NewImage::default()
    };
    let target = dir.join("image.tar");
    write_archive(&image, &target).unwrap();
    target
}

#[test]
fn an_imported_image_is_found_by_all_its_names_after_a_restart_and_leaves_nothing_when_removed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("images");
    let store = ImageStore::open(&root).unwrap();
    let imported = import(&store, &archive(dir.path(), "example.test/hello:v1", "one")).unwrap();
    assert_eq!(imported[0].tags, ["example.test/hello:v1"]);

    let beside = store;
    let store = ImageStore::open(&root).unwrap();
    let image = store.find("example.test/hello:v1").unwrap();
    assert_eq!(image.config.entrypoint, ["/bin/hello"]);
    assert_eq!(fs::read_to_string(image.layers[0].join("bin/hi")).unwrap(), "one");
    assert!(store.find(&image.id).is_some());
    assert!(store.find(&image.digests[0]).is_some());
    assert!(store.find("example.test/hello:v2").is_none());

    // The tag moves to another image; the first stays under its digest only.
    let again = import(&store, &archive(dir.path(), "example.test/hello:v1", "two")).unwrap();
    assert_ne!(again[0].id, image.id);
    assert_eq!(store.find("example.test/hello:v1").unwrap().id, again[0].id);
    assert_eq!(beside.find("example.test/hello:v1").unwrap().id, again[0].id, "a second process sees what the first imported");

    assert!(store.remove("example.test/hello:v1").unwrap());
    assert!(store.remove(&image.id).unwrap());
    assert!(!store.remove("example.test/hello:v1").unwrap());
    assert_eq!(fs::read_dir(root.join("layers")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(root.join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn damaged_archives_are_refused_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let good = fs::read(archive(dir.path(), "example.test/hello:v1", "one")).unwrap();
    let store = ImageStore::open(&dir.path().join("images")).unwrap();
    let broken = dir.path().join("broken.tar");
    fs::write(&broken, &good).unwrap();
    let whole = import(&store, &broken).unwrap();
    store.remove(&whole[0].id).unwrap();
    for at in (0..good.len()).step_by(97) {
        let mut data = good.clone();
        data[at] ^= 0x5a;
        fs::write(&broken, data).unwrap();
        if let Ok(images) = import(&store, &broken) {
            // The flipped byte lay in padding or in a header field that does not matter.
            store.remove(&images[0].id).unwrap();
        }
    }
    fs::write(&broken, &good[..good.len() / 2]).unwrap();
    assert!(import(&store, &broken).is_err());
    fs::write(&broken, b"hello").unwrap();
    assert!(import(&store, &broken).is_err());
    let store = ImageStore::open(&dir.path().join("images")).unwrap();
    assert!(store.list().is_empty());
    assert_eq!(fs::read_dir(dir.path().join("images/layers")).unwrap().count(), 0);
}

/// A registry of one repository: serves the blobs of an archive, asks for a password first.
async fn registry(blobs: HashMap<String, Vec<u8>>, manifest: Vec<u8>) -> (u16, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let shared = Arc::new((blobs, manifest));
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shared = shared.clone();
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(answer(&request, &shared.0, &shared.1, port)) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (port, task)
}

fn answer(request: &Request<hyper::body::Incoming>, blobs: &HashMap<String, Vec<u8>>, manifest: &[u8], port: u16) -> Response<Full<Bytes>> {
    let reply = |code: u16, body: &[u8]| Response::builder().status(code).body(Full::new(Bytes::copy_from_slice(body))).unwrap();
    let authorization = request.headers().get("authorization").and_then(|h| h.to_str().ok()).unwrap_or_default();
    let path = request.uri().path();
    if path == "/token" {
        let expected = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("ann:secret"));
        let right = authorization == expected && request.uri().query().unwrap_or_default().contains("repository:a/hello:pull");
        return if right { reply(200, br#"{"token":"t-1"}"#) } else { reply(401, b"") };
    }
    if authorization != "Bearer t-1" {
        let challenge = format!(r#"Bearer realm="http://127.0.0.1:{port}/token",service="test""#);
        return Response::builder().status(401).header("www-authenticate", challenge).body(Full::default()).unwrap();
    }
    if path == "/v2/a/hello/manifests/v1" {
        return reply(200, manifest);
    }
    if let Some(digest) = path.strip_prefix("/v2/a/hello/blobs/") {
        return match blobs.get(digest) {
            // Through a redirect, as most registries do.
            Some(_) if request.uri().query().is_none() => {
                Response::builder().status(307).header("location", format!("{path}?real")).body(Full::default()).unwrap()
            }
            Some(data) => reply(200, data),
            None => reply(404, b""),
        };
    }
    reply(404, b"")
}

fn blobs_of(archive: &Path) -> (HashMap<String, Vec<u8>>, Vec<u8>) {
    let mut blobs = HashMap::new();
    let mut index = serde_json::Value::Null;
    for entry in tar::Archive::new(fs::File::open(archive).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut data = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut data).unwrap();
        if path == "index.json" {
            index = serde_json::from_slice(&data).unwrap();
        } else if let Some(hex) = path.strip_prefix("blobs/sha256/") {
            blobs.insert(format!("sha256:{hex}"), data);
        }
    }
    let manifest = blobs[index["manifests"][0]["digest"].as_str().unwrap()].clone();
    (blobs, manifest)
}

#[tokio::test]
async fn pulls_answer_the_registrys_challenge_and_check_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut blobs, manifest) = blobs_of(&archive(dir.path(), "x.test/hello:v1", "pulled"));
    let (port, task) = registry(blobs.clone(), manifest.clone()).await;
    let store = ImageStore::open(&dir.path().join("images")).unwrap();
    let registries = Registries::new(dir.path().join("certificates"));
    let name = Reference::parse(&format!("127.0.0.1:{port}/a/hello:v1")).unwrap();
    let ann = Credentials::from_parts("ann", "secret", "", "");

    let denied = registries.pull(&store, &name, &Credentials::Anonymous).await.unwrap_err().to_string();
    assert!(denied.contains("pull access denied"), "{denied}");
    let image = registries.pull(&store, &name, &ann).await.unwrap();
    assert_eq!(fs::read_to_string(image.layers[0].join("bin/hello")).unwrap(), "pulled");
    assert!(store.find(&name.to_string()).is_some());
    let missing = Reference::parse(&format!("127.0.0.1:{port}/a/hello:v2")).unwrap();
    assert!(registries.pull(&store, &missing, &ann).await.unwrap_err().to_string().contains("not found"));
    task.abort();

    // The same registry, with every blob changed on the way.
    store.remove(&image.id).unwrap();
    for data in blobs.values_mut() {
        data.push(b'x');
    }
    let (port, task) = registry(blobs, manifest).await;
    let name = Reference::parse(&format!("127.0.0.1:{port}/a/hello:v1")).unwrap();
    let error = registries.pull(&store, &name, &ann).await.unwrap_err().to_string();
    assert!(error.contains("has digest"), "{error}");
    assert!(store.list().is_empty());
    task.abort();
}

/// As [`registry`], behind TLS, and it takes a password with each request. Returns its authority's certificate too.
async fn tls_registry(blobs: HashMap<String, Vec<u8>>, manifest: Vec<u8>) -> (u16, String) {
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let shared = Arc::new((blobs, manifest));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust us leaves during the handshake.
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let shared = shared.clone();
            let service = hyper::service::service_fn(move |mut request: Request<hyper::body::Incoming>| {
                let shared = shared.clone();
                async move {
                    let expected = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("ann:secret"));
                    if request.headers().get("authorization").is_none_or(|h| *h != expected) {
                        let refused = Response::builder().status(401).header("www-authenticate", "Basic realm=\"test\"");
                        return Ok::<_, Infallible>(refused.body(Full::default()).unwrap());
                    }
                    request.headers_mut().insert("authorization", "Bearer t-1".parse().unwrap());
                    Ok(answer(&request, &shared.0, &shared.1, port))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (port, certified.cert.pem())
}

#[tokio::test]
async fn a_registry_behind_tls_needs_its_authority_in_place_and_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let (blobs, manifest) = blobs_of(&archive(dir.path(), "x.test/hello:v1", "over tls"));
    let (port, authority) = tls_registry(blobs, manifest).await;
    let store = ImageStore::open(&dir.path().join("images")).unwrap();
    let registries = Registries::new(dir.path().join("certificates"));
    let name = Reference::parse(&format!("127.0.0.1:{port}/a/hello:v1")).unwrap();
    let ann = Credentials::from_parts("ann", "secret", "", "");

    assert!(registries.pull(&store, &name, &ann).await.is_err(), "nobody vouches for this registry");
    let place = dir.path().join(format!("certificates/127.0.0.1:{port}"));
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("ca.crt"), authority).unwrap();
    let denied = registries.pull(&store, &name, &Credentials::Anonymous).await.unwrap_err().to_string();
    assert!(denied.contains("pull access denied"), "{denied}");
    let image = registries.pull(&store, &name, &ann).await.unwrap();
    assert_eq!(fs::read_to_string(image.layers[0].join("bin/hello")).unwrap(), "over tls");
}
