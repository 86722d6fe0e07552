#![allow(clippy::disallowed_methods, reason = "tests look at the disk themselves")]

use std::path::Path;

use super::*;
use crate::agent::{
    config::Settings,
    install::{PODMAN_FILE, Program, Wish},
};

fn config(listen: &str, cache: &Path) -> Config {
    let text = format!("registry = [\"127.0.0.1:1\"]\nlisten = \"{listen}\"");
    let settings = Settings::parse(&text).expect("TOML");
    settings.check(|| cache.to_owned()).expect("a configuration")
}

fn bad(findings: &[Finding]) -> Vec<&str> {
    let bad = findings.iter().filter(|finding| finding.is_bad());
    bad.map(|finding| finding.seen.as_str()).collect()
}

#[tokio::test]
async fn the_usual_mistakes_are_found_with_a_fix_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Root::new(folder.path());
    let config = config("127.0.0.1:1", folder.path());
    let agent = "127.0.0.1:9".to_owned();
    let wish = Wish { registries: config.names.clone(), agent, is_plain: true };
    let plan = root.plan(&[Program::Containerd, Program::Podman], &wish).expect("a plan");
    root.install(&plan).expect("installed");
    let findings = examine(&config, &root).await.expect("examined");
    let found = bad(&findings);
    for part in ["no agent answers", "does not answer", "hosts.toml names another port", "podman: "]
    {
        assert!(found.iter().any(|seen| seen.contains(part)), "{part} in {found:?}");
    }
    assert!(findings.iter().all(|each| each.fix.is_empty() == (each.verdict == Verdict::Fine)));
    std::fs::write(root.at(Path::new(PODMAN_FILE)), "changed").expect("written");
    let findings = examine(&config, &root).await.expect("examined");
    assert!(findings.iter().any(|each| each.seen.contains("was changed since")), "{findings:?}");
}

#[tokio::test]
async fn another_program_on_the_port_is_told_from_the_agent() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = crate::agent::tests::node::FakeNode::start(std::sync::Arc::default()).await;
    let config = config(&node.address, folder.path());
    let findings = examine(&config, &Root::new(folder.path())).await.expect("examined");
    assert!(bad(&findings).iter().any(|seen| seen.contains("another program")), "{findings:?}");
    assert_eq!(findings[0].verdict, Verdict::Fine, "{:?}", findings[0]);
}
