//! Services in the kernel: from pods, from the node and from outside.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use network::nft::{Family, Nft as _, NftSocket, Op};
use network::podnet::{PodNet, Protocol};
use network::proxy::{NodeFacts, NodePortAddresses, Proxy, TABLE};
use serde_json::{Value, json};

use crate::world::{DNS, NODE, OUTSIDE, Pod, World, ask, serve_tcp, serve_udp, tcp, udp};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 80);
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

fn facts() -> NodeFacts {
    NodeFacts {
        name: "n1".into(),
        zone: None,
        addresses: vec![NODE.into()],
        cluster_cidrs: vec!["10.42.0.0/16".parse().unwrap()],
        service_cidrs: vec!["10.43.0.0/16".parse().unwrap()],
        served_here: vec![DNS.into()],
        node_port_addresses: NodePortAddresses::All,
    }
}

/// A service `web` at [`VIP`] with TCP and UDP port 80 that lead to 8080, changed by `spec`.
fn service(spec: Value) -> Arc<Service> {
    let mut whole = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {
        "clusterIP": VIP, "clusterIPs": [VIP], "type": "ClusterIP",
        "ports": [{"name": "t", "port": 80, "protocol": "TCP"}, {"name": "u", "port": 80, "protocol": "UDP"}]}});
    for (key, value) in spec.as_object().unwrap() {
        whole["spec"][key] = value.clone();
    }
    Arc::new(serde_json::from_value(whole).unwrap())
}

fn node_port() -> Arc<Service> {
    service(json!({"type": "NodePort", "ports": [
        {"name": "t", "port": 80, "protocol": "TCP", "nodePort": 30080},
        {"name": "u", "port": 80, "protocol": "UDP", "nodePort": 30080}]}))
}

