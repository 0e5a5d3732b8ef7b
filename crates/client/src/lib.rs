//! How components meet the API: `kube::Client` makers, shared informers, work queues and the event recorder.
//!
//! Never here: what any component decides, and any way to the store but through the API.

mod connect;
mod informer;
mod recorder;
mod workqueue;

pub use connect::{Error as ConnectError, from_kubeconfig, in_process};
pub use informer::{Change, Informer, Informers, Object, ObjectKey};
pub use recorder::{EventRecorder, EventType};
pub use workqueue::{WorkQueue, run_workers};
