//! `--config FILE`: a YAML file whose keys are flag names. It becomes flags in front of those of the command line, so that
//! one parser checks both, and the command line wins.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};

/// The arguments with those of the configuration file put in.
pub(crate) fn arguments(given: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let Some(path) = config_path(&given) else { return Ok(given) };
    let text = fs::read_to_string(&path).with_context(|| format!("reading configuration file {}", Path::new(&path).display()))?;
    let flags = flags(&text).with_context(|| format!("in configuration file {}", Path::new(&path).display()))?;
    let mut all: Vec<OsString> = given.iter().take(2).cloned().collect();
    all.extend(flags.into_iter().map(OsString::from));
    all.extend(given.into_iter().skip(2));
    Ok(all)
}

fn config_path(given: &[OsString]) -> Option<OsString> {
    let mut rest = given.iter().skip(1);
    while let Some(argument) = rest.next() {
        if argument == "--config" {
            return rest.next().cloned();
        }
        if let Some(path) = argument.to_str().and_then(|a| a.strip_prefix("--config=")) {
            return Some(path.into());
        }
    }
    None
}

fn flags(text: &str) -> anyhow::Result<Vec<String>> {
    let tree: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)?;
    let serde_yaml_ng::Value::Mapping(entries) = tree else {
        if tree.is_null() {
            return Ok(Vec::new());
        }
        bail!("it must be a mapping of flag names to values, such as `node-name: one`");
    };
    let mut out = Vec::new();
    for (key, value) in entries {
        let Some(name) = key.as_str() else { bail!("the key {key:?} is not a flag name") };
        let line = line_of(text, name);
        let mut add = |value: &serde_yaml_ng::Value| -> anyhow::Result<()> {
            match value {
                serde_yaml_ng::Value::Bool(true) => out.push(format!("--{name}")),
                serde_yaml_ng::Value::Bool(false) | serde_yaml_ng::Value::Null => {}
                serde_yaml_ng::Value::String(text) => out.push(format!("--{name}={text}")),
                serde_yaml_ng::Value::Number(n) => out.push(format!("--{name}={n}")),
                _ => bail!("line {line}: {name} takes a text, a number or true, or a list of them"),
            }
            Ok(())
        };
        match &value {
            serde_yaml_ng::Value::Sequence(items) => items.iter().try_for_each(add)?,
            single => add(single)?,
        }
        check_name(name, line)?;
    }
    Ok(out)
}

fn check_name(name: &str, line: usize) -> anyhow::Result<()> {
    use clap::CommandFactory as _;
    let command = crate::cli::Cli::command();
    let Some(server) = command.find_subcommand("server") else { return Ok(()) };
    let known: Vec<&str> = server.get_arguments().filter_map(clap::Arg::get_long).filter(|n| *n != "config").collect();
    if !known.contains(&name) {
        bail!("line {line}: there is no flag {name}; there are: {}", known.join(", "));
    }
    Ok(())
}

fn line_of(text: &str, key: &str) -> usize {
    text.lines().position(|line| line.trim_start().trim_start_matches(['"', '\'']).starts_with(key)).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_flags() {
        let text = "node-name: one\nhttps-port: 7443\ndisable-agent: true\ndisable: [dns, proxy]\n";
        let expected = ["--node-name=one", "--https-port=7443", "--disable-agent", "--disable=dns", "--disable=proxy"];
        assert_eq!(flags(text).unwrap(), expected);
    }

    #[test]
    fn a_typo_is_told_with_its_line_and_the_right_names() {
        let error = flags("node-name: one\nnode-adress: x\n").unwrap_err().to_string();
        assert!(error.contains("line 2: there is no flag node-adress") && error.contains("node-ip"), "{error}");
        assert!(flags("- a\n").unwrap_err().to_string().contains("mapping"));
    }

    #[test]
    fn the_command_line_comes_after_the_file_and_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yaml");
        fs::write(&path, "node-name: file\n").unwrap();
        let given = ["ferry", "server", "--config", path.to_str().unwrap(), "--node-name", "line"].map(OsString::from);
        let all = arguments(given.to_vec()).unwrap();
        let cli = <crate::cli::Cli as clap::Parser>::parse_from(all);
        let crate::cli::Command::Server(flags) = cli.command else { panic!("not the server command") };
        assert_eq!(flags.node_name.as_deref(), Some("line"));
    }
}
