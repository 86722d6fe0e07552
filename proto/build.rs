//! Compiles the services. protox parses the .proto files, so no protoc is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "proto/blobs.proto",
        "proto/cluster.proto",
        "proto/coordination.proto",
        "proto/gc.proto",
        "proto/operator.proto",
        "proto/raft.proto",
        "proto/repair.proto",
        "proto/wire.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        // The channel and the server are Atoll's own, over the network seam.
        .build_transport(false)
        .bytes(".")
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
