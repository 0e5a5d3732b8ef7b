//! Flipped and missing bytes: a clear error, or a state that the store once had. Never a panic, never a mixture.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// A store with a checkpoint and several segments, as its files, and what it held after each revision.
struct Made {
    files: Vec<(String, Vec<u8>)>,
    /// The value written by revision n + 1, under its key.
    writes: Vec<(String, String)>,
}

fn make() -> Made {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let options = Options { checkpoint_min_bytes: 6000, segment_bytes: 1500, ..Options::default() };
    let store = Embedded::open(dir.path(), options).unwrap();
    let mut writes = Vec::new();
    for n in 0..160 {
        let (key, value) = (format!("/k/{}", n % 7), format!("value {n}"));
        runtime.block_on(store.write(put(&key, value.clone()))).unwrap();
        writes.push((key, value));
    }
    drop(store);
    let mut files: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|f| f.unwrap())
        .map(|f| (f.file_name().into_string().unwrap(), fs::read(f.path()).unwrap()))
        .filter(|(name, _)| name != "LOCK")
        .collect();
    files.sort();
    assert!(files.iter().any(|(name, _)| name.starts_with("checkpoint-")));
    assert!(files.iter().filter(|(name, _)| name.starts_with("log-")).count() > 1, "{:?}", files.iter().map(|f| &f.0).collect::<Vec<_>>());
    Made { files, writes }
}

/// What happens to a file.
#[derive(Clone, Debug)]
enum Damage {
    Flip { at: usize, bit: u8 },
    Cut { at: usize },
    Remove,
    Append(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<usize>(), 0u8..8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        4 => any::<usize>().prop_map(|at| Damage::Cut { at }),
        1 => Just(Damage::Remove),
        1 => proptest::collection::vec(any::<u8>(), 1..40).prop_map(Damage::Append),
    ]
}

fn apply(data: &mut Vec<u8>, damage: &Damage) {
    match damage {
        Damage::Flip { at, bit } => {
            let at = at % data.len();
            data[at] ^= 1 << bit;
        }
        Damage::Cut { at } => data.truncate(at % data.len()),
        Damage::Append(more) => data.extend(more),
        Damage::Remove => {}
    }
}

fn lay_out(made: &Made, which: usize, damage: &Damage) -> (tempfile::TempDir, String, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (damaged, _) = &made.files[which % made.files.len()];
    for (name, data) in &made.files {
        let mut data = data.clone();
        if name == damaged {
            if matches!(damage, Damage::Remove) {
                continue;
            }
            apply(&mut data, damage);
        }
        fs::write(dir.path().join(name), data).unwrap();
    }
    let path = dir.path().join(damaged);
    (dir, damaged.clone(), path)
}

#[test]
fn damaged_files_give_an_error_or_an_earlier_state() {
    let made = make();
    let last_log = made.files.iter().rfind(|(name, _)| name.starts_with("log-")).unwrap().0.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(which: usize, damage in damage())| {
        let (dir, name, path) = lay_out(&made, which, &damage);
        let found = fs::read(&path).ok();
        match Embedded::open(dir.path(), Options::default()) {
            Err(e) => {
                let told = matches!(&e, Error::Corrupt { .. } | Error::Io { .. });
                prop_assert!(told, "{e}");
                prop_assert_eq!(fs::read(&path).ok(), found, "a refused store is left as it was found");
            }
            Ok(store) => {
                let revision = runtime.block_on(store.revision()).unwrap();
                let all = made.writes.len();
                let kept = usize::try_from(revision.0).unwrap();
                // Each write was a commit of its own: only the last one can look torn, unless bytes are missing.
                let least = match damage {
                    _ if name != last_log => all,
                    Damage::Flip { .. } => all - 1,
                    Damage::Append(_) => all,
                    Damage::Cut { .. } | Damage::Remove => 0,
                };
                prop_assert!(kept >= least && kept <= all, "{name} hides revisions after {kept}");
                let expected: BTreeMap<_, _> = made.writes[..kept].iter().cloned().collect();
                let range = Range { prefix: "".into(), after: None, limit: 0, at: None };
                let entries = runtime.block_on(store.range(range)).unwrap().entries;
                let got: BTreeMap<_, _> = entries.iter().map(|e| (e.key.to_string(), String::from_utf8(e.value.to_vec()).unwrap())).collect();
                prop_assert_eq!(got, expected);
            }
        }
    });
}
