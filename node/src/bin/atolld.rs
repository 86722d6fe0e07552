//! The node daemon.

/// Requests are short and many: an allocator with a free list for each thread saves a tenth of their
/// time, and gives memory back where glibc's keeps it.
#[cfg(not(madsim))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Number of mimalloc's `mi_option_purge_delay` (`mimalloc.h`, version 2), which its crate does not
/// name: milliseconds for which freed memory is kept from the system.
#[cfg(not(madsim))]
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    // After a storm of clients the threads that served it sleep, and would not come back to give
    // their memory away; given away at once it costs nothing that can be measured.
    // SAFETY: sets one number of the allocator; no other thread runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
    atoll_node::app::cli::main()
}

/// The simulator starts nodes inside its own process.
#[cfg(madsim)]
fn main() {}
