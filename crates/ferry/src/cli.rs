//! The command line: a contract that people script against.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ipnet::Ipv4Net;

/// Where everything is kept unless told otherwise.
const DATA_DIR: &str = "/var/lib/ferry";

/// Kubernetes in one binary.
#[derive(Parser)]
#[command(name = "ferry", about, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster on this machine: control plane and node.
    Server(Box<ServerFlags>),
    /// Bring images to this node, list them, take them away.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Take away every pod, mount, namespace, rule and file of a stopped server.
    Reset(ResetFlags),
    /// Deploy the sample application to a running cluster and wait until it answers.
    #[command(subcommand)]
    Sample(SampleCommand),
    /// The program that rests in the sandboxes of a CRI runtime.
    #[command(hide = true)]
    Pause,
    /// The program inside the sample's image.
    #[command(hide = true)]
    SampleApp(SampleAppFlags),
    /// Print the version.
    Version,
}

/// Flags of `ferry server`.
#[derive(Args)]
#[command(args_override_self = true)]
pub(crate) struct ServerFlags {
    /// Read flags from this YAML file; flags on the command line win.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Keep everything below this folder.
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    pub(crate) data_dir: PathBuf,
    /// Listen on this address only [default: all].
    #[arg(long, value_name = "IP")]
    pub(crate) bind_address: Option<IpAddr>,
    /// The API server's port.
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    pub(crate) https_port: u16,
    /// The node's name [default: the host's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// The node's address [default: that of the default route].
    #[arg(long, value_name = "IP")]
    pub(crate) node_ip: Option<IpAddr>,
    /// Further names and addresses for the API server's certificate.
    #[arg(long, value_name = "NAME")]
    pub(crate) tls_san: Vec<String>,
    /// Addresses of pods.
    #[arg(long, value_name = "CIDR", default_value = "10.42.0.0/16")]
    pub(crate) cluster_cidr: Ipv4Net,
    /// Addresses of services.
    #[arg(long, value_name = "CIDR", default_value = "10.43.0.0/16")]
    pub(crate) service_cidr: Ipv4Net,
    /// The name server's service address; must lie in the service range.
    #[arg(long, value_name = "IP", default_value = "10.43.0.10")]
    pub(crate) cluster_dns: std::net::Ipv4Addr,
    /// The domain of service names.
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    pub(crate) cluster_domain: String,
    /// Write the administrator's kubeconfig here [default: DATA_DIR/kubeconfig].
    #[arg(long, value_name = "FILE")]
    pub(crate) write_kubeconfig: Option<PathBuf>,
    /// Run only the control plane.
    #[arg(long)]
    pub(crate) disable_agent: bool,
    /// Leave a component out: dns or proxy. May be given more than once.
    #[arg(long, value_name = "NAME")]
    pub(crate) disable: Vec<String>,
    /// Put all pods below this cgroup.
    #[arg(long, value_name = "PATH", default_value = "/ferry")]
    pub(crate) cgroup_root: String,
    /// Use this CRI runtime instead of the built-in one (unix:///run/containerd/containerd.sock).
    #[arg(long, value_name = "URL")]
    pub(crate) container_runtime_endpoint: Option<String>,
    /// The most pods that the node takes.
    #[arg(long, value_name = "N", default_value_t = 110)]
    pub(crate) max_pods: u32,
    /// What to log, for example info, debug or kubelet=debug.
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

/// Commands on images.
#[derive(Subcommand)]
pub(crate) enum ImageCommand {
    /// Import the images of an archive (docker save or OCI layout).
    Import {
        /// The archives.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Pull an image from its registry.
    Pull {
        /// The image.
        image: String,
        /// User and password for the registry.
        #[arg(long, value_name = "USER:PASSWORD")]
        creds: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Write the image that a CRI runtime's sandboxes rest in (containerd: sandbox_image) to an archive.
    Pause {
        /// The archive.
        archive: PathBuf,
    },
    /// List the images on this node.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Remove images by name or id.
    Remove {
        /// The images.
        #[arg(required = true)]
        images: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
}

/// Which node's data.
#[derive(Args)]
pub(crate) struct Place {
    /// The node's data folder.
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    pub(crate) data_dir: PathBuf,
}

/// Flags of `ferry reset`.
#[derive(Args)]
pub(crate) struct ResetFlags {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Do it without asking.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Commands on the sample application.
#[derive(Subcommand)]
pub(crate) enum SampleCommand {
    /// Make the sample's image out of this binary, apply its manifests, wait until it answers.
    Deploy {
        #[command(flatten)]
        place: Place,
        /// The cluster [default: DATA_DIR/kubeconfig].
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
    },
    /// Write the sample's image to an archive.
    Image {
        /// The archive.
        archive: PathBuf,
    },
}

/// Flags of the sample application.
#[derive(Args, Clone)]
pub(crate) struct SampleAppFlags {
    /// Which half to be: store keeps messages, web shows them.
    #[arg(value_parser = ["store", "web"])]
    pub(crate) role: String,
    /// Listen on this port.
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// Where web finds store, as host and port.
    #[arg(long, default_value = "guestbook-store:8080")]
    pub(crate) store: String,
}
