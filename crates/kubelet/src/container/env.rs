//! A container's environment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret, Service, ServicePort};

use super::{ConfigError, expand};
use crate::downward::{self, Surroundings};
use crate::objects::{self, Missing, Objects};
use crate::spec;

/// Everything that a value may come from.
pub struct Sources<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Addresses and allocatable resources.
    pub around: &'a Surroundings,
    /// ConfigMaps and Secrets.
    pub objects: &'a Objects,
    /// All services.
    pub services: &'a [Arc<Service>],
    /// Where volumes are mounted on the node, by name, for `fileKeyRef`.
    pub volumes: &'a HashMap<String, std::path::PathBuf>,
}

/// The container's variables, sorted by name: its own in the order of declaration win over `envFrom`, which wins over services.
pub async fn build(container: &Container, sources: &Sources<'_>) -> Result<BTreeMap<String, String>, ConfigError> {
    let spec = spec::of(sources.pod);
    let services = service_variables(sources.services, spec::namespace(sources.pod), spec.enable_service_links != Some(false));
    let mut own: HashMap<String, String> = HashMap::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(source) = &from.config_map_ref {
            if let Some(map) = config_map(sources, &source.name, source.optional).await? {
                own.extend(map.data.iter().flatten().map(|(k, v)| (format!("{prefix}{k}"), v.clone())));
            }
        } else if let Some(source) = &from.secret_ref
            && let Some(secret) = secret(sources, &source.name, source.optional).await?
        {
            let text = |v: &k8s_openapi::ByteString| String::from_utf8_lossy(&v.0).into_owned();
            own.extend(secret.data.iter().flatten().map(|(k, v)| (format!("{prefix}{k}"), text(v))));
        }
    }
    // References see what is declared before them, and the services.
    let mut visible = services.clone();
    visible.extend(own.clone());
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(text), _) if !text.is_empty() => Some(expand::expand(text, &visible)),
            (_, Some(source)) => from_source(source, container, sources).await?,
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            visible.insert(variable.name.clone(), value.clone());
            own.insert(variable.name.clone(), value);
        }
    }
    let mut all: BTreeMap<String, String> = services.into_iter().collect();
    all.extend(own);
    Ok(all)
}

/// A value from elsewhere; `None` for an optional one that is missing.
async fn from_source(source: &EnvVarSource, container: &Container, sources: &Sources<'_>) -> Result<Option<String>, ConfigError> {
    let namespace = spec::namespace(sources.pod);
    if let Some(field) = &source.field_ref {
        return downward::field(&field.field_path, sources.pod, sources.around).map(Some).map_err(ConfigError);
    }
    if let Some(resource) = &source.resource_field_ref {
        let named = resource.container_name.as_deref().and_then(|name| spec::find(spec::of(sources.pod), name));
        let container = named.as_ref().map_or(container, |(_, c)| c);
        return downward::resource(resource, container, sources.around).map(Some).map_err(ConfigError);
    }
    if let Some(key) = &source.config_map_key_ref {
        let Some(map) = config_map(sources, &key.name, key.optional).await? else { return Ok(None) };
        let value = map.data.as_ref().and_then(|d| d.get(&key.key)).cloned();
        return found(value, key.optional, || format!("couldn't find key {} in ConfigMap {namespace}/{}", key.key, key.name));
    }
    if let Some(key) = &source.secret_key_ref {
        let Some(secret) = secret(sources, &key.name, key.optional).await? else { return Ok(None) };
        let value = secret.data.as_ref().and_then(|d| d.get(&key.key)).map(|v| String::from_utf8_lossy(&v.0).into_owned());
        return found(value, key.optional, || format!("couldn't find key {} in Secret {namespace}/{}", key.key, key.name));
    }
    if let Some(key) = &source.file_key_ref {
        let missing = || ConfigError(format!("cannot find the volume {:?} referenced by FileKeyRef", key.volume_name));
        let root = sources.volumes.get(&key.volume_name).ok_or_else(missing)?;
        let value = env_file_value(root, &key.path, &key.key)?;
        return found(value, key.optional, || format!("environment variable key {:?} not found in file {:?}", key.key, key.path));
    }
    Ok(Some(String::new()))
}

fn found(value: Option<String>, optional: Option<bool>, message: impl FnOnce() -> String) -> Result<Option<String>, ConfigError> {
    if value.is_none() && optional != Some(true) { Err(ConfigError(message())) } else { Ok(value) }
}

async fn config_map(sources: &Sources<'_>, name: &str, optional: Option<bool>) -> Result<Option<Arc<ConfigMap>>, ConfigError> {
    lenient(sources.objects.get::<ConfigMap>(spec::namespace(sources.pod), name).await, optional)
}

