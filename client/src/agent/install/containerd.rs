//! containerd: a `hosts.toml` for the registry, and `config_path` so that it is read.
//!
//! The agent is named for pulls and for resolving tags, not for pushes: containerd goes on to the
//! registry when a mirror is gone while it pulls, but not while it pushes.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Edit, InstallError, Plan, Program, Root, Wish};

const CONFIG: &str = "/etc/containerd/config.toml";
const CERTS: &str = "/etc/containerd/certs.d";
/// The plugin that pulls for Kubernetes: up to version 2 of the configuration, and from 3 on.
const PLUGINS: [(&str, i64); 2] =
    [("io.containerd.grpc.v1.cri", 2), ("io.containerd.cri.v1.images", 3)];

pub(super) fn plan(root: &Root, wish: &Wish, plan: &mut Plan) -> Result<(), InstallError> {
    let config = PathBuf::from(CONFIG);
    let before = text_of(root, &config)?;
    let table = parse(&config, before.as_deref().unwrap_or_default())?;
    let mut folders = config_paths(&table);
    if folders.is_empty() {
        let after = with_config_path(&config, before.as_deref(), &table)?;
        folders.push(CERTS.into());
        plan.edits.push(Edit { program: Program::Containerd, path: config, after: after.into() });
        plan.notes.push("containerd: restart it once, so that it reads config_path".to_owned());
    }
    for registry in &wish.registries {
        let hosts = folders[0].join(registry).join("hosts.toml");
        let before = text_of(root, &hosts)?;
        let after = with_host(&hosts, before.as_deref(), registry, wish)?;
        plan.edits.push(Edit { program: Program::Containerd, path: hosts, after: after.into() });
        plan.notes.push(format!(
            "containerd: pull {registry}/team/app:1.0 as before (ctr needs --hosts-dir {})",
            folders[0].display()
        ));
    }
    Ok(())
}

