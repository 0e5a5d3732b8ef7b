//! Pods among each other, with the node, with the outside, and what is left when they are gone.

use std::net::Ipv4Addr;

use network::nft::{Family, NftSocket};
use network::podnet::{HostPort, PodNet, Protocol, TABLE};
use network::rt::{ROUTE_ORIGIN, Router};
use network::{Namespace, netns};

use crate::world::{DNS, NODE, OUTSIDE, World, ask, serve_tcp, serve_udp, tcp, udp};

#[tokio::test]
async fn pods_reach_each_other_the_node_and_the_outside() {
    let world = World::new();
    let net = PodNet::start(world.config()).await.unwrap();
    let (a, b) = (world.pod(&net, "a", &[]).await, world.pod(&net, "b", &[]).await);
    serve_tcp(&b.namespace, 80, "b");
    serve_udp(&b.namespace, 53, "b");
    serve_tcp(&world.node, 80, "node");
    serve_tcp(&world.outside, 80, "outside");
    assert_eq!(tcp(&a.namespace, b.address, 80), format!("b {}", a.address), "the source address stays");
    assert_eq!(ask(&udp(&a.namespace), b.address, 53), format!("b {}", a.address));
    assert_eq!(tcp(&world.node, b.address, 80), format!("b {}", net.gateway()));
    assert_eq!(tcp(&a.namespace, NODE, 80), format!("node {}", a.address));
    assert_eq!(tcp(&a.namespace, DNS, 80), format!("node {}", a.address), "answered on the node itself");
    assert_eq!(tcp(&a.namespace, OUTSIDE, 80), format!("outside {NODE}"), "masqueraded");
    assert_eq!(tcp(&a.namespace, Ipv4Addr::LOCALHOST, 80), "ConnectionRefused", "loopback is up");
}

#[tokio::test]
async fn addresses_that_nobody_owns_are_refused_at_once() {
    let world = World::new();
    let net = PodNet::start(world.config()).await.unwrap();
    let a = world.pod(&net, "a", &[]).await;
    for unowned in ["10.42.0.77", "10.42.9.9"] {
        let unowned: Ipv4Addr = unowned.parse().unwrap();
        assert_eq!(tcp(&a.namespace, unowned, 80), "HostUnreachable", "{unowned} from a pod");
        assert_eq!(tcp(&world.node, unowned, 80), "HostUnreachable", "{unowned} from the node");
    }
    assert_eq!(tcp(&a.namespace, net.gateway(), 81), "ConnectionRefused");
}

fn port(host_ip: Option<Ipv4Addr>, host_port: u16, protocol: Protocol) -> HostPort {
    HostPort { host_ip, host_port, container_port: 8080, protocol }
}

#[tokio::test]
async fn host_ports_lead_to_their_pod() {
    let world = World::new();
    let net = PodNet::start(world.config()).await.unwrap();
    let ports = [port(None, 8000, Protocol::Tcp), port(Some(Ipv4Addr::LOCALHOST), 8001, Protocol::Tcp)];
    let a = world.pod(&net, "a", &ports).await;
    let b = world.pod(&net, "b", &[port(Some(NODE), 8001, Protocol::Tcp), port(None, 8000, Protocol::Udp)]).await;
    for (pod, name) in [(&a, "a"), (&b, "b")] {
        serve_tcp(&pod.namespace, 8080, name);
        serve_udp(&pod.namespace, 8080, name);
    }
    assert_eq!(tcp(&world.outside, NODE, 8000), format!("a {OUTSIDE}"), "the client's address stays");
    assert_eq!(tcp(&world.node, NODE, 8000).split(' ').next(), Some("a"));
    assert_eq!(tcp(&world.node, Ipv4Addr::LOCALHOST, 8000).split(' ').next(), Some("a"));
    assert_eq!(tcp(&world.node, Ipv4Addr::LOCALHOST, 8001).split(' ').next(), Some("a"));
    assert_eq!(tcp(&world.outside, NODE, 8001), format!("b {OUTSIDE}"));
    assert_eq!(tcp(&a.namespace, NODE, 8000).split(' ').next(), Some("a"), "a pod by its own host port");
    assert_eq!(ask(&udp(&world.outside), NODE, 8000), format!("b {OUTSIDE}"));
    let taken = net.add("c", world.pod_namespace("c").path(), &[port(None, 8000, Protocol::Tcp)]).await;
    assert_eq!(taken.unwrap_err().to_string(), "host port 8000/TCP on 0.0.0.0 is held by pod a");
    net.remove("a").await.unwrap();
    assert_eq!(tcp(&world.outside, NODE, 8000), "ConnectionRefused");
    assert_eq!(tcp(&world.outside, NODE, 8001), format!("b {OUTSIDE}"));
}

