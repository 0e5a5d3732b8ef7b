//! The loop that feeds the proxy from informers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use client::Informers;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use stdx::Backoff;
use tokio::sync::Notify;

use super::sync::Proxy;
use crate::error::Result;

/// Changes that come this close together become one transaction.
const QUIET: Duration = Duration::from_millis(20);
/// How often the table is compared with what it should be, in case somebody else changed it.
const VERIFY: Duration = Duration::from_secs(60);
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));

/// Why the loop ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The worker thread died; only a bug does that.
    #[error("the service proxy's worker ended without an answer")]
    WorkerDied,
}

/// Keeps the table in step with the API until `stop` is ready. The first sync waits for both caches, so that no
/// service is refused only because its endpoints are not known yet. The table stays when the loop ends.
pub async fn run(mut proxy: Proxy, informers: &Informers, stop: impl Future<Output = ()>) -> std::result::Result<Proxy, RunError> {
    let (services, slices) = (informers.of::<Service>(), informers.of::<EndpointSlice>());
    let dirty = Arc::new(Notify::new());
    let (on_service, on_slice) = (Arc::clone(&dirty), Arc::clone(&dirty));
    services.on_change(move |_| on_service.notify_one());
    slices.on_change(move |_| on_slice.notify_one());
    tokio::pin!(stop);
    tokio::select! {
        () = async { services.synced().await; slices.synced().await } => {}
        () = &mut stop => return Ok(proxy),
    }
    dirty.notify_one();
    let mut verify = tokio::time::interval_at(tokio::time::Instant::now() + VERIFY, VERIFY);
    let mut failures = 0;
    loop {
        let check = tokio::select! {
            () = dirty.notified() => false,
            _ = verify.tick() => true,
            () = &mut stop => return Ok(proxy),
        };
        let (now_services, now_slices) = (services.list(), slices.list());
        let work = move || {
            let outcome = step(&mut proxy, check, &now_services, &now_slices);
            (proxy, outcome)
        };
        let (back, outcome) = tokio::task::spawn_blocking(work).await.map_err(|_| RunError::WorkerDied)?;
        proxy = back;
        let pause = match outcome {
            Ok(()) => {
                failures = 0;
                QUIET
            }
            Err(e) => {
                failures += 1;
                tracing::error!(error = %e, failures, "the service proxy could not be brought up to date; it will try again");
                dirty.notify_one();
                RETRY.after(failures)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut stop => return Ok(proxy),
        }
    }
}

fn step(proxy: &mut Proxy, check: bool, services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Result<()> {
    if check && !proxy.verify()? {
        tracing::info!("the service proxy's table is not as it should be; it is made anew");
    }
    let done = proxy.sync(services, slices)?;
    tracing::debug!(planned = done.planned, changes = done.changes, forgotten = done.forgotten, "service proxy synced");
    Ok(())
}
