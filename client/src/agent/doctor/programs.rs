//! What docker, containerd and podman were told.

use std::path::{Path, PathBuf};

use http::{Request, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use toml::{Table, Value};

use super::Finding;
use crate::agent::{
    body,
    config::Config,
    host,
    install::{PODMAN_FILE, Root, config_paths},
};

const CONTAINERD: &str = "/etc/containerd/config.toml";
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// The longest answer that is read of docker.
const INFO_BYTES_MAX: usize = 4 << 20;

/// A file as TOML: `None` when there is none, or it is none.
fn table(root: &Root, path: &Path) -> Option<Table> {
    let bytes = host::read_file(&root.at(path)).ok()??;
    String::from_utf8(bytes).ok()?.parse().ok()
}

/// Is containerd told of the agent?
pub fn containerd(config: &Config, root: &Root) -> Vec<Finding> {
    let path = Path::new(CONTAINERD);
    let certs = root.at(Path::new("/etc/containerd"));
    if !certs.exists() {
        return Vec::new();
    }
    let install = "atoll agent install --containerd, then restart containerd";
    let folders = table(root, path).map(|table| config_paths(&table)).unwrap_or_default();
    let mut findings = Vec::new();
    if folders.is_empty() {
        let seen = "containerd: config.toml sets no config_path, so Kubernetes reads no hosts.toml";
        findings.push(Finding::odd(seen, install));
    }
    let folder = folders.first().cloned().unwrap_or_else(|| "/etc/containerd/certs.d".into());
    let agent = format!("http://{}", config.listen);
    for name in &config.names {
        let hosts = folder.join(name).join("hosts.toml");
        let told = table(root, &hosts).and_then(|table| table.get("host")?.as_table().cloned());
        let seen = hosts.display();
        findings.push(match told {
            Some(told) if told.contains_key(&agent) => {
                Finding::fine(format!("containerd: {seen} names {agent}"))
            }
            Some(told) if told.keys().any(|host| is_loopback(host)) => Finding::bad(
                format!("containerd: {seen} names another port than {agent}"),
                "atoll agent install --containerd with the --listen of the agent",
            ),
            _ => Finding::odd(format!("containerd: {seen} does not name {agent}"), install),
        });
    }
    findings
}

fn is_loopback(host: &str) -> bool {
    ["http://127.0.0.1", "http://localhost", "http://[::1]"]
        .iter()
        .any(|start| host.starts_with(start))
}

/// Is podman told of the agent?
pub fn podman(config: &Config, root: &Root) -> Vec<Finding> {
    if !root.at(Path::new("/etc/containers")).exists() {
        return Vec::new();
    }
    let install = "atoll agent install --podman";
    let Some(told) = table(root, Path::new(PODMAN_FILE)) else {
        return vec![Finding::odd(format!("podman: there is no {PODMAN_FILE}"), install)];
    };
    let agent = config.listen.to_string();
    let registries = told.get("registry").and_then(Value::as_array).cloned().unwrap_or_default();
    let mirror_of = |name: &str| {
        let registry = registries.iter().find(|each| text(each, "prefix") == Some(name))?;
        text(registry.get("mirror")?.as_array()?.first()?, "location").map(str::to_owned)
    };
    let judge = |name: &String| match mirror_of(name) {
        Some(mirror) if mirror == agent => {
            Finding::fine(format!("podman: {name} has the mirror {agent}"))
        }
        Some(mirror) => Finding::bad(
            format!("podman: {name} has the mirror {mirror}, and the agent is {agent}"),
            "atoll agent install --podman with the --listen of the agent",
        ),
        None => Finding::odd(format!("podman: {name} has no mirror"), install),
    };
    config.names.iter().map(judge).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// Does docker see the agent as a registry that needs no TLS?
pub async fn docker(config: &Config, root: &Root) -> Vec<Finding> {
    let socket = root.at(Path::new(DOCKER_SOCKET));
    if !socket.exists() {
        return Vec::new();
    }
    match docker_info(&socket).await {
        Ok(info) => judge_docker(config, &info),
        Err(why) => vec![Finding::odd(
            format!("docker: {} does not answer: {why}", socket.display()),
            "start docker, or run this as a user who may talk to it",
        )],
    }
}

fn judge_docker(config: &Config, info: &serde_json::Value) -> Vec<Finding> {
    let port = config.listen.port();
    let listed = |key: &str| {
        let list = info["RegistryConfig"][key].as_array();
        list.into_iter().flatten().filter_map(|each| each.as_str()).collect::<Vec<_>>()
    };
    let mut findings = Vec::new();
    if listed("InsecureRegistryCIDRs").contains(&"127.0.0.0/8") {
        findings.push(Finding::fine(format!("docker: localhost:{port} may speak plain HTTP")));
    } else {
        findings.push(Finding::bad(
            format!("docker: localhost:{port} is asked over TLS only"),
            format!("add \"insecure-registries\": [\"localhost:{port}\"] to daemon.json"),
        ));
    }
    if listed("Mirrors").iter().any(|mirror| mirror.contains(&format!(":{port}"))) {
        findings.push(Finding::bad(
            "docker: the agent is in `registry-mirrors`, which docker asks for Docker Hub only",
            format!("remove it from daemon.json; pull localhost:{port}/team/app:1.0"),
        ));
    }
    let system = info["OperatingSystem"].as_str().unwrap_or_default();
    if system.contains("Docker Desktop") {
        findings.push(Finding::bad(
            "docker: it runs in the machine of Docker Desktop, whose localhost is another one",
            "run the agent where dockerd runs",
        ));
    }
    findings
}

async fn docker_info(socket: &Path) -> Result<serde_json::Value, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let stream = host::dial_local(socket).await.map_err(|error| failed(&error))?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| failed(&error))?;
    // It ends when `sender` is dropped.
    tokio::spawn(connection);
    let request = Request::get("/info").header(header::HOST, "docker").body(body::empty());
    let request = request.map_err(|error| failed(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let body = Limited::new(answer.into_body(), INFO_BYTES_MAX).collect().await;
    serde_json::from_slice(&body.map_err(|error| failed(&error))?.to_bytes())
        .map_err(|error| failed(&error))
}

/// Files that were installed and changed since.
pub fn changed(root: &Root) -> Vec<Finding> {
    let fix = "see what was changed; `atoll agent uninstall` asks before it overwrites that";
    let about = |path: &PathBuf| {
        Finding::odd(format!("{} was changed since it was installed", path.display()), fix)
    };
    match root.changed() {
        Ok(changed) => changed.iter().map(about).collect(),
        Err(error) => vec![Finding::odd(error.to_string(), "run this as root")],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agent::config::Settings;

    fn config() -> Config {
        let settings = Settings::parse("registry = [\"registry.example:5000\"]").expect("TOML");
        settings.check(|| "/cache".into()).expect("a configuration")
    }

    #[test]
    fn what_docker_says_of_itself_is_judged() {
        let usual =
            json!({"RegistryConfig": {"InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"]}});
        let findings = judge_docker(&config(), &usual);
        assert!(findings.iter().all(|finding| !finding.is_bad()), "{findings:?}");
        for strange in [
            json!({"RegistryConfig": {"InsecureRegistryCIDRs": []}}),
            json!({"RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8"],
                "Mirrors": ["http://127.0.0.1:5080/"]}}),
            json!({"OperatingSystem": "Docker Desktop",
                "RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8"]}}),
        ] {
            let findings = judge_docker(&config(), &strange);
            let bad: Vec<_> = findings.iter().filter(|finding| finding.is_bad()).collect();
            assert_eq!(bad.len(), 1, "{findings:?}");
            assert!(!bad[0].fix.is_empty());
        }
    }
}
