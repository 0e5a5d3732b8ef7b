//! Code generators. Each writes files that are committed, so a plain build needs none of them.

mod cri;
mod schema;

use std::path::PathBuf;

/// Runs every generator.
pub(crate) fn run() -> anyhow::Result<()> {
    let workspace = workspace();
    cri::generate(&workspace)?;
    schema::generate(&workspace)
}

/// The workspace's root folder.
fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
