//! What the rules compare with: the layers, the doors, and the exceptions with their reasons.

/// Who may import whom inside `node/src`: a module, and the modules it may name. Arrows point down
/// only; `node/src/lib.rs` draws the picture. A module that is not here may not exist.
pub const LAYERS: &[(&str, &[&str])] = &[
    ("io", &[]),
    ("config", &[]),
    ("telemetry", &["config", "io"]),
    ("wire", &["config", "io", "telemetry"]),
    ("store", &["config", "io", "telemetry"]),
    ("metadata", &["config", "io", "telemetry"]),
    ("coordination", &["config", "io", "metadata", "telemetry", "wire"]),
    ("cluster", &["config", "coordination", "io", "metadata", "telemetry", "wire"]),
    ("tiers", &["config", "io", "store", "telemetry"]),
    ("replicate", &["cluster", "config", "io", "metadata", "store", "telemetry", "tiers", "wire"]),
    (
        "background",
        &[
            "cluster",
            "config",
            "io",
            "metadata",
            "replicate",
            "store",
            "telemetry",
            "tiers",
            "wire",
        ],
    ),
    ("auth", &["config", "io", "telemetry"]),
    (
        "registry",
        &[
            "auth",
            "cluster",
            "config",
            "io",
            "metadata",
            "replicate",
            "store",
            "telemetry",
            "tiers",
        ],
    ),
    // Surfaces reach the metadata through the registry's operations only: there the order of
    // "durable, then visible" is decided.
    (
        "http",
        &[
            "auth",
            "cluster",
            "config",
            "io",
            "registry",
            "replicate",
            "store",
            "telemetry",
            "tiers",
        ],
    ),
    (
        "rpc",
        &[
            "auth",
            "background",
            "cluster",
            "config",
            "coordination",
            "io",
            "metadata",
            "registry",
            "replicate",
            "store",
            "telemetry",
            "tiers",
            "wire",
        ],
    ),
    (
        "admin",
        &[
            "background",
            "cluster",
            "config",
            "coordination",
            "io",
            "metadata",
            "replicate",
            "store",
            "telemetry",
            "wire",
        ],
    ),
    (
        "app",
        &[
            "admin",
            "auth",
            "background",
            "cluster",
            "config",
            "coordination",
            "http",
            "io",
            "metadata",
            "registry",
            "replicate",
            "rpc",
            "store",
            "telemetry",
            "tiers",
            "wire",
        ],
    ),
    ("bin", &["app"]),
];

/// What the `Cargo.toml` of a crate may not depend on, and why.
pub const FORBIDDEN_DEPENDENCIES: &[(&str, &[&str], &str)] = &[
    (
        "node/core",
        &[
            "tokio",
            "madsim",
            "tonic",
            "axum",
            "hyper",
            "hyper-util",
            "tower",
            "redb",
            "openraft",
            "rustix",
            "moka",
            "getrandom",
            "tracing",
            "atoll-node",
            "atoll-client",
        ],
        "the core decides without a runtime, a network or a disk",
    ),
    ("client", &["atoll-node", "redb", "openraft", "moka"], "a client is not a node"),
    ("proto", &["atoll-node", "atoll-client"], "messages know nobody who sends them"),
    ("node", &["atoll-client"], "a node talks to its peers through its own seams"),
    (
        "node",
        &["rand", "chrono", "time"],
        "randomness and time come from io::Entropy and io::Clock",
    ),
];

/// Crates that may depend on `sim-tests`: none.
pub const NEVER_A_DEPENDENCY: &str = "sim-tests";

/// Ways around the seams of `node/src/io`: a name in code, and the door to use instead.
pub const DOORS: &[(&str, &str)] = &[
    ("TcpListener", "io::net"),
    ("TcpStream", "io::net"),
    ("UdpSocket", "io::net"),
    ("UnixStream", "io::net"),
    ("ToSocketAddrs", "io::net"),
    ("std::fs", "io::Disk"),
    ("tokio::fs", "io::Disk"),
    ("rustix::fs::open", "io::Disk"),
    ("SystemTime::now", "io::Clock"),
    ("Instant::now", "io::Clock"),
    ("getrandom", "io::Entropy"),
    ("from_random_bytes", "io::Entropy"),
    ("thread::spawn", "io::rt::blocking"),
    ("thread::sleep", "tokio::time::sleep"),
    ("spawn_blocking", "io::rt::blocking"),
];

