//! Rules between keys, asked once every value is right by itself.

use std::net::SocketAddr;

use super::{
    Config, Entry, address,
    error::{ConfigError, Conflict},
    place::Place,
};

/// Appends every rule that `config` breaks.
pub fn check(config: &Config, entries: &[Entry], errors: &mut Vec<ConfigError>) {
    let mut refuse = |key: &str, message: String| {
        let entry = entries.iter().find(|entry| entry.path() == key);
        let place = entry.map_or(Place::Default, |entry| entry.origin.clone());
        errors.push(Conflict { place, key: key.into(), message }.into());
    };
    let listeners = [
        ("http", config.http.listen, config.http.insecure),
        ("cluster", config.cluster.listen, config.cluster.insecure),
        ("admin", config.admin.listen, config.admin.insecure),
    ];
    for (section, listen, insecure) in listeners {
        if !insecure && !address::is_loopback(&listen) {
            refuse(&format!("{section}.listen"), exposed(section, listen));
        }
    }
    for (index, (section, listen, _)) in listeners.iter().enumerate() {
        for (other, theirs, _) in &listeners[..index] {
            if address::collide(listen, theirs) {
                let message = format!("{listen} collides with {other}.listen = \"{theirs}\"");
                refuse(&format!("{section}.listen"), message);
            }
        }
    }
    check_sizes(config, refuse);
}

fn check_sizes(config: &Config, mut refuse: impl FnMut(&str, String)) {
    let (blob, uploads) = (config.storage.blob_bytes_max, config.storage.upload_bytes_max);
    if uploads < blob {
        refuse(
            "storage.upload_bytes_max",
            format!("{uploads} is less than storage.blob_bytes_max = \"{blob}\""),
        );
    }
    let (object, cache) = (config.cache.buffer_object_max, config.cache.bytes);
    if cache.bytes() > 0 && object > cache {
        refuse(
            "cache.buffer_object_max",
            format!("{object} is more than cache.bytes = \"{cache}\""),
        );
    }
}

fn exposed(section: &str, listen: SocketAddr) -> String {
    format!(
        "{listen} can be reached from other machines and this listener is not encrypted; \
         listen on a loopback address, or set {section}.insecure = true to accept that"
    )
}
