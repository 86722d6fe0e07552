//! Files and helpers as docker has them.
#![allow(clippy::disallowed_methods, reason = "real files and programs are what is tested")]

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;

fn runs<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

fn ann() -> Login {
    Login::Password { username: "ann".into(), password: "p:w".into() }
}

/// A folder with a configuration of this text.
fn config(text: &str) -> (tempfile::TempDir, DockerConfig, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".docker/config.json");
    if !text.is_empty() {
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    (folder, DockerConfig::new(vec![path.clone()]), path)
}

#[test]
fn a_login_is_added_read_and_taken_away_and_all_else_stays() {
    let before = "{\n\t\"auths\": {\n\t\t\"a.b\": {\n\t\t\t\"auth\": \"eDp5\"\n\t\t}\n\t},\n\t\"HttpHeaders\": {\"X\": [1,  2]}\n}\n";
    let (_folder, logins, path) = config(before);
    assert_eq!(runs(logins.login("c.d:5000")).unwrap(), None);
    let kept = runs(logins.store("c.d:5000", &ann())).unwrap();
    assert_eq!(kept, Kept::Plain(path.clone()));
    assert_eq!(runs(logins.login("c.d:5000")).unwrap(), Some(ann()));
    let text = fs::read_to_string(&path).unwrap();
    let entry = "\n\t\t},\n\t\t\"c.d:5000\": {\n\t\t\t\"auth\": \"YW5uOnA6dw==\"\n\t\t}";
    assert_eq!(text, before.replacen("\n\t\t}", entry, 1));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(runs(logins.erase("c.d:5000")).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert!(!runs(logins.erase("c.d:5000")).unwrap());
}

#[test]
fn the_first_login_makes_the_file() {
    let (_folder, logins, path) = config("");
    assert_eq!(runs(logins.login("a.b")).unwrap(), None);
    runs(logins.store("a.b", &ann())).unwrap();
    assert!(fs::read_to_string(path).unwrap().starts_with("{\n\t\"auths\": {\n\t\t\"a.b\": {"));
}

#[test]
fn old_spellings_of_a_registry_are_known_and_paths_of_podman_are_not_for_all() {
    let (_folder, logins, _) = config(
        r#"{"auths": {"https://a.b:1/v2/": {"auth": "YW5uOnA6dw=="}, "c.d/team": {"auth": "YW5uOnA6dw=="}}}"#,
    );
    assert_eq!(runs(logins.login("a.b:1")).unwrap(), Some(ann()));
    assert_eq!(runs(logins.login("c.d")).unwrap(), None);
    assert_eq!(runs(logins.login("a.b")).unwrap(), None, "another port is another registry");
}

#[test]
fn what_makes_no_sense_is_named_and_no_secret_with_it() {
    let cases = [
        (r#"{"auths": {"a.b": {"auth": "c2VjcmV0"}}}"#, "user:password"),
        (r#"{"auths": ["secret"]}"#, "line 1"),
        (r#"{"auths": {"a.b": {"auth": "secret"#, "line 1"),
        (r#"{"credsStore": "../secret"}"#, "is not the name of a credential helper"),
        (r#"{"credsStore": "nobody-has-this"}"#, "docker-credential-nobody-has-this"),
    ];
    for (text, expected) in cases {
        let (_folder, logins, _) = config(text);
        let error = runs(logins.login("a.b")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("secret") || text.contains("../"), "{error}");
    }
}

/// A helper that keeps one login in a file, put before all others on the path of this process.
fn helper() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker-credential-atoll-test");
    let kept = folder.path().join("kept");
    let script = format!(
        "#!/bin/sh\nkept={}\ncase $1 in\n\
         get) read -r host; [ \"$host\" = endless ] && exec cat /dev/zero\n\
         [ \"$host\" = locked ] && {{ echo the keyring is locked; exit 1; }}\n\
         grep -q \"\\\"$host\\\"\" $kept 2>/dev/null && exec cat $kept\n\
         echo credentials not found in native keychain; exit 1;;\n\
         store) cat >$kept;;\nerase) rm -f $kept;;\nesac\n",
        kept.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let program = path.display().to_string();
    (folder, program)
}

#[test]
fn a_helper_keeps_what_it_is_given() {
    let (_programs, program) = helper();
    let helper = Helper::at(&program);
    runs(async {
        assert_eq!(helper.get("a.b:5000").await.unwrap(), None);
        helper.store("a.b:5000", &ann()).await.unwrap();
        assert_eq!(helper.get("a.b:5000").await.unwrap(), Some(ann()));
        let token = Login::IdentityToken("t".into());
        helper.store("a.b:5000", &token).await.unwrap();
        assert_eq!(helper.get("a.b:5000").await.unwrap(), Some(token));
        helper.erase("a.b:5000").await.unwrap();
        assert_eq!(helper.get("a.b:5000").await.unwrap(), None);
        let error = helper.get("locked").await.unwrap_err().to_string();
        assert!(error.ends_with("get` failed: the keyring is locked"), "{error}");
        let error = helper.get("endless").await.unwrap_err();
        assert!(matches!(error, HelperError::Answer { .. }), "{error}");
    });
}
