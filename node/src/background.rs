//! What a node does when nobody asks: it looks for copies that are missing, rotten or not its own any
//! more.
//!
//! - [`repair`]: catches up after a change of owners, and compares with co-owners in quiet times;
//! - [`scrub`]: reads every copy again within a month;
//! - [`disowned`]: gives back the room of copies that others own now;
//! - [`gc`]: collects what nobody needs;
//! - [`throttle`]: keeps all of that out of the way of clients;
//! - [`holdings`]: what they need of the node, and [`own`]: the node;
//! - [`status`]: how far it has come.
//!
//! Every worker has a unit of work that it finishes, and a wait that may be dropped at any time.

pub mod disowned;
pub mod gc;
pub mod holdings;
pub mod own;
pub mod peer;
pub mod repair;
pub mod scrub;
pub mod status;
pub mod throttle;
