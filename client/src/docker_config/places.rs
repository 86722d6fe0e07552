//! Where docker and podman keep their logins.

use std::path::PathBuf;

/// The files to look into, the one to write to first: `$DOCKER_CONFIG/config.json`, else
/// `~/.docker/config.json`; then `$REGISTRY_AUTH_FILE`, else podman's
/// `$XDG_RUNTIME_DIR/containers/auth.json`. `variable` answers an environment variable.
pub fn places(variable: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let docker = variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")));
    let podman = variable("REGISTRY_AUTH_FILE")
        .or_else(|| Some(variable("XDG_RUNTIME_DIR")?.join("containers/auth.json")));
    docker.map(|folder| folder.join("config.json")).into_iter().chain(podman).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Vec<String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        places(variable).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn what_is_set_goes_before_what_is_usual() {
        assert_eq!(
            found(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/7")]),
            ["/h/.docker/config.json", "/run/7/containers/auth.json"]
        );
        assert_eq!(
            found(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d"), ("REGISTRY_AUTH_FILE", "/a")]),
            ["/d/config.json", "/a"]
        );
        assert_eq!(found(&[("HOME", "")]), [""; 0]);
    }
}