async fn secret(sources: &Sources<'_>, name: &str, optional: Option<bool>) -> Result<Option<Arc<Secret>>, ConfigError> {
    lenient(sources.objects.get::<Secret>(spec::namespace(sources.pod), name).await, optional)
}

fn lenient<K>(got: Result<Arc<K>, objects::Error>, optional: Option<bool>) -> Result<Option<Arc<K>>, ConfigError> {
    match got {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.missing == Missing::Absent && optional == Some(true) => Ok(None),
        Err(error) => Err(ConfigError(error.to_string())),
    }
}

/// One variable of a file of `KEY=value` lines (`#` starts a comment line), read without leaving the volume.
fn env_file_value(root: &std::path::Path, path: &str, key: &str) -> Result<Option<String>, ConfigError> {
    const MAX_BYTES: u64 = 64 << 10;
    use std::io::Read as _;
    let broken = |_| ConfigError("couldn't parse env file".into());
    let file = crate::volume::subpath::open_file(root, path).map_err(broken)?;
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(broken)?;
    let lines = text.lines().map(str::trim).filter(|l| !l.starts_with('#'));
    let value = lines.filter_map(|l| l.split_once('=')).filter(|(k, _)| k.trim() == key).map(|(_, v)| v.trim()).next_back();
    Ok(value.map(|v| v.trim_matches(|c| c == '"' || c == '\'').to_owned()))
}

/// The variables for services: those of the pod's namespace if it wants them, and always the API server's.
pub fn service_variables(services: &[Arc<Service>], namespace: &str, links: bool) -> HashMap<String, String> {
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let of = service.metadata.namespace.as_deref().unwrap_or_default();
        if links && of == namespace {
            chosen.insert(name, service);
        } else if of == "default" && name == "kubernetes" {
            chosen.entry(name).or_insert(service);
        }
    }
    let mut variables = HashMap::new();
    for (name, service) in chosen {
        let Some(spec) = &service.spec else { continue };
        let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { continue };
        let prefix = variable_name(name);
        let ports = spec.ports.as_deref().unwrap_or_default();
        variables.insert(format!("{prefix}_SERVICE_HOST"), ip.to_owned());
        for (index, port) in ports.iter().enumerate() {
            port_variables(&mut variables, &prefix, ip, port, index == 0);
        }
    }
    variables
}

fn port_variables(variables: &mut HashMap<String, String>, prefix: &str, ip: &str, port: &ServicePort, first: bool) {
    let number = port.port.to_string();
    let protocol = port.protocol.as_deref().filter(|p| !p.is_empty()).unwrap_or("TCP");
    let lower = protocol.to_lowercase();
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let url = format!("{lower}://{host}:{number}");
    if first {
        variables.insert(format!("{prefix}_SERVICE_PORT"), number.clone());
        variables.insert(format!("{prefix}_PORT"), url.clone());
    }
    if let Some(name) = port.name.as_deref().filter(|n| !n.is_empty()) {
        variables.insert(format!("{prefix}_SERVICE_PORT_{}", variable_name(name)), number.clone());
    }
    let link = format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase());
    variables.insert(format!("{link}_PROTO"), lower);
    variables.insert(format!("{link}_PORT"), number);
    variables.insert(format!("{link}_ADDR"), ip.to_owned());
    variables.insert(link, url);
}

fn variable_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn services_become_variables() {
        let service = |ns: &str, name: &str, ip: &str| {
            Arc::new(
                serde_json::from_value::<Service>(json!({"metadata": {"namespace": ns, "name": name},
            "spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}))
                .unwrap(),
            )
        };
        let all = [
            service("default", "kubernetes", "10.43.0.1"),
            service("n", "my-db", "10.43.0.9"),
            service("n", "headless", "None"),
            service("m", "other", "10.43.0.8"),
        ];
        let got = service_variables(&all, "n", true);
        assert_eq!(got["MY_DB_SERVICE_HOST"], "10.43.0.9");
        assert_eq!(got["MY_DB_SERVICE_PORT_HTTP"], "80");
        assert_eq!(got["MY_DB_PORT_80_TCP"], "tcp://10.43.0.9:80");
        assert_eq!(got["MY_DB_PORT"], "tcp://10.43.0.9:80");
        assert_eq!(got["KUBERNETES_SERVICE_HOST"], "10.43.0.1");
        assert!(!got.keys().any(|k| k.starts_with("HEADLESS") || k.starts_with("OTHER")));
        let unlinked = service_variables(&all, "n", false);
        assert!(unlinked.contains_key("KUBERNETES_SERVICE_PORT") && !unlinked.contains_key("MY_DB_PORT"));
    }
}
