//! What may be switched off or set from outside: `SIM_OFF`, `SIM_NODES`, `SIM_SECONDS`.
//!
//! A seed draws everything first and is overridden then, so that what is left of a run stays what it
//! was: this is how a failure is made smaller.

use std::{env, str::FromStr};

/// Is this class switched off? `SIM_OFF` names classes, with commas between them.
pub fn is_off(class: &str) -> bool {
    let off = env::var("SIM_OFF").unwrap_or_default();
    off.split(',').any(|name| name.trim() == class)
}

/// So many nodes instead of those that were drawn: at least 1.
pub fn nodes() -> Option<u8> {
    number("SIM_NODES").filter(|nodes| *nodes > 0)
}

/// So many simulated seconds under faults instead of those that were drawn.
pub fn seconds() -> Option<u64> {
    number("SIM_SECONDS")
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}
