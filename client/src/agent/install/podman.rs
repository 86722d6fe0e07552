//! podman, buildah, skopeo, CRI-O: one file of our own in `registries.conf.d`.
//!
//! They ask the mirror first and the registry when it is gone. Files of this folder are read in the
//! order of their names, the last word counts; ours comes late.

use super::{Edit, Plan, Program, Root, Wish};

/// Where it is written.
pub const FILE: &str = "/etc/containers/registries.conf.d/900-atoll-agent.conf";

/// What the file says.
pub fn text(wish: &Wish) -> String {
    let Wish { registries, agent, is_plain } = wish;
    let mut text =
        "# Written by `atoll agent install --podman`; `atoll agent uninstall` takes it back.\n"
            .to_owned();
    for registry in registries {
        text.push_str(&format!(
            "\n[[registry]]\n\
             prefix = \"{registry}\"\n\
             location = \"{registry}\"\n\
             insecure = {is_plain}\n\
             \n\
             [[registry.mirror]]\n\
             location = \"{agent}\"\n\
             insecure = true\n"
        ));
    }
    text
}

pub(super) fn plan(_root: &Root, wish: &Wish, plan: &mut Plan) {
    let after = text(wish).into_bytes();
    plan.edits.push(Edit { program: Program::Podman, path: FILE.into(), after });
    plan.notes.push(format!(
        "podman: pull {}/team/app:1.0 as before; pushes go to the registry itself",
        wish.registries.join(" or ")
    ));
}
