//! Packs the facts of the Kubernetes API into the tables that `api` carries.
//!
//! The type table is lines of tab-separated cells (its grammar is told in `api::schema::builtin`): readable in a diff,
//! small in the binary, and parsed in a few milliseconds when first used.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

const PREFIX: &str = "io.k8s.";

/// The API version whose facts the tables hold.
const VERSION: &str = "1.36";
/// Where the facts lie, seen from the workspace: beside it, since they are inputs and not its own work.
const FACTS: &str = "../shared/data";

/// Reads `kubernetes-<version>-{schema,resources}.json` and writes the two tables of `crates/api`.
///
/// The facts are no part of the repository; where they are absent the committed tables stay as they are.
pub(crate) fn generate(workspace: &Path) -> Result<()> {
    let (facts, api_src) = (workspace.join(FACTS), workspace.join("crates/api/src"));
    if !facts.is_dir() {
        eprintln!("{} is absent: the API tables stay as they are", facts.display());
        return Ok(());
    }
    let read = |name: &str| -> Result<Value> {
        let path = facts.join(format!("kubernetes-{VERSION}-{name}.json"));
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("parsing {}", path.display()))
    };
    let types = pack_types(&read("schema")?)?;
    std::fs::write(api_src.join("schema/kubernetes-types.txt"), types)?;
    let mut resources = String::from("[\n");
    let list = read("resources")?;
    let rows = list.as_array().context("the resource facts are no list")?;
    for (i, row) in rows.iter().enumerate() {
        writeln!(resources, "{row}{}", if i + 1 < rows.len() { "," } else { "" })?;
    }
    resources.push_str("]\n");
    std::fs::write(api_src.join("resources/kubernetes-resources.json"), resources)?;
    Ok(())
}

fn pack_types(facts: &Value) -> Result<String> {
    let types = facts["types"].as_object().context("no `types`")?;
    let mut names: Vec<&String> = types.keys().collect();
    names.sort();
    let mut out = String::new();
    for name in names {
        let ty = &types[name];
        pack_type(&mut out, name, ty).with_context(|| format!("type {name}"))?;
        let fields = ty["fields"].as_object().context("no fields")?;
        let mut keys: Vec<&String> = fields.keys().collect();
        keys.sort();
        for key in keys {
            let field = fields[key].as_object().context("a field is no object")?;
            pack_field(&mut out, key, field).with_context(|| format!("field {name}.{key}"))?;
        }
    }
    Ok(out)
}

fn pack_type(out: &mut String, name: &str, ty: &Value) -> Result<()> {
    let short = name.strip_prefix(PREFIX).with_context(|| format!("{name} is outside {PREFIX}"))?;
    write!(out, ">{short}")?;
    if let Some(proto) = ty["proto"].as_str() {
        write!(out, "\tp={proto}")?;
    }
    for gvk in ty["gvk"].as_array().into_iter().flatten() {
        let cell = |k: &str| gvk[k].as_str().unwrap_or_default().to_owned();
        write!(out, "\tg={}/{}/{}", cell("group"), cell("version"), cell("kind"))?;
    }
    if let Some(kind) = ty["mapType"].as_str() {
        write!(out, "\tm={kind}")?;
    }
    if let Some(scalar) = ty["scalar"].as_str() {
        write!(out, "\ts={scalar}")?;
    }
    if !ty["unions"].is_null() {
        write!(out, "\tu={}", ty["unions"])?;
    }
    out.push('\n');
    Ok(())
}

fn pack_field(out: &mut String, name: &str, field: &Map<String, Value>) -> Result<()> {
    let text = |k: &str| field.get(k).and_then(Value::as_str);
    let flag = |k: &str| field.get(k).and_then(Value::as_bool).unwrap_or(false);
    let shape = text("type").context("no type")?.replace(&format!("ref:{PREFIX}"), "ref:");
    let tag = field.get("tag").and_then(Value::as_u64).unwrap_or(0);
    write!(out, "{name}\t{shape}\t{tag}\t")?;
    for (key, letter) in [("always", 'a'), ("ptr", 'p'), ("required", 'r'), ("inline", 'i'), ("protoOnly", 'o')] {
        if flag(key) {
            out.push(letter);
        }
    }
    if text("protoType").is_some() {
        out.push('w');
    }
    let list = |k: &str| -> Result<Option<String>> {
        let Some(items) = field.get(k).and_then(Value::as_array) else { return Ok(None) };
        let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
        if words.len() != items.len() || words.iter().any(|w| w.contains([',', '\t', '\n'])) {
            bail!("{k} holds what the table cannot carry");
        }
        Ok(Some(words.join(",")))
    };
    if let Some(value) = field.get("default") {
        write!(out, "\td={value}")?;
    }
    if let Some(words) = list("enum")? {
        write!(out, "\te={words}")?;
    }
    for (key, letter) in [("listType", 'l'), ("mapType", 'm'), ("patchStrategy", 's'), ("patchMergeKey", 'k'), ("protoName", 'n')] {
        if let Some(value) = text(key) {
            write!(out, "\t{letter}={value}")?;
        }
    }
    if let Some(keys) = list("listMapKeys")? {
        write!(out, "\ty={keys}")?;
    }
    out.push('\n');
    Ok(())
}
