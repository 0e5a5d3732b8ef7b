//! Localhost profiles: the JSON form of the OCI runtime-spec and of Docker (`names` or `name`, `includes`/`excludes` by capability and
//! architecture).

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use super::syscalls::number;
use super::{Action, Condition, Profile, Rule, Test};
use crate::spec::capability;

/// The largest profile file; a longer one is refused.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileFile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    syscalls: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    #[serde(default)]
    names: Vec<String>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Filter,
    #[serde(default)]
    excludes: Filter,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
struct Filter {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

/// Reads a profile file for a container with this bounding set.
pub(super) fn read(path: &Path, capabilities: u64) -> cri::Result<Profile> {
    let fail = |why: String| cri::Error::InvalidArgument(format!("seccomp profile {}: {why}", path.display()));
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text)).map_err(|e| fail(e.to_string()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(fail(format!("it is longer than {MAX_BYTES} bytes")));
    }
    parse(&text, capabilities).map_err(fail)
}

fn parse(text: &[u8], capabilities: u64) -> Result<Profile, String> {
    let file: ProfileFile = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    let mut rules = Vec::new();
    for group in &file.syscalls {
        let applies = group.includes.caps.iter().all(|cap| has(cap, capabilities))
            && !group.excludes.caps.iter().any(|cap| has(cap, capabilities))
            && (group.includes.arches.is_empty() || group.includes.arches.iter().any(|a| here(a)))
            && !group.excludes.arches.iter().any(|a| here(a));
        if !applies {
            continue;
        }
        let action = action(&group.action, group.errno_ret)?;
        let conditions = group.args.iter().flatten().map(condition).collect::<Result<Vec<_>, _>>()?;
        // A name that this architecture lacks is no error: profiles list the calls of all of them.
        for number in group.names.iter().chain(&group.name).filter_map(|name| number(name)) {
            rules.push(Rule { number, conditions: conditions.clone(), action });
        }
    }
    Ok(Profile { default: action(&file.default_action, file.default_errno_ret)?, rules })
}

fn has(name: &str, capabilities: u64) -> bool {
    capability(name).is_some_and(|bit| capabilities & bit != 0)
}

fn here(architecture: &str) -> bool {
    matches!((architecture, std::env::consts::ARCH), ("amd64" | "x86_64", "x86_64") | ("arm64" | "aarch64", "aarch64"))
}

fn action(name: &str, errno: Option<u16>) -> Result<Action, String> {
    let eperm = u16::try_from(libc::EPERM).unwrap_or(1);
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(errno.unwrap_or(eperm)),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_TRACE" => Action::Trace(errno.unwrap_or(eperm)),
        other => return Err(format!("the action {other:?} is not supported")),
    })
}

fn condition(argument: &Argument) -> Result<Condition, String> {
    let v = argument.value;
    let test = match argument.op.as_str() {
        "SCMP_CMP_EQ" => Test::Equal(v),
        "SCMP_CMP_NE" => Test::NotEqual(v),
        "SCMP_CMP_LT" => Test::Less(v),
        "SCMP_CMP_LE" => Test::LessOrEqual(v),
        "SCMP_CMP_GT" => Test::Greater(v),
        "SCMP_CMP_GE" => Test::GreaterOrEqual(v),
        "SCMP_CMP_MASKED_EQ" => Test::Masked { mask: v, value: argument.value_two },
        other => return Err(format!("unknown comparison {other:?}")),
    };
    if argument.index > 5 {
        return Err(format!("a system call has no argument {}", argument.index));
    }
    Ok(Condition { argument: argument.index, test })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_profile_file_becomes_rules() {
        let text = br#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[
            {"names":["mkdir","mkdirat","made_up"],"action":"SCMP_ACT_ERRNO","errnoRet":13},
            {"name":"personality","action":"SCMP_ACT_LOG","args":[{"index":0,"value":8,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]},
            {"names":["mount"],"action":"SCMP_ACT_KILL","excludes":{"caps":["CAP_SYS_ADMIN"]}}]}"#;
        let profile = parse(text, capability("SYS_ADMIN").unwrap()).unwrap();
        assert_eq!(profile.default, Action::Allow);
        let mkdirat = number("mkdirat").unwrap();
        assert!(profile.rules.contains(&Rule { number: mkdirat, conditions: vec![], action: Action::Errno(13) }));
        assert!(!profile.rules.iter().any(|r| Some(r.number) == number("mount")));
        assert!(parse(text, 0).unwrap().rules.iter().any(|r| Some(r.number) == number("mount")));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "{}", r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"x"}]}"#]
        {
            assert!(parse(text.as_bytes(), 0).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes: Vec<u8>) {
            let _ = parse(&bytes, 0);
        }
    }
}
