//! The control plane: store, API server, controllers, scheduler.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context as _;
use apiserver::auth::{self, authentication};
use apiserver::config::KubeletClient;
use apiserver::{Config, Deps, Server, Storage, UserInfo};
use client::Informers;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Shared;
use crate::settings::Settings;

const AUTHENTICATED: &str = "system:authenticated";

/// A running control plane.
pub(crate) struct ControlPlane {
    server: Arc<Server>,
    /// One cache of each kind for all components of this process.
    pub(crate) informers: Informers,
    serving: JoinHandle<()>,
    store: Arc<store::Embedded>,
}

/// Starts everything; returns when the API server answers.
pub(crate) async fn start(settings: &Settings, pki: &pki::Cluster, shared: &Shared) -> anyhow::Result<ControlPlane> {
    let path = settings.data_dir.join("store");
    let options = store::Options { clock: shared.clock.clone(), ..store::Options::default() };
    let store = tokio::task::spawn_blocking(move || store::Embedded::open(&path, options)).await?.context("opening the store")?;
    let storage = Storage::open(store.clone()).await.context("loading the store")?;
    let server = api_server(settings, pki, shared, storage).await?;

    let listener = TcpListener::bind(settings.listen).await.with_context(|| format!("listening on {}", settings.listen))?;
    let certificate = shared.certificates.open(pki, "apiserver", serving_identity(settings))?;
    let tls = apiserver::serve::tls_config(certificate)?;
    let serving = tokio::spawn(apiserver::serve::serve(server.clone(), listener, tls, shared.stop.clone()));

    let informers =
        Informers::new(client::in_process(server.in_process(UserInfo::new("system:apiserver", &[auth::MASTERS, AUTHENTICATED]))));
    let plane = ControlPlane { server, informers, serving, store };
    plane.start_controllers(pki, shared);
    plane.start_scheduler(shared);
    Ok(plane)
}

impl ControlPlane {
    /// A client that calls as a user.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> kube::Client {
        in_process(&self.server, user, groups)
    }

    /// Returns when open requests have been answered and the store is closed.
    pub(crate) async fn ended(self) {
        let _ = self.serving.await;
        let Self { server, informers, store, .. } = self;
        drop((informers, server));
        // Waiting writes are finished when the last owner lets go.
        let _ = tokio::task::spawn_blocking(move || drop(store)).await;
    }

    fn start_controllers(&self, pki: &pki::Cluster, shared: &Shared) {
        let server = self.server.clone();
        let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system", AUTHENTICATED];
        let config = controllers::Config {
            clients: Arc::new(move |user| in_process(&server, user, &groups)),
            informers: self.informers.clone(),
            clock: shared.clock.clone(),
            prng: shared.prng.clone(),
            cluster_ca_pem: pki.server_ca.certificate_pem().to_owned(),
            legacy_tokens: None,
        };
        until_stopped(shared, controllers::run(config));
    }

    fn start_scheduler(&self, shared: &Shared) {
        let config = scheduler::Config {
            client: self.client("system:kube-scheduler", &[AUTHENTICATED]),
            informers: self.informers.clone(),
            clock: shared.clock.clone(),
            prng: shared.prng.clone(),
        };
        until_stopped(shared, scheduler::run(config));
    }
}

async fn api_server(settings: &Settings, pki: &pki::Cluster, shared: &Shared, storage: Arc<Storage>) -> anyhow::Result<Arc<Server>> {
    let objects: Arc<dyn auth::Objects> = storage.clone();
    let issuer_name = format!("https://kubernetes.default.svc.{}", settings.cluster_domain);
    let issuer = Arc::new(authentication::Issuer::new(
        authentication::IssuerSettings {
            name: issuer_name,
            api_audiences: Vec::new(),
            jwks_uri: String::new(),
            key_pem: pki.service_account_key_pem.clone(),
            old_keys_pem: Vec::new(),
        },
        objects.clone(),
        shared.clock.clone(),
    )?);
    let authenticator = auth::Authentication::new(auth::Settings {
        client_ca_pem: pki.client_ca.certificate_pem().to_owned(),
        static_tokens: authentication::StaticTokens::default(),
        front_proxy: Some(authentication::FrontProxy {
            ca_pem: pki.front_proxy_ca.certificate_pem().to_owned(),
            names: vec!["front-proxy-client".to_owned()],
        }),
        issuer: issuer.clone(),
        objects: objects.clone(),
        clock: shared.clock.clone(),
    })?;
    let myself = pki::Identity::client("kube-apiserver-kubelet-client", Some(auth::MASTERS));
    let kubelet_client = shared.certificates.open(pki, "apiserver-kubelet-client", myself)?;
    let kubelet_tls = pki::client_config(kubelet_client, pki.server_ca.certificate_pem())?;
    let config = Config {
        advertise_address: settings.node_ip,
        advertise_port: settings.listen.port(),
        service_range: settings.service_cidr.into(),
        kubelet_client: Some(KubeletClient(Arc::new(kubelet_tls))),
        ..Config::default()
    };
    let deps = Deps {
        storage,
        authenticator: Arc::new(authenticator),
        authorizer: Arc::new(auth::Authorization::new(objects)),
        tokens: issuer,
        clock: shared.clock.clone(),
        prng: shared.prng.clone(),
    };
    Server::build(config, deps).await.map_err(|e| anyhow::anyhow!("building the API server: {e}"))
}

fn in_process(server: &Arc<Server>, user: &str, groups: &[&str]) -> kube::Client {
    client::in_process(server.in_process(UserInfo::new(user, groups)))
}

fn serving_identity(settings: &Settings) -> pki::Identity {
    let mut dns: Vec<String> = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned).to_vec();
    dns.push(format!("kubernetes.default.svc.{}", settings.cluster_domain));
    dns.push(settings.node_name.clone());
    let mut ips = vec![IpAddr::from([127, 0, 0, 1]), settings.node_ip, settings.kubernetes_service_ip().into()];
    for name in &settings.extra_names {
        match name.parse() {
            Ok(ip) => ips.push(ip),
            Err(_) => dns.push(name.clone()),
        }
    }
    ips.dedup();
    pki::Identity::server("kube-apiserver", dns, ips)
}

/// Runs a component that never ends by itself, until the process ends.
pub(crate) fn until_stopped(shared: &Shared, component: impl Future<Output = ()> + Send + 'static) {
    let stop = shared.stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = component => {}
            () = stop.cancelled() => {}
        }
    });
}
