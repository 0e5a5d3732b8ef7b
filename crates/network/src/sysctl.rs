//! Kernel settings under `/proc/sys/net`, which belong to the network namespace of the thread that opens them.

use std::fs;

use crate::error::{Error, Result};

/// Writes `value` to `/proc/sys/net/<name>` unless it is there already, so that a read-only `/proc/sys` with the
/// right values is enough. Run it inside the namespace it is meant for.
pub(crate) fn set(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{name}");
    if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value).map_err(Error::io(format!("set kernel setting {path} to {value}")))
}
