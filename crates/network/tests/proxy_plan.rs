//! What the proxy plans and sends, without a kernel.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use network::Result;
use network::conntrack::{Direction, Flow, Flows};
use network::nft::{ChainListing, Family, Nft, Op, SetListing};
use network::proxy::{NodeFacts, NodePortAddresses, Proxy, categorize, collect, plan_service};
use serde_json::{Value, json};

fn facts() -> NodeFacts {
    NodeFacts {
        name: "n1".into(),
        zone: Some("z1".into()),
        addresses: vec!["192.0.2.1".parse().unwrap()],
        cluster_cidrs: vec!["10.42.0.0/16".parse().unwrap(), "fd42::/56".parse().unwrap()],
        service_cidrs: vec!["10.43.0.0/16".parse().unwrap(), "fd43::/112".parse().unwrap()],
        served_here: vec!["10.43.0.10".parse().unwrap()],
        node_port_addresses: NodePortAddresses::All,
    }
}

fn service(name: &str, spec: Value) -> Arc<Service> {
    Arc::new(serde_json::from_value(json!({"metadata": {"name": name, "namespace": "d"}, "spec": spec})).unwrap())
}

fn simple(name: &str, ip: &str) -> Arc<Service> {
    service(name, json!({"clusterIP": ip, "ports": [{"port": 80, "protocol": "UDP"}]}))
}

fn slice(service: &str, endpoints: Value) -> Arc<EndpointSlice> {
    let labels = json!({"kubernetes.io/service-name": service});
    let whole = json!({"metadata": {"name": service, "namespace": "d", "labels": labels}, "addressType": "IPv4",
        "ports": [{"port": 8080, "protocol": "UDP"}], "endpoints": endpoints});
    Arc::new(serde_json::from_value(whole).unwrap())
}

/// The endpoints to use with policy Cluster and with policy Local, by the last number of their address.
fn chosen(endpoints: Value) -> (String, String, bool) {
    let all = collect(&[slice("s", endpoints)], Family::Ipv4, "", network::podnet::Protocol::Udp, "n1");
    let usable = categorize(&all, true, true, &facts());
    let list = |of: &[network::proxy::Endpoint]| {
        let last = of.iter().map(|e| e.address.to_string().rsplit('.').next().unwrap_or_default().to_owned());
        last.collect::<Vec<_>>().join(" ")
    };
    (list(&usable.cluster), list(&usable.local), usable.any)
}

#[test]
fn endpoints_are_chosen_by_readiness_place_and_hints() {
    let ep = |n: u8, node: &str, conditions: Value, hints: Value| json!({"addresses": [format!("10.42.0.{n}")], "nodeName": node, "conditions": conditions, "hints": hints});
    let ready = || json!({"ready": true});
    let fading = || json!({"ready": false, "serving": true, "terminating": true});
    let dead = || json!({"ready": false, "serving": false, "terminating": true});
    let (z1, z2) = (json!({"forZones": [{"name": "z1"}]}), json!({"forZones": [{"name": "z2"}]}));
    let (n1, n2) = (json!({"forNodes": [{"name": "n1"}]}), json!({"forNodes": [{"name": "n2"}]}));
    let none = Value::Null;
    let table = [
        (json!([]), "", "", false),
        (json!([ep(1, "n1", none.clone(), none.clone())]), "1", "1", true),
        (json!([ep(1, "n1", ready(), none.clone()), ep(2, "n2", ready(), none.clone())]), "1 2", "1", true),
        (json!([ep(1, "n1", fading(), none.clone()), ep(2, "n2", ready(), none.clone())]), "2", "1", true),
        (json!([ep(1, "n1", fading(), none.clone()), ep(2, "n2", fading(), none.clone())]), "1 2", "1", true),
        (json!([ep(1, "n1", dead(), none.clone())]), "", "", false),
        (json!([ep(1, "n1", ready(), z2.clone()), ep(2, "n2", ready(), z1.clone())]), "2", "1", true),
        (json!([ep(1, "n1", ready(), none.clone()), ep(2, "n2", ready(), z1.clone())]), "1 2", "1", true),
        (json!([ep(1, "n1", ready(), z2.clone()), ep(2, "n2", ready(), z2)]), "1 2", "1", true),
        (json!([ep(1, "n1", ready(), n1), ep(2, "n2", ready(), n2)]), "1", "1", true),
        // The same address twice: a living pod wins over the terminating one that had it before.
        (json!([ep(1, "n1", ready(), none.clone()), ep(1, "n2", fading(), none)]), "1", "1", true),
    ];
    for (endpoints, cluster, local, any) in table {
        assert_eq!(chosen(endpoints.clone()), (cluster.into(), local.into(), any), "{endpoints}");
    }
}

#[test]
fn services_that_are_none_of_the_proxys_business_plan_nothing() {
    let mut other = Arc::unwrap_or_clone(simple("s", "10.43.0.1"));
    other.metadata.labels = Some([("service.kubernetes.io/service-proxy-name".to_owned(), "x".to_owned())].into());
    let idle = [
        simple("s", "None"),
        simple("s", ""),
        service("s", json!({"type": "ExternalName", "externalName": "x", "clusterIP": "10.43.0.1"})),
        Arc::new(other),
        service("s", json!({"clusterIP": "10.43.0.1", "ports": [{"port": 0}, {"port": 80, "protocol": "ICMP"}]})),
        simple("s", "10.43.0.10"),
    ];
    for service in idle {
        let fragment = plan_service(&service, &[], Family::Ipv4, &facts());
        assert!(fragment.chains.is_empty() && fragment.elements.is_empty(), "{service:?}");
    }
    assert_eq!(plan_service(&simple("s", "10.43.0.1"), &[], Family::Ipv6, &facts()), Default::default());
}

