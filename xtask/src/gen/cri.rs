//! The CRI's protobuf file → `crates/cri/src/generated/runtime.v1.rs`, by protox, so that no `protoc` is needed.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Compiles the CRI protocol into Rust messages, gRPC client and gRPC server.
pub(crate) fn generate(workspace: &Path) -> anyhow::Result<()> {
    let cri = workspace.join("crates/cri");
    let descriptors = protox::compile(["runtime/v1/api.proto"], [cri.join("proto")]).context("compiling the CRI's protobuf file")?;
    let out = cri.join("src/generated");
    fs::create_dir_all(&out).with_context(|| format!("creating {}", out.display()))?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .build_transport(false)
        // Its Debug is written by hand, because a derived one would put passwords into logs.
        .skip_debug(["runtime.v1.AuthConfig"])
        .out_dir(&out)
        .compile_fds(descriptors)
        .context("writing the CRI's Rust code")
}
