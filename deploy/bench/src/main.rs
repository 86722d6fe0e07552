//! Load generator and side-by-side comparison of registries on one machine.
fn main() {}