fn slice(endpoints: &[(&IpAddr, &str)]) -> Arc<EndpointSlice> {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|(address, state)| {
            let (ready, terminating) = (*state != "terminating" && *state != "unready", *state == "terminating");
            json!({"addresses": [address], "nodeName": if *state == "remote" { "n2" } else { "n1" },
                "conditions": {"ready": ready, "serving": *state != "unready", "terminating": terminating}})
        })
        .collect();
    let whole = json!({"metadata": {"name": "web-1", "namespace": "default",
        "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "t", "port": 8080, "protocol": "TCP"}, {"name": "u", "port": 8080, "protocol": "UDP"}]});
    Arc::new(serde_json::from_value(whole).unwrap())
}

struct Town {
    world: World,
    net: PodNet,
    proxy: Proxy,
    a: Pod,
    b: Pod,
}

impl Town {
    /// A node with two pods that serve TCP and UDP on 8080.
    async fn new() -> Self {
        let world = World::new();
        let net = PodNet::start(world.config()).await.unwrap();
        let (a, b) = (world.pod(&net, "a", &[]).await, world.pod(&net, "b", &[]).await);
        for (pod, name) in [(&a, "a"), (&b, "b")] {
            serve_tcp(&pod.namespace, 8080, name);
            serve_udp(&pod.namespace, 8080, name);
        }
        let proxy = Proxy::open(&world.node, Family::Ipv4, facts()).unwrap();
        Self { world, net, proxy, a, b }
    }

    fn sync(&mut self, service: &Arc<Service>, endpoints: &[(&IpAddr, &str)]) {
        self.proxy.sync(std::slice::from_ref(service), &[slice(endpoints)]).unwrap();
    }

    /// Who answers in `tries` connections to `to`.
    fn who(&self, from: &network::Namespace, to: impl Into<IpAddr>, port: u16, tries: usize) -> BTreeSet<String> {
        let to = to.into();
        (0..tries).map(|_| tcp(from, to, port).split(' ').next().unwrap_or_default().to_owned()).collect()
    }
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|n| (*n).to_owned()).collect()
}

/// With two fair endpoints, this many tries miss one of them once in 2^39 runs.
const TRIES: usize = 40;

#[tokio::test]
async fn a_cluster_ip_balances_over_ready_pods_only() {
    let mut town = Town::new().await;
    let (a, b) = (town.a.address, town.b.address);
    let web = service(json!({}));
    town.sync(&web, &[(&a, "ready"), (&b, "ready")]);
    let client = town.world.pod(&town.net, "client", &[]).await;
    assert_eq!(town.who(&client.namespace, VIP, 80, TRIES), names(&["a", "b"]), "from a pod");
    assert_eq!(town.who(&town.world.node, VIP, 80, TRIES), names(&["a", "b"]), "from the node");
    assert_eq!(town.who(&town.a.namespace, VIP, 80, TRIES), names(&["a", "b"]), "from a pod to itself too");
    assert_eq!(tcp(&client.namespace, VIP, 80).split(' ').nth(1), Some(client.address.to_string().as_str()));
    let udp_answers: BTreeSet<String> = (0..TRIES).map(|_| ask(&udp(&client.namespace), VIP, 80)[..1].to_owned()).collect();
    assert_eq!(udp_answers, names(&["a", "b"]));
    town.sync(&web, &[(&a, "unready"), (&b, "ready")]);
    assert_eq!(town.who(&client.namespace, VIP, 80, TRIES), names(&["b"]), "an unready pod gets nothing");
    town.sync(&web, &[(&a, "terminating"), (&b, "unready")]);
    assert_eq!(town.who(&client.namespace, VIP, 80, 3), names(&["a"]), "better a terminating pod than none");
}

#[tokio::test]
async fn without_endpoints_and_without_owner_connections_are_refused_at_once() {
    let mut town = Town::new().await;
    let a = town.a.address;
    town.sync(&node_port(), &[(&a, "unready")]);
    for from in [&town.a.namespace, &town.world.node] {
        assert_eq!(tcp(from, VIP, 80), "ConnectionRefused", "no endpoints");
        assert_eq!(tcp(from, VIP, 81), "ConnectionRefused", "no such port");
        assert_eq!(tcp(from, Ipv4Addr::new(10, 43, 9, 9), 80), "HostUnreachable", "no such service");
        assert_eq!(tcp(from, NODE, 30080), "ConnectionRefused", "no endpoints behind the node port");
    }
    assert_eq!(tcp(&town.world.outside, NODE, 30080), "ConnectionRefused");
    serve_tcp(&town.world.node, 53, "dns");
    for from in [&town.a.namespace, &town.world.node] {
        assert_eq!(tcp(from, DNS, 53).split(' ').next(), Some("dns"), "the node answers its own service address");
    }
}

#[tokio::test]
async fn node_ports_answer_outside_on_the_node_and_in_pods() {
    let mut town = Town::new().await;
    let (a, b) = (town.a.address, town.b.address);
    town.sync(&node_port(), &[(&a, "ready"), (&b, "ready")]);
    for from in [&town.world.outside, &town.world.node, &town.a.namespace] {
        assert_eq!(town.who(from, NODE, 30080, TRIES), names(&["a", "b"]));
    }
    assert!(!tcp(&town.world.outside, NODE, 30080).contains(&OUTSIDE.to_string()), "policy Cluster hides the client");
    assert!(ask(&udp(&town.world.outside), NODE, 30080).len() > 2);
    town.sync(&service(json!({})), &[(&a, "ready")]);
    assert_eq!(tcp(&town.world.outside, NODE, 30080), "ConnectionRefused", "no longer a node port");
}

#[tokio::test]
async fn policy_local_keeps_the_client_and_uses_only_local_pods() {
    let mut town = Town::new().await;
    let (a, b) = (town.a.address, town.b.address);
    let local = service(json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local",
        "externalIPs": [EXTERNAL], "ports": [{"name": "t", "port": 80, "protocol": "TCP", "nodePort": 30080}]}));
    town.sync(&local, &[(&a, "remote"), (&b, "ready")]);
    for _ in 0..TRIES {
        assert_eq!(tcp(&town.world.outside, NODE, 30080), format!("b {OUTSIDE}"));
    }
    let client = town.world.pod(&town.net, "client", &[]).await;
    assert_eq!(town.who(&client.namespace, NODE, 30080, TRIES), names(&["a", "b"]), "pods go anywhere");
    assert_eq!(town.who(&client.namespace, EXTERNAL, 80, TRIES), names(&["a", "b"]), "external address");
    let internal = service(json!({"internalTrafficPolicy": "Local"}));
    town.sync(&internal, &[(&a, "remote"), (&b, "ready")]);
    assert_eq!(town.who(&town.a.namespace, VIP, 80, TRIES), names(&["b"]));
}

