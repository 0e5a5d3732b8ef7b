//! Starts every controller and starts it again if it ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::context::{Config, Context};

type Run = fn(Context) -> Pin<Box<dyn Future<Output = ()> + Send>>;

struct Controller {
    /// The service account in kube-system that the controller acts as.
    account: &'static str,
    /// The component in its events.
    component: &'static str,
    run: Run,
}

/// A controller that ended (it panicked) waits this long before it runs again.
const RESTART_AFTER: Duration = Duration::from_secs(1);

macro_rules! controllers {
    ($($account:literal as $component:literal => $run:path),* $(,)?) => {
        /// The service accounts (in kube-system) of all controllers, in starting order.
        pub const NAMES: &[&str] = &[$($account),*];
        const ALL: &[Controller] =
            &[$(Controller { account: $account, component: $component, run: |context| Box::pin($run(context)) }),*];
    };
}

controllers! {
    "service-account-controller" as "service-account-controller" => crate::serviceaccount::run,
    "root-ca-cert-publisher" as "root-ca-cert-publisher" => crate::rootca::run,
    "namespace-controller" as "namespace-controller" => crate::namespace::run,
    "deployment-controller" as "deployment-controller" => crate::deployment::run,
    "replicaset-controller" as "replicaset-controller" => crate::replicas::run_replica_sets,
    "replication-controller" as "replication-controller" => crate::replicas::run_replication_controllers,
    "endpointslice-controller" as "endpoint-slice-controller" => crate::endpointslice::run,
    "endpoint-controller" as "endpoint-controller" => crate::endpoints::run,
    "generic-garbage-collector" as "garbage-collector-controller" => crate::gc::run,
    "node-controller" as "node-controller" => crate::nodelifecycle::run,
    "taint-eviction-controller" as "taint-eviction-controller" => crate::tainteviction::run,
    "tokens-controller" as "tokens-controller" => crate::tokens::run,
    "clusterrole-aggregation-controller" as "clusterrole-aggregation-controller" => crate::clusterroles::run,
    "pod-garbage-collector" as "pod-garbage-collector" => crate::podgc::run,
}

/// Runs all controllers until the future is dropped.
pub async fn run(config: Config) {
    let config = Arc::new(config);
    let mut running = JoinSet::new();
    for controller in ALL {
        let config = config.clone();
        running.spawn(async move { keep_running(&config, controller).await });
    }
    while running.join_next().await.is_some() {}
}

async fn keep_running(config: &Arc<Config>, controller: &Controller) {
    loop {
        let context = Context::new(config, controller.account, controller.component);
        // Its own task, so that a panic stays with this controller; the set ends the task if we are dropped.
        let mut alone = JoinSet::new();
        alone.spawn((controller.run)(context));
        match alone.join_next().await {
            Some(Err(error)) => {
                tracing::error!(controller = controller.account, %error, "controller failed, restarting it")
            }
            _ => tracing::error!(controller = controller.account, "controller ended, restarting it"),
        }
        tokio::time::sleep(RESTART_AFTER).await;
    }
}
