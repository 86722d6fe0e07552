//! The node daemon.

/// Requests are short and many: an allocator with a free list for each thread saves a tenth of their
/// time, and gives memory back where glibc's keeps it.
#[cfg(not(madsim))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    atoll_node::app::cli::main()
}

/// The simulator starts nodes inside its own process.
#[cfg(madsim)]
fn main() {}
