//! Rules between keys, asked once every value is right by itself.

use std::net::SocketAddr;

use super::{
    Config, Entry, TlsPolicy, address,
    error::{ConfigError, Conflict},
    place::Place,
};

/// Is the ZooKeeper client part of this build?
const HAS_ZOOKEEPER: bool = cfg!(all(feature = "zookeeper", not(madsim)));

/// Appends every rule that `config` breaks.
pub fn check(config: &Config, entries: &[Entry], errors: &mut Vec<ConfigError>) {
    let mut refuse = |key: &str, message: String| {
        let entry = entries.iter().find(|entry| entry.path() == key);
        let place = entry.map_or(Place::Default, |entry| entry.origin.clone());
        errors.push(Conflict { place, key: key.into(), message }.into());
    };
    let listeners = [
        ("http", config.http.listen, config.http.insecure),
        // The nodes encrypt what leaves the machine, unless they are told not to.
        ("cluster", config.cluster.listen, true),
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
    check_cluster(config, &mut refuse);
    check_sizes(config, refuse);
}

fn check_cluster(config: &Config, mut refuse: impl FnMut(&str, String)) {
    let cluster = &config.cluster;
    if cluster.token.is_some() && cluster.token_file.is_some() {
        refuse("cluster.token_file", "cluster.token is set as well; one of them".to_owned());
    }
    if !cluster.points.is_power_of_two() {
        refuse("cluster.points", format!("{} is not a power of two", cluster.points));
    }
    if cluster.tls == TlsPolicy::Always && cluster.insecure {
        refuse("cluster.insecure", "cluster.tls is \"always\"; one of them".to_owned());
    }
    if !cluster.zookeeper.is_empty() && !HAS_ZOOKEEPER {
        let message = "this atolld was built without the feature `zookeeper`; use one that has it, or \
                       leave the key empty: the nodes coordinate themselves";
        refuse("cluster.zookeeper", message.to_owned());
    }
    if cluster.heartbeat * 2 > cluster.session_timeout {
        let message = "a session must outlast two heartbeats at least".to_owned();
        refuse("cluster.heartbeat", message);
    }
    for (key, advertise) in
        [("cluster.advertise", cluster.advertise), ("http.advertise", config.http.advertise)]
    {
        if let Some(address) = advertise
            && (address.ip().is_unspecified() || address.port() == 0)
        {
            refuse(key, format!("{address} is no address that others can connect to"));
        }
    }
    if !cluster.join.is_empty()
        && cluster.listen.ip().is_unspecified()
        && cluster.advertise.is_none()
    {
        let message = "needed with a listen address that stands for every address".to_owned();
        refuse("cluster.advertise", message);
    }
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
