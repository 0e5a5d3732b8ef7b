//! Which crate may use which: the rooms of ARCHITECTURE.md, section 2. Arrows point down only.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;

/// What a room may use.
enum May {
    /// Every other room.
    All,
    /// Only these.
    Only(&'static [&'static str]),
}

/// The rooms of the house. A crate that is not here has no place yet: give it a line here and in ARCHITECTURE.md.
const ROOMS: &[(&str, May)] = &[
    ("ferry", May::All),
    ("kubectl", May::Only(&["api", "client", "stdx"])),
    ("helm", May::Only(&["api", "client", "stdx"])),
    ("apiserver", May::Only(&["api", "cel", "pki", "stdx", "store", "streaming"])),
    ("controllers", May::Only(&["api", "client", "pki", "stdx"])),
    ("scheduler", May::Only(&["api", "client", "stdx"])),
    ("autoscaler", May::Only(&["api", "client", "stdx"])),
    ("mesh", May::Only(&["api", "client", "pki", "stdx"])),
    ("kubelet", May::Only(&["api", "client", "cri", "csi", "pki", "stdx", "streaming"])),
    ("runtime", May::Only(&["cri", "stdx", "streaming"])),
    ("network", May::Only(&["api", "client", "stdx"])),
    ("dns", May::Only(&["api", "client", "stdx"])),
    ("csi", May::Only(&["api", "client", "stdx"])),
    ("cri", May::Only(&["stdx", "streaming"])),
    ("client", May::Only(&["api", "stdx"])),
    ("store", May::Only(&["stdx"])),
    ("cel", May::Only(&["api", "stdx"])),
    ("api", May::Only(&["stdx"])),
    ("pki", May::Only(&["stdx"])),
    ("streaming", May::Only(&["stdx"])),
    ("stdx", May::Only(&[])),
    // It starts the binary and speaks its protocols, so it needs to link none of it.
    ("testkit", May::All),
    ("xtask", May::Only(&[])),
];

/// Every room's tests may use test clusters.
const FOR_TESTS: &str = "testkit";

/// Complaints about edges in `cargo metadata`'s JSON.
///
/// # Errors
/// If the JSON is not cargo's.
pub(crate) fn check(metadata: &str) -> anyhow::Result<Vec<String>> {
    let metadata: Value = serde_json::from_str(metadata).context("reading cargo metadata")?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("cargo metadata has no packages")?;
    let rooms: BTreeMap<&str, &May> = ROOMS.iter().map(|(name, may)| (*name, may)).collect();
    let mut complaints = Vec::new();
    for package in packages {
        let name = text(package, "name");
        let Some(may) = rooms.get(name) else {
            complaints.push(format!("crates/{name}: this crate has no room; add it to ARCHITECTURE.md, section 2, and to tidy's table"));
            continue;
        };
        for dependency in package.get("dependencies").and_then(Value::as_array).into_iter().flatten() {
            // Only a dependency with a path is one of ours.
            if dependency.get("path").is_none_or(Value::is_null) {
                continue;
            }
            let used = text(dependency, "name");
            let for_tests = text(dependency, "kind") == "dev" && used == FOR_TESTS;
            let allowed = match may {
                May::All => true,
                May::Only(list) => list.contains(&used),
            };
            if !allowed && !for_tests && used != name {
                complaints.push(format!("crates/{name}/Cargo.toml: {name} may not use {used} (ARCHITECTURE.md, section 2)"));
            }
        }
    }
    Ok(complaints)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Value;

    fn complaints(name: &str, dependencies: Value) -> Vec<String> {
        super::check(&json!({"packages": [{"name": name, "dependencies": dependencies}]}).to_string()).unwrap()
    }

    #[test]
    fn an_edge_outside_the_table_is_named() {
        let edge = json!([{"name": "store", "path": "/x/store", "kind": null}]);
        assert_eq!(complaints("apiserver", edge.clone()), [] as [&str; 0]);
        let got = complaints("controllers", edge);
        assert_eq!(got, ["crates/controllers/Cargo.toml: controllers may not use store (ARCHITECTURE.md, section 2)"]);
    }

    #[test]
    fn dependencies_from_registries_are_not_edges() {
        assert!(complaints("api", json!([{"name": "store", "kind": null}])).is_empty());
    }

    #[test]
    fn test_clusters_are_for_tests_only() {
        assert!(complaints("kubelet", json!([{"name": "testkit", "path": "/x", "kind": "dev"}])).is_empty());
        assert_eq!(complaints("kubelet", json!([{"name": "testkit", "path": "/x", "kind": null}])).len(), 1);
    }

    #[test]
    fn a_crate_without_room_is_named() {
        assert_eq!(complaints("attic", json!([])).len(), 1);
    }

    #[test]
    fn the_table_is_that_of_the_plan() {
        let plan = std::fs::read_to_string(crate::command::root().join("ARCHITECTURE.md")).unwrap();
        let mut planned = std::collections::BTreeMap::new();
        for line in plan.lines().filter(|l| l.starts_with("| `")) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let names: Vec<&str> = cells[0].split(", ").filter_map(|n| n.strip_prefix('`')?.strip_suffix('`')).collect();
            // Other tables of the page name files and flags.
            for name in names.into_iter().filter(|n| super::ROOMS.iter().any(|(room, _)| room == n) && cells.len() == 3) {
                planned.insert(name.to_owned(), cells[2].to_owned());
            }
        }
        for (room, may) in super::ROOMS {
            let uses = match may {
                super::May::All => "all".to_owned(),
                super::May::Only([]) => "–".to_owned(),
                super::May::Only(list) => list.join(", "),
            };
            assert_eq!(planned.get(*room), Some(&uses), "{room}");
        }
    }

    #[test]
    fn no_room_leads_back_to_itself() {
        // Removing rooms that use nothing left must empty the table, else there is a circle.
        let mut left: Vec<(&str, &[&str])> = super::ROOMS
            .iter()
            .filter_map(|(name, may)| match may {
                super::May::Only(list) => Some((*name, *list)),
                super::May::All => None,
            })
            .collect();
        loop {
            let names: Vec<&str> = left.iter().map(|(n, _)| *n).collect();
            let before = left.len();
            left.retain(|(_, uses)| uses.iter().any(|u| names.contains(u)));
            if left.is_empty() {
                return;
            }
            assert!(left.len() < before, "a circle among {names:?}");
        }
    }
}
