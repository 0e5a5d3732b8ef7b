//! Lists, pages and watches: what a client sees, in which order, of which revision.

#[path = "support/cluster.rs"]
mod cluster;

use std::sync::Arc;

use cluster::{Cluster, config_map};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn version(c: &Cluster) -> String {
    c.get(MAPS).await.text("/metadata/resourceVersion").to_owned()
}

#[tokio::test]
async fn a_watch_goes_on_where_a_list_ended() {
    let c = Cluster::start().await;
    c.post(MAPS, &config_map("old", "1")).await;
    let from = version(&c).await;
    let mut watch = c.watch(&format!("{MAPS}?watch=true&resourceVersion={from}")).await;
    let made = c.post(MAPS, &config_map("a", "1")).await;
    let changed = c.merge(&format!("{MAPS}/a"), &json!({"data": {"k": "2"}})).await;
    c.delete(&format!("{MAPS}/a")).await;
    let added = watch.next().await.unwrap();
    assert_eq!((&added["type"], &added["object"]), (&json!("ADDED"), &made.json), "the event is the write's own answer");
    let modified = watch.next().await.unwrap();
    assert_eq!((&modified["type"], &modified["object"]), (&json!("MODIFIED"), &changed.json));
    let deleted = watch.next().await.unwrap();
    assert_eq!((&deleted["type"], &deleted["object"]["data"]), (&json!("DELETED"), changed.at("/data")));
    let number = |v: &Value| v["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(number(&deleted) > number(&modified));
}

#[tokio::test]
async fn selectors_turn_changes_into_comings_and_goings() {
    let c = Cluster::start().await;
    let from = version(&c).await;
    let mut watch = c.watch(&format!("{MAPS}?watch=true&resourceVersion={from}&labelSelector=v%3D1")).await;
    c.post(MAPS, &config_map("a", "2")).await;
    c.merge(&format!("{MAPS}/a"), &json!({"metadata": {"labels": {"v": "1"}}})).await;
    c.merge(&format!("{MAPS}/a"), &json!({"metadata": {"labels": {"v": "3"}}, "data": {"k": "new"}})).await;
    c.post(MAPS, &config_map("b", "1")).await;
    assert_eq!(watch.line().await, "ADDED a");
    let left = watch.next().await.unwrap();
    assert_eq!((&left["type"], &left["object"]["data"]["k"]), (&json!("DELETED"), &json!("2")), "the last matching state");
    assert_eq!(watch.line().await, "ADDED b");
}

#[tokio::test]
async fn watch_lists_start_with_the_state_and_say_when_it_is_complete() {
    let c = Cluster::start().await;
    for name in ["a", "b"] {
        c.post(MAPS, &config_map(name, "1")).await;
    }
    let path = format!("{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
    let mut watch = c.watch(&path).await;
    assert_eq!(watch.line().await, "ADDED a");
    assert_eq!(watch.line().await, "ADDED b");
    let end = watch.next().await.unwrap();
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    c.post(MAPS, &config_map("c", "1")).await;
    assert_eq!(watch.line().await, "ADDED c");
    let bad = c.get(&format!("{MAPS}?watch=true&sendInitialEvents=true")).await;
    assert_eq!(bad.code, 422, "{}", bad.json);
}

#[tokio::test]
async fn a_watch_from_before_the_history_says_so_and_ends() {
    let c = Cluster::start().await;
    // The store's own history begins with the server, so revision 0 is no past that anybody can resume.
    c.post(MAPS, &config_map("a", "1")).await;
    let now = version(&c).await.parse::<u64>().unwrap();
    c.server.storage.cache("/registry/configmaps/").trim(store::Revision(now));
    let mut watch = c.watch(&format!("{MAPS}?watch=true&resourceVersion=1")).await;
    let error = watch.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"], &error["object"]["reason"]), (&json!("ERROR"), &json!(410), &json!("Expired")));
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn pages_show_one_revision_and_expire_with_a_way_on() {
    let c = Cluster::start().await;
    for i in 0..7 {
        c.post(MAPS, &config_map(&format!("m{i}"), "1")).await;
    }
    let first = c.get(&format!("{MAPS}?limit=3")).await;
    assert_eq!(first.at("/metadata/remainingItemCount"), &json!(4));
    c.delete(&format!("{MAPS}/m4")).await;
    c.post(MAPS, &config_map("m3x", "1")).await;
    let token = first.text("/metadata/continue").to_owned();
    let second = c.get(&format!("{MAPS}?limit=3&continue={token}")).await;
    let names: Vec<&str> = second.at("/items").as_array().unwrap().iter().filter_map(|i| i["metadata"]["name"].as_str()).collect();
    assert_eq!(names, ["m3", "m4", "m5"], "what was deleted since is still there, what is new is not");
    assert_eq!(second.text("/metadata/resourceVersion"), first.text("/metadata/resourceVersion"));

    let now = version(&c).await.parse::<u64>().unwrap();
    c.server.storage.cache("/registry/configmaps/").trim(store::Revision(now));
    let expired = c.get(&format!("{MAPS}?limit=3&continue={token}")).await;
    assert_eq!((expired.code, expired.text("/reason")), (410, "Expired"));
    let way_on = expired.text("/metadata/continue").to_owned();
    let rest = c.get(&format!("{MAPS}?continue={way_on}")).await;
    let names: Vec<&str> = rest.at("/items").as_array().unwrap().iter().filter_map(|i| i["metadata"]["name"].as_str()).collect();
    assert_eq!(names, ["m3", "m3x", "m5", "m6"]);
    assert_ne!(rest.text("/metadata/resourceVersion"), first.text("/metadata/resourceVersion"));
}

#[tokio::test]
async fn lists_know_the_past_and_refuse_the_future() {
    let c = Cluster::start().await;
    c.post(MAPS, &config_map("a", "1")).await;
    let before = version(&c).await;
    c.post(MAPS, &config_map("b", "1")).await;
    let exact = c.get(&format!("{MAPS}?resourceVersion={before}&resourceVersionMatch=Exact")).await;
    assert_eq!(exact.at("/items").as_array().unwrap().len(), 1);
    assert_eq!(exact.text("/metadata/resourceVersion"), before);
    let newer = c.get(&format!("{MAPS}?resourceVersion={before}&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!(newer.at("/items").as_array().unwrap().len(), 2);
    assert!(newer.at("/items/0/kind").is_null(), "items of built-in kinds carry no kind");
    tokio::time::pause();
    let future = c.get(&format!("{MAPS}?resourceVersion=999999")).await;
    assert_eq!(future.code, 504, "{}", future.json);
    assert_eq!(future.text("/details/causes/0/reason"), "ResourceVersionTooLarge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_read_their_writes_and_all_watchers_see_one_order() {
    let c = Arc::new(Cluster::start().await);
    let from = version(&c).await;
    let mut watches = Vec::new();
    for _ in 0..3 {
        watches.push(c.watch(&format!("{MAPS}?watch=true&resourceVersion={from}")).await);
    }
    const WRITERS: usize = 4;
    const WRITES: usize = 20;
    let writers = (0..WRITERS).map(|w| {
        let c = c.clone();
        tokio::spawn(async move {
            for i in 0..WRITES {
                let name = format!("w{w}-{i}");
                c.post(MAPS, &config_map(&name, "1")).await;
                assert_eq!(c.get(&format!("{MAPS}/{name}?resourceVersion=0")).await.code, 200, "{name} is not in the cache yet");
            }
        })
    });
    futures::future::try_join_all(writers).await.unwrap();
    let mut orders = Vec::new();
    for mut watch in watches {
        let mut order = Vec::new();
        for _ in 0..WRITERS * WRITES {
            order.push(watch.line().await);
        }
        orders.push(order);
    }
    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_at_the_same_time_lose_nothing() {
    let c = Arc::new(Cluster::start().await);
    c.post(MAPS, &config_map("a", "1")).await;
    let writers = (0..20).map(|i| {
        let c = c.clone();
        tokio::spawn(async move { c.merge(&format!("{MAPS}/a"), &json!({"data": {(format!("k{i}")): "x"}})).await.code })
    });
    let codes = futures::future::try_join_all(writers).await.unwrap();
    assert!(codes.iter().all(|c| *c == 200), "{codes:?}");
    assert_eq!(c.get(&format!("{MAPS}/a")).await.at("/data").as_object().unwrap().len(), 21);
}

#[tokio::test]
async fn protobuf_and_yaml_and_metadata_tell_the_same() {
    let c = Cluster::start().await;
    let made = c.post(MAPS, &config_map("a", "1")).await;
    let proto = c.ask("GET", &format!("{MAPS}/a"), &[("accept", "application/vnd.kubernetes.protobuf")], "").await;
    let (kind, tree) = api::protobuf::decode(&proto.bytes).unwrap();
    assert_eq!((kind.kind.as_str(), &tree["data"], &tree["metadata"]["uid"]), ("ConfigMap", made.at("/data"), made.at("/metadata/uid")));
    let list = c.ask("GET", MAPS, &[("accept", "application/vnd.kubernetes.protobuf")], "").await;
    let (kind, tree) = api::protobuf::decode(&list.bytes).unwrap();
    assert_eq!((kind.kind.as_str(), &tree["items"][0]["metadata"]["name"]), ("ConfigMapList", &json!("a")));
    let yaml = c.ask("GET", &format!("{MAPS}/a"), &[("accept", "application/yaml")], "").await;
    assert_eq!(api::yaml::parse(&yaml.bytes).unwrap().0, made.json);
    let accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let metadata = c.ask("GET", MAPS, &[("accept", accept)], "").await;
    assert_eq!(metadata.text("/kind"), "PartialObjectMetadataList");
    assert_eq!(metadata.at("/items/0/metadata"), made.at("/metadata"));
}

#[tokio::test]
async fn both_event_groups_share_their_events() {
    let c = Cluster::start().await;
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "i", "action": "a", "reason": "r", "type": "Normal", "note": "n"});
    let made = c.post("/apis/events.k8s.io/v1/namespaces/default/events", &event).await;
    assert_eq!(made.code, 201, "{}", made.json);
    let core = c.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp,reason%3Dr").await;
    assert_eq!((core.text("/items/0/message"), core.text("/items/0/involvedObject/name")), ("n", "p"), "{}", core.json);
    let new = c.get("/apis/events.k8s.io/v1/namespaces/default/events/e").await;
    assert_eq!(new.json, made.json);
}
