//! Where the log goes: standard error, one line an event.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// What is logged unless `--log` or FERRY_LOG says otherwise; libraries speak up only when they are named there.
const DEFAULT: &str = "info,kube_client=warn,kube_runtime=error,h2=warn,hyper=warn,hyper_util=warn,rustls=warn,tower=warn";

/// Starts logging; a filter that cannot be read falls back to the default and says so.
pub(crate) fn start(filter: Option<&str>) {
    let wanted = filter.map(str::to_owned).or_else(|| std::env::var("FERRY_LOG").ok());
    let parsed = wanted.as_deref().map(|text| EnvFilter::try_new(format!("{DEFAULT},{text}")));
    let (filter, complaint) = match parsed {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT), Some(error)),
        None => (EnvFilter::new(DEFAULT), None),
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).init();
    if let Some(error) = complaint {
        tracing::warn!(%error, "the log filter cannot be read, logging as usual");
    }
}
