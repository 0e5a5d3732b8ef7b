//! A test cluster to try things on by hand: starts one, says how to reach it, and takes it away when a line is entered.

use testkit::{Cluster, Options};

fn main() {
    let flags = std::env::args().skip(1).collect();
    let cluster = Cluster::start_with(Options { flags, ..Options::default() });
    cluster.import_sample();
    let (name, folder) = (cluster.node.name(), cluster.node.folder().display());
    println!("KUBECONFIG={folder}/data/kubeconfig nsenter --net=/run/netns/{name}-out kubectl get pods -A");
    println!("log: {folder}/server.log; Enter takes it away");
    let _ = std::io::stdin().read_line(&mut String::new());
}