/// Writes down what is sent; refuses once when told to.
#[derive(Clone, Default)]
struct Recorder {
    sent: Arc<Mutex<Vec<String>>>,
    refuse: Arc<Mutex<bool>>,
    flows: Arc<Mutex<Vec<Flow>>>,
}

impl Nft for Recorder {
    fn commit(&mut self, _: Family, _: &str, ops: &[Op]) -> Result<()> {
        if std::mem::take(&mut *self.refuse.lock().unwrap()) {
            return Err(network::Error::NoNamespace("gone".into()));
        }
        let text = ops.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        self.sent.lock().unwrap().push(text);
        Ok(())
    }

    fn content(&mut self, _: Family, _: &str) -> Result<(Vec<ChainListing>, Vec<SetListing>)> {
        Ok(Default::default())
    }
}

impl Flows for Recorder {
    fn forget_udp(&mut self, _: Family, stale: &dyn Fn(&Flow) -> bool) -> Result<usize> {
        let mut flows = self.flows.lock().unwrap();
        let before = flows.len();
        flows.retain(|f| !stale(f));
        Ok(before - flows.len())
    }
}

impl Recorder {
    fn proxy(&self) -> Proxy {
        Proxy::new(Family::Ipv4, facts(), Box::new(self.clone()), Box::new(self.clone()))
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

#[test]
fn a_change_is_one_small_transaction() {
    let recorder = Recorder::default();
    let mut proxy = recorder.proxy();
    let (a, b) = (simple("a", "10.43.0.1"), simple("b", "10.43.0.2"));
    let ready = |n: u8| json!([{"addresses": [format!("10.42.0.{n}")], "nodeName": "n1"}]);
    proxy.sync(&[a.clone(), b.clone()], &[slice("a", ready(5)), slice("b", ready(5))]).unwrap();
    assert_eq!(recorder.take().len(), 1, "the whole table at first, in one transaction");
    let (kept, moved) = (slice("b", ready(5)), slice("a", ready(6)));
    proxy.sync(&[a.clone(), b.clone()], &[kept.clone(), moved]).unwrap();
    let expected = "flush chain service/d/a/udp/; add a rule to chain service/d/a/udp/; \
                    add 1 entries to set hairpin-connections";
    assert_eq!(recorder.take(), [expected], "b still needs the old pod's entry");
    proxy.sync(&[a, b.clone()], std::slice::from_ref(&kept)).unwrap();
    let no_endpoints = "flush chain service/d/a/udp/; delete 1 entries from set hairpin-connections; \
                        delete 1 entries from set service-ips; add 1 entries to set no-endpoint-services";
    assert_eq!(recorder.take(), [no_endpoints, "delete chain service/d/a/udp/"]);
    proxy.sync(&[b], &[kept]).unwrap();
    assert_eq!(recorder.take(), ["delete 1 entries from set cluster-ips; delete 1 entries from set no-endpoint-services"]);
}

#[test]
fn after_a_refusal_the_table_is_made_anew() {
    let recorder = Recorder::default();
    let mut proxy = recorder.proxy();
    let objects = [simple("a", "10.43.0.1")];
    proxy.sync(&objects, &[]).unwrap();
    recorder.take();
    *recorder.refuse.lock().unwrap() = true;
    let more = [objects[0].clone(), simple("b", "10.43.0.2")];
    assert!(proxy.sync(&more, &[]).is_err());
    proxy.sync(&more, &[]).unwrap();
    let sent = recorder.take();
    assert!(sent[0].starts_with("add table ferry-proxy; delete table ferry-proxy; add table ferry-proxy; "));
    assert!(sent[0].contains("add 2 entries to set cluster-ips"), "{sent:?}");
    assert!(!proxy.verify().unwrap(), "the recorder has no table");
}

#[test]
fn only_flows_to_gone_endpoints_of_udp_services_are_forgotten() {
    let recorder = Recorder::default();
    let flow = |to: &str, port: u16, by: &str| {
        let direction = |source: &str, source_port, destination: &str, destination_port| Direction {
            source: source.parse().unwrap(),
            source_port,
            destination: destination.parse().unwrap(),
            destination_port,
        };
        Flow { protocol: 17, original: direction("10.42.0.9", 999, to, port), reply: direction(by, 8080, "10.42.0.9", 999) }
    };
    let (good, stale) = (flow("10.43.0.1", 80, "10.42.0.5"), flow("10.43.0.1", 80, "10.42.0.6"));
    let (other_port, untouched) = (flow("10.43.0.1", 81, "10.42.0.6"), flow("192.0.2.9", 80, "192.0.2.9"));
    *recorder.flows.lock().unwrap() = vec![good, stale, other_port, untouched];
    let endpoints = json!([{"addresses": ["10.42.0.5"], "nodeName": "n1"}]);
    let done = recorder.proxy().sync(&[simple("a", "10.43.0.1")], &[slice("a", endpoints)]).unwrap();
    assert_eq!(done.forgotten, 1);
    assert_eq!(*recorder.flows.lock().unwrap(), [good, other_port, untouched]);
}