/// Where containerd looks for `hosts.toml` files, by its configuration.
pub fn config_paths(config: &Table) -> Vec<PathBuf> {
    let registry = |plugin: &str| config.get("plugins")?.get(plugin)?.get("registry");
    PLUGINS
        .iter()
        .filter_map(|(plugin, _)| registry(plugin)?.get("config_path")?.as_str())
        .flat_map(|paths| paths.split(':'))
        .filter(|path| path.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// The configuration with a `config_path`.
fn with_config_path(
    path: &Path,
    before: Option<&str>,
    table: &Table,
) -> Result<String, InstallError> {
    let refuse = |why: String| InstallError::NotEditable { path: path.to_owned(), why };
    // A file without a version is of version 1, which has other names for everything.
    let version = match table.get("version").and_then(Value::as_integer) {
        Some(version) => version,
        None if table.is_empty() => 2,
        None => 1,
    };
    let Some((plugin, _)) = PLUGINS.iter().find(|(_, since)| *since == version) else {
        return Err(refuse(format!(
            "it is of version {version}; set config_path = \"{CERTS}\" for the registry of its CRI \
             plugin by hand (containerd config migrate brings it up to date)"
        )));
    };
    let registry = table.get("plugins").and_then(|all| all.get(plugin)?.get("registry"));
    if let Some(registry) = registry.and_then(Value::as_table) {
        for old in ["mirrors", "configs"] {
            if registry.contains_key(old) {
                return Err(refuse(format!(
                    "it has registry.{old}, beside which containerd allows no config_path; move them to \
                     hosts.toml files first"
                )));
            }
        }
    }
    let added = format!("config_path = \"{CERTS}\"\n");
    let header = format!("[plugins.\"{plugin}\".registry]");
    let mut before = before.unwrap_or_default().to_owned();
    if table.is_empty() {
        before.insert_str(0, "version = 2\n");
    }
    let at_header = before.lines().position(|line| line.trim() == header);
    let after = match at_header {
        Some(at) => {
            // Behind the header, with the depth of what follows.
            let mut lines: Vec<&str> = before.split_inclusive('\n').collect();
            let line = format!(
                "{}  {added}",
                &lines[at][..lines[at].len() - lines[at].trim_start().len()]
            );
            lines.insert(at + 1, &line);
            lines.concat()
        }
        None => format!("{}\n{header}\n  {added}", before.trim_end_matches('\n')),
    };
    let read = after.parse::<Table>().ok();
    let mut wanted = table.clone();
    wanted.entry("version").or_insert(Value::Integer(2));
    if !is_set(&mut wanted, &["plugins", plugin, "registry"], "config_path", CERTS)
        || read.as_ref() != Some(&wanted)
    {
        let why = format!("cannot be edited safely; add to {header}: {}", added.trim());
        return Err(refuse(why));
    }
    Ok(after)
}

/// Sets one value in nested tables; `false` when something else is in the way. An empty value that
/// is there is somebody's decision, and in the way.
fn is_set(table: &mut Table, path: &[&str], key: &str, value: &str) -> bool {
    let mut at = table;
    for name in path {
        let inner = at.entry(*name).or_insert_with(|| Value::Table(Table::new()));
        let Some(inner) = inner.as_table_mut() else { return false };
        at = inner;
    }
    at.insert(key.to_owned(), Value::String(value.to_owned())).is_none()
}

/// The registry's `hosts.toml` with the agent as its first host.
fn with_host(
    path: &Path,
    before: Option<&str>,
    registry: &str,
    wish: &Wish,
) -> Result<String, InstallError> {
    let Wish { agent, is_plain, .. } = wish;
    let refuse =
        |why: &str| InstallError::NotEditable { path: path.to_owned(), why: why.to_owned() };
    let host = format!("http://{agent}");
    let block = format!(
        "# Written by `atoll agent install --containerd`; `atoll agent uninstall` takes it back.\n\
         [host.\"{host}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    );
    let Some(before) = before else {
        let scheme = if *is_plain { "http" } else { "https" };
        return Ok(format!("server = \"{scheme}://{registry}\"\n\n{block}"));
    };
    let table = parse(path, before)?;
    if table.get("host").is_some_and(|hosts| hosts.get(&host).is_some()) {
        return Err(refuse("it names the agent already, by somebody else's hand"));
    }
    // Hosts are tried in their order in the file, so ours stands before the first table.
    let mut lines: Vec<&str> = before.split_inclusive('\n').collect();
    let first = lines.iter().position(|line| line.trim_start().starts_with('['));
    let at = first.unwrap_or(lines.len());
    let gap =
        if at == lines.len() && !before.is_empty() && !before.ends_with('\n') { "\n" } else { "" };
    let block = format!("{gap}{block}\n");
    lines.insert(at, &block);
    let after = lines.concat();
    let mut wanted = table;
    let mut entry = Table::new();
    let capabilities = ["pull", "resolve"].map(|each| Value::String(each.to_owned()));
    entry.insert("capabilities".to_owned(), Value::Array(capabilities.into()));
    let hosts = wanted.entry("host").or_insert_with(|| Value::Table(Table::new()));
    let Some(hosts) = hosts.as_table_mut() else {
        return Err(refuse("its `host` is no table"));
    };
    hosts.insert(host, Value::Table(entry));
    if after.parse::<Table>().ok().as_ref() != Some(&wanted) {
        return Err(refuse(
            "cannot be edited safely; put the agent before its first [host] by hand",
        ));
    }
    Ok(after)
}

fn text_of(root: &Root, path: &Path) -> Result<Option<String>, InstallError> {
    let Some(bytes) = root.original(path)? else { return Ok(None) };
    let text = String::from_utf8(bytes);
    let why = "it is no text".to_owned();
    text.map(Some).map_err(|_| InstallError::NotEditable { path: path.to_owned(), why })
}

fn parse(path: &Path, text: &str) -> Result<Table, InstallError> {
    text.parse::<Table>().map_err(|error| InstallError::NotEditable {
        path: path.to_owned(),
        why: format!("it is no TOML that can be read ({}); repair it first", error.message()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: &str = "registry.example:5000";

    fn wish() -> Wish {
        let registries = vec![REGISTRY.to_owned()];
        Wish { registries, agent: "127.0.0.1:5080".to_owned(), is_plain: true }
    }

    fn hosts(before: Option<&str>) -> Result<String, InstallError> {
        with_host(Path::new("/hosts.toml"), before, REGISTRY, &wish())
    }

    fn config(before: Option<&str>) -> Result<String, InstallError> {
        let path = Path::new("/config.toml");
        with_config_path(path, before, &parse(path, before.unwrap_or_default())?)
    }

    #[test]
    fn the_agent_is_asked_first_and_the_registry_when_it_is_gone() {
        let text = hosts(None).expect("a file");
        assert!(text.starts_with("server = \"http://registry.example:5000\"\n"), "{text}");
        assert!(text.contains(
            "[host.\"http://127.0.0.1:5080\"]\n  capabilities = [\"pull\", \"resolve\"]"
        ));
    }

    #[test]
    fn the_hosts_of_others_stay_where_they_are() {
        let before =
            "# ours\nserver = \"https://r\" # main\n\n[host.\"https://m\"]\n  ca = \"/ca\"\n";
        let after = hosts(Some(before)).expect("edited");
        assert_eq!(
            after.replace(
                &after[after.find("# Written").expect("ours")
                    ..after.find("[host.\"https").expect("theirs")],
                ""
            ),
            before
        );
        for strange in ["a = \"\"\"\n[x\n\"\"\"", "host = 5"] {
            assert!(hosts(Some(strange)).is_err(), "{strange}");
        }
        assert!(hosts(Some(&after)).is_err(), "twice");
        assert!(hosts(Some("not toml")).is_err());
        assert!(hosts(Some("server = \"x\"")).is_ok(), "no newline at the end");
    }

    #[test]
    fn config_path_is_added_where_it_belongs() {
        let read = |text: &str| config_paths(&text.parse::<Table>().expect("TOML"));
        for before in [
            None,
            Some(""),
            Some("version = 2\n"),
            Some("version = 3\n[plugins.'io.containerd.cri.v1.images']\n  x = 1\n"),
            Some(
                "version = 2\n[plugins]\n  [plugins.\"io.containerd.grpc.v1.cri\".registry]\n    x = 1\n",
            ),
        ] {
            match config(before) {
                Ok(after) => assert_eq!(read(&after), [PathBuf::from(CERTS)], "{before:?}"),
                Err(error) => panic!("{before:?}: {error}"),
            }
        }
        for before in [
            "root = \"/x\"\n",
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors]\n",
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n config_path = \"\"\n",
            "version = 2\nplugins = 5\n",
        ] {
            assert!(config(Some(before)).is_err(), "{before}");
        }
        let given = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/a:/b\"\n";
        assert_eq!(read(given), [PathBuf::from("/a"), PathBuf::from("/b")]);
    }
}
