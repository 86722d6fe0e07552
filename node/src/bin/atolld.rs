//! The node daemon.

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    atoll_node::app::cli::main()
}

/// The simulator starts nodes inside its own process.
#[cfg(madsim)]
fn main() {}
