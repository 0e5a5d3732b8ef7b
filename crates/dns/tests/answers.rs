//! Answers by name, as an independent decoder reads them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::sync::Arc;

use dns::{Reply, WireName, Zone, ZoneConfig, answer, plan_service};
use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use proptest::prelude::*;
use serde_json::{Value, json};

fn service(name: &str, spec: Value) -> Service {
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})).unwrap()
}

fn slice(kind: &str, endpoints: Value) -> Arc<EndpointSlice> {
    let ports = json!([{"name": "http", "port": 8080, "protocol": "TCP"}, {"port": 9, "protocol": "TCP"}]);
    let whole = json!({"metadata": {"name": "s"}, "addressType": kind, "endpoints": endpoints, "ports": ports});
    Arc::new(serde_json::from_value(whole).unwrap())
}

fn zone() -> Zone {
    let domain = WireName::parse("cluster.local").unwrap();
    let ports = json!([{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "u", "port": 53, "protocol": "UDP"}]);
    let endpoints = json!([
        {"addresses": ["10.42.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
        {"addresses": ["10.42.0.6"], "conditions": {}},
        {"addresses": ["10.42.0.7"], "hostname": "db-2", "conditions": {"ready": false}}]);
    let v6 = json!([{"addresses": ["fd00::5"], "hostname": "db-0"}]);
    let many: Vec<Value> = (0..200).map(|n| json!({"addresses": [format!("10.42.1.{n}")]})).collect();
    let alone = json!({"clusterIP": "10.43.0.1", "ports": [{"port": 80}]});
    let objects = [
        ("web", json!({"clusterIP": "10.43.0.80", "clusterIPs": ["10.43.0.80", "fd43::80"], "ports": ports}), vec![]),
        ("plain", alone, vec![]),
        ("db", json!({"clusterIP": "None", "ports": ports}), vec![slice("IPv4", endpoints), slice("IPv6", v6)]),
        ("many", json!({"clusterIP": "None"}), vec![slice("IPv4", json!(many))]),
        ("empty", json!({"clusterIP": "None"}), vec![]),
        ("inside", json!({"type": "ExternalName", "externalName": "web.shop.svc.Cluster.local."}), vec![]),
        ("outside", json!({"type": "ExternalName", "externalName": "example.com"}), vec![]),
        ("circle", json!({"type": "ExternalName", "externalName": "circle.shop.svc.cluster.local"}), vec![]),
    ];
    let records = objects.into_iter().map(|(name, spec, slices)| {
        let records = plan_service(&service(name, spec), &slices, &domain).unwrap();
        (("shop".to_owned(), name.to_owned()), Arc::new(records))
    });
    let config = ZoneConfig {
        domain: domain.clone(),
        server: Some("10.43.0.10".parse().unwrap()),
        ranges: vec!["10.42.0.0/16".parse().unwrap(), "10.43.0.0/16".parse().unwrap()],
    };
    Zone::new(config, records, 1)
}

fn packet(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn ask(zone: &Zone, message: &Message, limit: Option<usize>) -> Message {
    match answer(&message.to_vec().unwrap(), zone, limit, 0) {
        Reply::Send(bytes) => Message::from_vec(&bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The code, and the answers as text, in order of their names.
fn got(zone: &Zone, name: &str, kind: RecordType) -> String {
    let response = ask(zone, &packet(name, kind), Some(65535));
    assert!(response.metadata.authoritative, "{name}");
    let mut lines: Vec<String> = response.answers.iter().map(|r| format!("{} {}", r.record_type(), r.data)).collect();
    lines.sort();
    let soa = response.authorities.iter().filter(|r| r.record_type() == RecordType::SOA).count();
    assert_eq!(soa, usize::from(lines.is_empty()), "{name}: a negative answer has its SOA record, no other has");
    format!("{:?}: {}", response.metadata.response_code, lines.join(", "))
}

#[test]
fn the_cluster_names_have_the_records_of_the_specification() {
    use RecordType::{A, AAAA, CNAME, MX, NS, PTR, SRV, TXT};
    let zone = zone();
    let table: &[(&str, RecordType, &str)] = &[
        ("web.shop.svc.cluster.local.", A, "NoError: A 10.43.0.80"),
        ("WEB.Shop.SVC.cluster.LOCAL.", A, "NoError: A 10.43.0.80"),
        ("web.shop.svc.cluster.local.", AAAA, "NoError: AAAA fd43::80"),
        ("plain.shop.svc.cluster.local.", AAAA, "NoError: "),
        ("web.shop.svc.cluster.local.", MX, "NoError: "),
        ("_http._tcp.web.shop.svc.cluster.local.", SRV, "NoError: SRV 0 100 80 web.shop.svc.cluster.local."),
        ("_u._udp.web.shop.svc.cluster.local.", SRV, "NoError: SRV 0 100 53 web.shop.svc.cluster.local."),
        ("_tcp.web.shop.svc.cluster.local.", SRV, "NoError: "),
        ("_u._tcp.web.shop.svc.cluster.local.", SRV, "NXDomain: "),
        ("_http._tcp.web.shop.svc.cluster.local.", A, "NoError: "),
        ("80.0.43.10.in-addr.arpa.", PTR, "NoError: PTR web.shop.svc.cluster.local."),
        ("81.0.43.10.in-addr.arpa.", PTR, "NXDomain: "),
        ("5.0.42.10.in-addr.arpa.", PTR, "NoError: PTR db-0.db.shop.svc.cluster.local."),
        ("6.0.42.10.in-addr.arpa.", PTR, "NoError: PTR 10-42-0-6.db.shop.svc.cluster.local."),
        ("db.shop.svc.cluster.local.", A, "NoError: A 10.42.0.5, A 10.42.0.6"),
        ("db.shop.svc.cluster.local.", AAAA, "NoError: AAAA fd00::5"),
        ("db-0.db.shop.svc.cluster.local.", A, "NoError: A 10.42.0.5"),
        ("db-2.db.shop.svc.cluster.local.", A, "NXDomain: "),
        ("10-42-0-6.db.shop.svc.cluster.local.", A, "NoError: A 10.42.0.6"),
        (
            "_http._tcp.db.shop.svc.cluster.local.",
            SRV,
            "NoError: SRV 0 33 8080 10-42-0-6.db.shop.svc.cluster.local., SRV 0 33 8080 db-0.db.shop.svc.cluster.local.",
        ),
        ("empty.shop.svc.cluster.local.", A, "NoError: "),
        ("nobody.shop.svc.cluster.local.", A, "NXDomain: "),
        ("x.web.shop.svc.cluster.local.", A, "NXDomain: "),
        ("inside.shop.svc.cluster.local.", A, "NoError: A 10.43.0.80, CNAME web.shop.svc.cluster.local."),
        ("inside.shop.svc.cluster.local.", CNAME, "NoError: CNAME web.shop.svc.cluster.local."),
        ("outside.shop.svc.cluster.local.", CNAME, "NoError: CNAME example.com."),
        ("10-42-0-9.shop.pod.cluster.local.", A, "NoError: A 10.42.0.9"),
        ("10-42-0-9.shop.pod.cluster.local.", AAAA, "NoError: "),
        ("fd00--1.shop.pod.cluster.local.", AAAA, "NoError: AAAA fd00::1"),
        ("web.shop.pod.cluster.local.", A, "NXDomain: "),
        ("dns-version.cluster.local.", TXT, "NoError: TXT 1.1.0"),
        ("cluster.local.", NS, "NoError: NS ns.dns.cluster.local."),
        ("ns.dns.cluster.local.", A, "NoError: A 10.43.0.10"),
        ("cluster.local.", A, "NoError: "),
        ("svc.cluster.local.", A, "NoError: "),
        ("shop.svc.cluster.local.", A, "NoError: "),
        ("nowhere.svc.cluster.local.", A, "NXDomain: "),
        ("example.com.shop.svc.cluster.local.", A, "NXDomain: "),
        ("example.com.cluster.local.", A, "NXDomain: "),
    ];
    for (name, kind, expected) in table {
        assert_eq!(got(&zone, name, *kind), *expected, "{name} {kind}");
    }
}

#[test]
fn foreign_names_are_forwarded_and_ours_never() {
    let zone = zone();
    let reply = |name: &str, kind| answer(&packet(name, kind).to_vec().unwrap(), &zone, None, 0);
    for name in ["example.com.", "xcluster.local.", "local.", ".", "1.2.0.192.in-addr.arpa."] {
        assert_eq!(reply(name, RecordType::A), Reply::Forward, "{name}");
    }
    let followed = Reply::Follow(WireName::parse("example.com").unwrap());
    assert_eq!(reply("outside.shop.svc.cluster.local.", RecordType::A), followed);
    let circle = ask(&zone, &packet("circle.shop.svc.cluster.local.", RecordType::A), None);
    assert_eq!(circle.metadata.response_code, ResponseCode::ServFail);
    let transfer = ask(&zone, &packet("cluster.local.", RecordType::AXFR), Some(65535));
    assert_eq!(transfer.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn odd_queries_get_their_code() {
    let zone = zone();
    let mut update = packet("web.shop.svc.cluster.local.", RecordType::A);
    update.metadata.op_code = OpCode::Notify;
    assert_eq!(ask(&zone, &update, None).metadata.response_code, ResponseCode::NotImp);
    let mut chaos = packet("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(ask(&zone, &chaos, None).metadata.response_code, ResponseCode::Refused);
    let mut newer = packet("web.shop.svc.cluster.local.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    newer.set_edns(edns);
    assert_eq!(u16::from(ask(&zone, &newer, None).metadata.response_code), 16, "bad version");
    let cut = &packet("web.shop.svc.cluster.local.", RecordType::A).to_vec().unwrap()[..20];
    let Reply::Send(bytes) = answer(cut, &zone, None, 0) else { panic!() };
    assert_eq!(bytes[3] & 0xf, 1, "format error");
    let response = ask(&zone, &packet("web.shop.svc.cluster.local.", RecordType::A), None);
    assert_eq!(answer(&response.to_vec().unwrap(), &zone, None, 0), Reply::Ignore, "a response is no query");
}

#[test]
fn long_answers_are_cut_by_udp_and_whole_by_tcp() {
    let zone = zone();
    let mut query = packet("many.shop.svc.cluster.local.", RecordType::A);
    let by_udp = ask(&zone, &query, None);
    assert!(by_udp.metadata.truncation && by_udp.answers.is_empty());
    assert_eq!(ask(&zone, &query, Some(65535)).answers.len(), 200);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    query.set_edns(edns);
    let with_edns = ask(&zone, &query, None);
    assert!(with_edns.metadata.truncation && with_edns.edns.is_some());
    let short = ask(&zone, &packet("db.shop.svc.cluster.local.", RecordType::A), None);
    assert!(!short.metadata.truncation && short.edns.is_none());
}

#[test]
fn the_addresses_of_a_name_take_turns() {
    let zone = zone();
    let query = packet("db.shop.svc.cluster.local.", RecordType::A).to_vec().unwrap();
    let first = |turn| match answer(&query, &zone, None, turn) {
        Reply::Send(bytes) => Message::from_vec(&bytes).unwrap().answers[0].data.to_string(),
        other => panic!("{other:?}"),
    };
    assert_ne!(first(0), first(1));
    assert_eq!(first(0), first(2));
}

proptest! {
    #[test]
    fn any_packet_is_answered_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = answer(&bytes, &zone(), None, 3);
    }

    #[test]
    fn a_damaged_query_is_answered_without_panic(at in 0usize..60, byte: u8) {
        let mut bytes = packet("_http._tcp.db.shop.svc.cluster.local.", RecordType::SRV).to_vec().unwrap();
        let length = bytes.len();
        bytes[at % length] = byte;
        if let Reply::Send(response) = answer(&bytes, &zone(), None, 3) {
            prop_assert!(Message::from_vec(&response).is_ok());
        }
    }
}
