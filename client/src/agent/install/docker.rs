//! docker: nothing is written, much is said.
//!
//! docker has no way to name a mirror for a registry of one's own: `registry-mirrors` is for Docker
//! Hub alone. Its way to the agent is the image's name, `localhost:5080/team/app:1.0`, and a registry
//! on loopback may speak plain HTTP without a word in `daemon.json`. So a file that is not written
//! cannot be wrong; what goes wrong all the same, `doctor` finds.

use super::Wish;

/// What a user of docker has to know.
pub fn advice(wish: &Wish) -> Vec<String> {
    let port = wish.agent.rsplit_once(':').map_or("5080", |(_, port)| port);
    vec![
        format!(
            "docker: nothing to write. Use localhost:{port} in place of {} in image names: docker pull \
             localhost:{port}/team/app:1.0",
            wish.registries.join(" or ")
        ),
        format!(
            "docker: do not put the agent into `registry-mirrors` of daemon.json: docker asks those for \
             images of Docker Hub only. `docker login localhost:{port}` if the registry wants a login"
        ),
    ]
}