#[tokio::test]
async fn a_client_with_affinity_stays_until_its_pod_goes() {
    let mut town = Town::new().await;
    let (a, b) = (town.a.address, town.b.address);
    let sticky = service(json!({"sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 3600}}}));
    town.sync(&sticky, &[(&a, "ready"), (&b, "ready")]);
    let client = town.world.pod(&town.net, "client", &[]).await;
    let first = town.who(&client.namespace, VIP, 80, TRIES);
    assert_eq!(first.len(), 1, "{first:?}");
    let (stays, other) = if first.contains("a") { ((a, "a"), (b, "b")) } else { ((b, "b"), (a, "a")) };
    town.sync(&sticky, &[(&other.0, "ready")]);
    assert_eq!(town.who(&client.namespace, VIP, 80, TRIES), names(&[other.1]), "the old pod is gone");
    town.sync(&sticky, &[(&stays.0, "ready"), (&other.0, "ready")]);
    assert_eq!(town.who(&client.namespace, VIP, 80, TRIES), names(&[other.1]), "and stays with the new one");
    let clients: BTreeSet<String> = {
        let mut seen = BTreeSet::new();
        for n in 0..20 {
            let other = town.world.pod(&town.net, &format!("client{n}"), &[]).await;
            seen.extend(town.who(&other.namespace, VIP, 80, 1));
        }
        seen
    };
    assert_eq!(clients, names(&["a", "b"]), "other clients are balanced");
}

#[tokio::test]
async fn a_load_balancer_lets_in_only_its_source_ranges() {
    let mut town = Town::new().await;
    let a = town.a.address;
    let with = |ranges: Value| {
        let spec = json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ranges});
        let mut service = Arc::unwrap_or_clone(service(spec));
        service.status = serde_json::from_value(json!({"loadBalancer": {"ingress": [{"ip": EXTERNAL}]}})).unwrap();
        Arc::new(service)
    };
    town.sync(&with(json!(["10.42.0.0/16"])), &[(&a, "ready")]);
    assert_eq!(town.who(&town.b.namespace, EXTERNAL, 80, 1), names(&["a"]));
    town.sync(&with(json!([" 203.0.113.0/24"])), &[(&a, "ready")]);
    assert_eq!(town.who(&town.b.namespace, EXTERNAL, 80, 1), names(&["TimedOut"]), "others are dropped");
    town.sync(&with(json!(["0.0.0.0/0"])), &[(&a, "ready")]);
    assert_eq!(town.who(&town.b.namespace, EXTERNAL, 80, 1), names(&["a"]));
}

#[tokio::test]
async fn a_udp_flow_moves_on_when_its_pod_goes() {
    let mut town = Town::new().await;
    let (a, b) = (town.a.address, town.b.address);
    let web = service(json!({}));
    let client = town.world.pod(&town.net, "client", &[]).await;
    let socket: UdpSocket = udp(&client.namespace);
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // The first packet finds nobody and is tracked all the same.
    town.sync(&web, &[]);
    assert_ne!(ask(&socket, VIP, 80).split(' ').next(), Some("a"));
    town.sync(&web, &[(&a, "ready")]);
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // A refusal of the first packet may still be queued on the socket.
    let answer = (0..3).map(|_| ask(&socket, VIP, 80)).find(|text| text.contains(' '));
    assert_eq!(answer, Some(format!("a {}", client.address)));
    town.sync(&web, &[(&b, "ready")]);
    assert_eq!(ask(&socket, VIP, 80), format!("b {}", client.address));
}

#[tokio::test]
async fn a_change_costs_only_itself_and_damage_is_repaired() {
    let mut town = Town::new().await;
    let (a, b) = (town.a.address, town.b.address);
    let web = service(json!({}));
    let both = slice(&[(&a, "ready"), (&b, "ready")]);
    let (services, slices) = (vec![web], vec![both]);
    town.proxy.sync(&services, &slices).unwrap();
    let idle = town.proxy.sync(&services, &slices).unwrap();
    assert_eq!((idle.planned, idle.changes), (0, 0));
    assert!(town.proxy.verify().unwrap());
    let mut nft = NftSocket::open_in(&town.world.node).unwrap();
    nft.commit(Family::Ipv4, TABLE, &[Op::FlushChain("services".into())]).unwrap();
    assert!(!town.proxy.verify().unwrap());
    town.proxy.sync(&services, &slices).unwrap();
    assert!(town.proxy.verify().unwrap());
    assert_eq!(town.who(&town.a.namespace, VIP, 80, TRIES), names(&["a", "b"]));
    let before = nft.chains(Family::Ipv4, TABLE).unwrap().len();
    town.proxy.sync(&[], &[]).unwrap();
    assert_eq!(nft.chains(Family::Ipv4, TABLE).unwrap().len(), before - 2, "chains of gone services go");
    let left: Vec<_> = nft.sets(Family::Ipv4, TABLE).unwrap().into_iter().filter(|s| !s.keys.is_empty()).collect();
    assert_eq!(left, [], "and entries too");
    town.proxy.destroy().unwrap();
    town.proxy.destroy().unwrap();
    assert_eq!(nft.chains(Family::Ipv4, TABLE).unwrap(), []);
}

#[tokio::test]
async fn a_refused_transaction_says_what_was_attempted() {
    let world = World::new();
    let mut nft = NftSocket::open_in(&world.node).unwrap();
    let family = Family::Ipv4;
    let table = || Op::AddTable { family, table: "t".into() };
    let bad = Op::DeleteChain("nowhere".into());
    let no = nft.commit(family, "t", &[table(), bad]).unwrap_err();
    assert!(no.is_absent() && no.to_string().starts_with("nftables table t: delete chain nowhere: "), "{no}");
    assert_eq!(nft.chains(family, "t").unwrap(), [], "nothing of it happened");
    assert_eq!(Protocol::from_name(None), Some(Protocol::Tcp));
}

#[tokio::test]
async fn the_kernel_takes_the_rules_for_ipv6_too() {
    let world = World::new();
    let mut facts = facts();
    facts.cluster_cidrs.push("fd42::/56".parse().unwrap());
    facts.service_cidrs.push("fd43::/112".parse().unwrap());
    facts.node_port_addresses = NodePortAddresses::Only(vec!["2001:db8::1".parse().unwrap()]);
    let mut proxy = Proxy::open(&world.node, Family::Ipv6, facts).unwrap();
    let spec = json!({"type": "LoadBalancer", "clusterIP": "fd43::5", "clusterIPs": ["fd43::5"],
        "externalTrafficPolicy": "Local", "externalIPs": ["2001:db8::5"], "sessionAffinity": "ClientIP",
        "ports": [{"name": "t", "port": 80, "protocol": "TCP", "nodePort": 30080}]});
    let mut six = Arc::unwrap_or_clone(slice(&[]));
    six.address_type = "IPv6".into();
    let endpoints = json!([{"addresses": ["fd42::5"], "nodeName": "n1"}, {"addresses": ["fd42::6"], "nodeName": "n2"}]);
    six.endpoints = serde_json::from_value(endpoints).unwrap();
    proxy.sync(&[service(spec)], &[Arc::new(six)]).unwrap();
    assert!(proxy.verify().unwrap());
}