#[tokio::test]
async fn a_restart_keeps_live_pods_and_takes_back_the_rest() {
    let world = World::new();
    let net = PodNet::start(world.config()).await.unwrap();
    let a = world.pod(&net, "a", &[port(None, 8000, Protocol::Tcp)]).await;
    let b = world.pod(&net, "b", &[port(None, 8001, Protocol::Tcp)]).await;
    let c = world.pod(&net, "c", &[]).await;
    serve_tcp(&a.namespace, 8080, "a");
    drop(net);
    // While nobody looked, c's namespace went away and with it its link.
    netns::delete(c.namespace.path()).unwrap();
    drop(c);
    let again = PodNet::start(world.config()).await.unwrap();
    wait_until_links_are(&world.node, 2);
    let found = again.recover(&["a".into(), "c".into(), "d".into()]).await.unwrap();
    assert_eq!(found.kept, ["a"]);
    assert_eq!(found.released, ["b"]);
    assert_eq!(found.lost, ["c", "d"]);
    assert_eq!(tcp(&world.outside, NODE, 8000), format!("a {OUTSIDE}"));
    assert_eq!(tcp(&world.node, b.address, 80), "HostUnreachable");
}

/// Namespaces die a moment after their last user; the kernel offers no event for it that a test could wait on.
fn wait_until_links_are(node: &Namespace, count: usize) {
    let mut router = Router::open_in(node).unwrap();
    for _ in 0..500 {
        if router.links().unwrap().iter().filter(|l| l.name.starts_with("fpod")).count() == count {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the dead pod's link stays");
}

#[tokio::test]
async fn removing_is_idempotent_and_destroying_leaves_nothing() {
    let world = World::new();
    let mut router = Router::open_in(&world.node).unwrap();
    let before = (router.links().unwrap(), router.routes().unwrap());
    let net = PodNet::start(world.config()).await.unwrap();
    let a = world.pod(&net, "a", &[port(None, 8000, Protocol::Udp)]).await;
    let again = net.add("a", a.namespace.path(), &[]).await.unwrap();
    assert_eq!(again.addresses, [a.address], "adding again keeps the address");
    net.remove("a").await.unwrap();
    net.remove("a").await.unwrap();
    net.remove("never").await.unwrap();
    let _ = world.pod(&net, "b", &[]).await;
    net.destroy().await.unwrap();
    net.destroy().await.unwrap();
    assert_eq!((router.links().unwrap(), router.routes().unwrap()), before);
    assert!(router.routes().unwrap().iter().all(|r| r.origin != ROUTE_ORIGIN || r.network == Ipv4Addr::new(192, 0, 2, 0)));
    let mut nft = NftSocket::open_in(&world.node).unwrap();
    assert_eq!(nft.chains(Family::Ipv4, TABLE).unwrap(), []);
    assert!(!world.dir.path().join("ipam").exists());
}

#[tokio::test]
async fn a_pod_without_namespace_is_a_clear_error_and_takes_no_address() {
    let world = World::new();
    let net = PodNet::start(world.config()).await.unwrap();
    let nowhere = world.dir.path().join("ns/nowhere");
    let no = net.add("x", &nowhere, &[]).await.unwrap_err().to_string();
    assert_eq!(no, format!("no network namespace at {}", nowhere.display()));
    let first = world.pod(&net, "a", &[]).await;
    assert_eq!(first.address.to_string(), "10.42.0.2");
}
