//! A pod's resolver configuration, by its DNS policy.

use cri::v1::DnsConfig;
use k8s_openapi::api::core::v1::Pod;

use crate::config::Config;
use crate::spec;

/// The resolver takes no more servers, search domains or characters of search domains.
const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;

/// Builds the configuration.
pub fn config(pod: &Pod, config: &Config) -> DnsConfig {
    let host = std::fs::read_to_string(&config.resolv_conf).unwrap_or_default();
    build(pod, parse(&host), config)
}

fn build(pod: &Pod, host: DnsConfig, config: &Config) -> DnsConfig {
    let spec = spec::of(pod);
    let cluster = match spec.dns_policy.as_deref() {
        Some("None" | "Default") => false,
        Some("ClusterFirstWithHostNet") => true,
        _ => !spec::host_network(spec),
    };
    let mut dns = if spec.dns_policy.as_deref() == Some("None") {
        DnsConfig::default()
    } else if cluster && !config.cluster_dns.is_empty() {
        let domain = &config.cluster_domain;
        let own = [format!("{}.svc.{domain}", spec::namespace(pod)), format!("svc.{domain}"), domain.clone()];
        DnsConfig {
            servers: config.cluster_dns.iter().map(ToString::to_string).collect(),
            searches: own.into_iter().chain(host.searches).collect(),
            options: vec!["ndots:5".into()],
        }
    } else {
        host
    };
    if let Some(more) = &spec.dns_config {
        dns.servers.extend(more.nameservers.iter().flatten().cloned());
        dns.searches.extend(more.searches.iter().flatten().cloned());
        for option in more.options.iter().flatten() {
            let name = option.name.as_deref().unwrap_or_default();
            dns.options.retain(|o| o.split(':').next() != Some(name));
            dns.options.push(option.value.as_ref().filter(|v| !v.is_empty()).map_or_else(|| name.to_owned(), |v| format!("{name}:{v}")));
        }
    }
    limit(dns)
}

fn limit(mut dns: DnsConfig) -> DnsConfig {
    let distinct = |list: Vec<String>| {
        list.into_iter().fold(Vec::new(), |mut kept: Vec<String>, item| {
            if !kept.contains(&item) {
                kept.push(item);
            }
            kept
        })
    };
    dns.servers = distinct(dns.servers);
    dns.searches = distinct(dns.searches);
    dns.servers.truncate(MAX_SERVERS);
    dns.searches.truncate(MAX_SEARCHES);
    while dns.searches.iter().map(|s| s.len() + 1).sum::<usize>() > MAX_SEARCH_CHARS + 1 {
        dns.searches.pop();
    }
    dns
}

/// Reads a `resolv.conf`; lines that are not understood are left out.
fn parse(text: &str) -> DnsConfig {
    let mut dns = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            Some("search") => {
                dns.searches = words.map(|w| if w == "." { w.to_owned() } else { w.trim_end_matches('.').to_owned() }).collect()
            }
            Some("options") => dns.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings() -> Config {
        crate::testing::config(std::path::Path::new("/nonexistent"))
    }

    fn of(spec: serde_json::Value) -> (String, String, String) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"namespace": "n"}, "spec": spec})).unwrap();
        let host = parse("# c\nnameserver 192.0.2.53\nsearch corp.example. lan\noptions rotate\n");
        let dns = build(&pod, host, &settings());
        (dns.servers.join(" "), dns.searches.join(" "), dns.options.join(" "))
    }

    #[test]
    fn policies() {
        let cluster =
            ("10.43.0.10".into(), "n.svc.cluster.local svc.cluster.local cluster.local corp.example lan".into(), "ndots:5".into());
        let host = ("192.0.2.53".into(), "corp.example lan".into(), "rotate".into());
        assert_eq!(of(json!({"containers": [], "dnsPolicy": "ClusterFirst"})), cluster);
        assert_eq!(of(json!({"containers": [], "dnsPolicy": "ClusterFirst", "hostNetwork": true})), host);
        assert_eq!(of(json!({"containers": [], "dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true})), cluster);
        assert_eq!(of(json!({"containers": [], "dnsPolicy": "Default"})), host);
        assert_eq!(
            of(
                json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}})
            ),
            ("1.1.1.1".into(), "a.b".into(), "ndots:2 edns0".into())
        );
    }
}
