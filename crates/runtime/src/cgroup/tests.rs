//! Recorded trees instead of a host of each kind.

use std::fs;

use super::*;

const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
const PURE_V2: &str = "30 23 0:26 / /sys/fs/with\\040space rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

#[test]
fn mountinfo_tells_the_layout() {
    let Tree::V1 { hierarchies, unified } = Tree::parse(HYBRID).unwrap() else { panic!("not v1") };
    assert_eq!(hierarchies.len(), 3);
    assert_eq!(unified, Some("/sys/fs/cgroup/unified".into()));
    assert_eq!(Tree::parse(PURE_V2), Some(Tree::V2 { mount: "/sys/fs/with space".into() }));
    assert_eq!(Tree::parse("garbage - \n - cgroup\n"), None);
}

fn v2(root: &Path) -> Cgroups {
    fs::write(root.join("cgroup.controllers"), "cpuset cpu io memory hugetlb pids\n").unwrap();
    fs::write(root.join("cgroup.subtree_control"), "cpu\n").unwrap();
    Cgroups { tree: Tree::V2 { mount: root.to_owned() } }
}

#[test]
fn limits_reach_their_files_on_v2() {
    let root = tempfile::tempdir().unwrap();
    let cgroups = v2(root.path());
    let limits = Limits { memory: 4096, cpu_shares: 2, ..Default::default() };
    cgroups.create("/kubepods/pod1/c1", &limits, &Devices::Only(vec![])).unwrap();
    let folders = cgroups.folders("/kubepods/pod1/c1").unwrap().all();
    assert_eq!(folders, [root.path().join("kubepods/pod1/c1")]);
    assert_eq!(fs::read_to_string(folders[0].join("memory.max")).unwrap(), "4096");
    assert_eq!(fs::read_to_string(folders[0].join("cpu.weight")).unwrap(), "1");
    assert_eq!(fs::read_to_string(root.path().join("cgroup.subtree_control")).unwrap(), "+hugetlb");
}

#[test]
fn use_is_read_from_both_versions() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("c");
    fs::create_dir(&folder).unwrap();
    for (file, text) in [
        ("cpu.stat", "usage_usec 12\nuser_usec 3\n"),
        ("memory.current", "1000\n"),
        ("memory.max", "max\n"),
        ("memory.stat", "anon 300\ninactive_file 400\npgfault 5\npgmajfault 1\n"),
        ("memory.events", "low 0\noom 2\noom_kill 1\n"),
        ("cpuacct.usage", "77\n"),
        ("memory.usage_in_bytes", "10\n"),
        ("memory.limit_in_bytes", "9223372036854771712\n"),
    ] {
        fs::write(folder.join(file), text).unwrap();
    }
    let usage = v2(root.path()).usage("c").unwrap();
    assert_eq!((usage.cpu_nanoseconds, usage.working_set, usage.rss, usage.memory_limit), (Some(12_000), Some(600), Some(300), None));
    assert_eq!(out_of_memory_kills(&[folder]), 1);
    let all = ["cpu", "cpuacct", "memory"].map(str::to_owned).to_vec();
    let v1 =
        Cgroups { tree: Tree::V1 { hierarchies: vec![tree::Hierarchy { mount: root.path().into(), controllers: all }], unified: None } };
    let usage = v1.usage("c").unwrap();
    assert_eq!((usage.cpu_nanoseconds, usage.memory, usage.memory_limit), (Some(77), Some(10), None));
    assert!(v1.apply("c", &Limits { cpus: "0".into(), ..Default::default() }).is_err(), "a limit without its controller");
}

#[test]
fn paths_stay_inside() {
    for path in ["", "/", "../x", "a/../../b"] {
        assert!(plain(path).is_err(), "{path:?}");
    }
    assert_eq!(plain("/kubepods//pod1/").unwrap(), Path::new("kubepods/pod1"));
}
