//! The gRPC services that Atoll's nodes speak among themselves.
//!
//! One module per `.proto` file, generated at build time; the comments there are the documentation.

/// Blobs between nodes.
pub mod blobs {
    /// Version 1.
    #[allow(missing_docs, clippy::all, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("atoll.blobs.v1");
    }
}

/// Belonging to a cluster: joining, views and gossip.
pub mod cluster {
    /// Version 1.
    #[allow(missing_docs, clippy::all, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("atoll.cluster.v1");
    }
}

/// Sessions, znodes and watches.
pub mod coordination {
    /// Version 1.
    #[allow(missing_docs, clippy::all, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("atoll.coordination.v1");
    }
}

/// Collecting blobs that nothing needs.
pub mod gc {
    /// Version 1.
    #[allow(missing_docs, clippy::all, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("atoll.gc.v1");
    }
}

/// What nodes ask of each other for an operator.
pub mod operator {
    /// Version 1.
    #[allow(missing_docs, clippy::all, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("atoll.operator.v1");
    }
}

/// Consensus among the voters of a metadata group.
pub mod raft {
    /// Version 1.
    #[allow(missing_docs, clippy::all, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("atoll.raft.v1");
    }
}

/// Finding copies that are missing.
pub mod repair {
    /// Version 1.
    #[allow(missing_docs, clippy::all, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("atoll.repair.v1");
    }
}

/// What every message between nodes begins with.
pub mod wire {
    /// Version 1.
    #[allow(missing_docs, clippy::all, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("atoll.wire.v1");
    }
}