/// Where a way around a seam is right: file, name, reason. One whose file no
/// longer needs it is an error.
pub const DOOR_EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("node/src/config/source.rs", "std::fs", "the configuration is read before there is an Io"),
    ("node/src/config/secret.rs", "std::fs", "as the configuration"),
    ("node/src/telemetry/process.rs", "std::fs", "the kernel's own figures of this process"),
    (
        "node/src/metadata/raft/simulated_runtime.rs",
        "Instant::now",
        "the simulator's own clock, in the form openraft asks for",
    ),
    ("node/src/app/dev.rs", "Instant::now", "the parent of dev mode is never simulated"),
    ("node/src/app/dev/plan.rs", "TcpListener", "dev mode tries a port; nothing is served on it"),
    ("node/src/app/dev/child.rs", "std::fs", "dev mode writes files for its child processes"),
    ("client/src/clock.rs", "Instant::now", "tokio's, which the simulator moves"),
    (
        "client/src/net/transport.rs",
        "TcpStream",
        "the client's own door; the simulator has another",
    ),
    ("client/src/spool.rs", "std::fs", "the client's own door; the simulator spools in memory"),
    ("client/src/spool.rs", "spawn_blocking", "inline in the simulator"),
    ("client/src/local_files.rs", "std::fs", "files of a person's machine, never simulated"),
    ("client/src/agent/host.rs", "TcpListener", "the agent is never simulated; its doors are here"),
    ("client/src/agent/host.rs", "TcpStream", "as its listener"),
    ("client/src/agent/host.rs", "UnixStream", "the socket of a docker daemon"),
    ("client/src/agent/host.rs", "std::fs", "configuration files, read whole"),
    ("client/src/agent/host.rs", "SystemTime::now", "compared with the clocks of nodes"),
    ("client/src/agent/host.rs", "Instant::now", "the agent is never simulated"),
    ("client/src/agent/host.rs", "spawn_blocking", "the agent is never simulated"),
    ("client/src/agent/cache/disk.rs", "std::fs", "the folder of the agent's cache"),
    (
        "client/src/agent/cache/disk.rs",
        "SystemTime::now",
        "when a file was used last, kept by the file itself",
    ),
    ("client/src/agent/install/files.rs", "std::fs", "files of docker, containerd and podman"),
    ("client/src/bin/atoll/images/docker.rs", "UnixStream", "the docker daemon of this machine"),
    ("client/src/bin/atoll/images/scratch.rs", "std::fs", "the command line is never simulated"),
    ("client/src/bin/atoll/images/status.rs", "TcpStream", "the command line is never simulated"),
    (
        "client/src/bin/atoll/images/status.rs",
        "Instant::now",
        "the command line is never simulated",
    ),
    ("client/src/bin/atoll/admin.rs", "TcpStream", "the command line is never simulated"),
    ("client/src/bin/atoll/watch.rs", "Instant::now", "the command line is never simulated"),
];

/// Folders whose code is bound to the seams.
pub const BOUND_TO_SEAMS: &[&str] = &["node/src", "node/core/src", "client/src", "proto/src"];

/// Files below here are the seams themselves.
pub const SEAMS: &str = "node/src/io";

/// Leftovers in code that never belong into a commit.
pub const LEFTOVERS: &[&str] = &["dbg!", "todo!", "unimplemented!"];

/// Leftovers in words.
pub const LEFTOVER_WORDS: &[&str] = &["FIXME", "XXX"];

/// A code span of a document that starts so is a place in the tree.
pub const TOP_FOLDERS: &[&str] =
    &["node/", "client/", "proto/", "sim-tests/", "tests/", "deploy/", "docs/", ".ci/"];

/// Starts of paths that exist on one person's machine only.
pub const MACHINE_PATHS: &[&str] = &["/work/", "/home/", "/root/", "/Users/"];

/// Where such a path is right: file, path, reason.
pub const MACHINE_PATH_EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Longest Rust file in lines.
pub const RUST_LINES_MAX: usize = 500;

/// Documents with a bound of their own, in lines.
pub const DOCUMENT_LINES_MAX: &[(&str, usize)] = &[("ARCHITECTURE.md", 400)];
