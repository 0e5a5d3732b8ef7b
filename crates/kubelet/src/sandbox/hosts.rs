//! A pod's `/etc/hosts`.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use crate::spec;

const HEADER: &str = "# Kubernetes-managed hosts file.\n";
const HOST_NETWORK_HEADER: &str = "# Kubernetes-managed hosts file (host network).\n";
const FIXED: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";

/// Writes the file in place, since containers may have it mounted; pods in the node's network get the node's entries.
pub fn write(path: &Path, pod: &Pod, pod_ips: &[String], cluster_domain: &str) -> io::Result<()> {
    let spec = spec::of(pod);
    let text = if spec::host_network(spec) {
        let node = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        format!("{HOST_NETWORK_HEADER}{node}{}", aliases(pod))
    } else {
        managed(pod, pod_ips, cluster_domain)
    };
    if std::fs::read_to_string(path).is_ok_and(|now| now == text) {
        return Ok(());
    }
    std::fs::create_dir_all(path.parent().unwrap_or(path))?;
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
}

fn managed(pod: &Pod, pod_ips: &[String], cluster_domain: &str) -> String {
    let (name, domain) = super::hostname(pod, cluster_domain);
    let mut text = format!("{HEADER}{FIXED}");
    for ip in pod_ips {
        let names = if domain.is_empty() { name.clone() } else { format!("{name}.{domain}\t{name}") };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{ip}\t{names}");
    }
    text + &aliases(pod)
}

fn aliases(pod: &Pod) -> String {
    let list = spec::of(pod).host_aliases.as_deref().unwrap_or_default();
    if list.is_empty() {
        return String::new();
    }
    let mut text = "\n# Entries added by HostAliases.\n".to_owned();
    for alias in list {
        let _ = writeln!(text, "{}\t{}", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_managed_file() {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [], "subdomain": "sub",
            "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}}))
            .unwrap();
        let expected = format!("{HEADER}{FIXED}10.0.0.1\tp.sub.n.svc.cluster.local\tp\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n");
        assert_eq!(managed(&pod, &["10.0.0.1".into()], "cluster.local"), expected);
    }
}
