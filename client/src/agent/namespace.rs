//! Which registry a request means.
//!
//! containerd asks a mirror with `?ns=<registry>`, and a careless configuration (`_default`) makes
//! the agent the mirror of every registry there is. What is not ours is answered with 404 at once:
//! containerd then asks the registry itself, and neither the request nor its credential goes
//! anywhere it was not meant for. A request without `ns` is for the agent's own registry.

use std::collections::BTreeSet;

use http::Uri;

use super::refusal::Refusal;

/// The query parameter (distribution-spec, "Registry Proxying").
const PARAMETER: &str = "ns";

/// The names by which people know the agent's registry.
#[derive(Clone, Debug)]
pub struct Names {
    names: BTreeSet<String>,
}

impl Names {
    /// `names` as they stand in front of the first slash of an image reference, port included.
    pub fn new(names: impl IntoIterator<Item = String>) -> Names {
        Names { names: names.into_iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// Every name, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The name by which the request means our registry; `None` when it names none.
    ///
    /// # Errors
    /// It means another registry.
    pub fn check(&self, uri: &Uri) -> Result<Option<String>, Refusal> {
        let query = uri.query().unwrap_or_default();
        let mut ours = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name != PARAMETER {
                continue;
            }
            if !self.names.contains(&value.to_ascii_lowercase()) {
                return Err(Refusal::foreign(
                    "the agent is no mirror of this registry; ask the registry itself",
                ));
            }
            ours = Some(value.into_owned());
        }
        Ok(ours)
    }
}

/// The path and query that a node is asked: without `ns`, everything else byte for byte.
pub fn without(uri: &Uri) -> String {
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let is_ours = |pair: &&str| {
        let decoded = form_urlencoded::parse(pair.as_bytes()).next();
        !pair.is_empty() && decoded.is_none_or(|(name, _)| name != PARAMETER)
    };
    let rest: Vec<&str> = query.split('&').filter(is_ours).collect();
    if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect("a URI")
    }

    #[test]
    fn only_our_own_names_pass() {
        let names = Names::new(["registry.example:5000".to_owned(), "Reef".to_owned()]);
        assert_eq!(names.check(&uri("/v2/")), Ok(None));
        let asked = names.check(&uri("/v2/a/tags/list?n=5&ns=registry.example%3A5000"));
        assert_eq!(asked, Ok(Some("registry.example:5000".to_owned())));
        assert!(names.check(&uri("/v2/?ns=REEF")).is_ok());
        for foreign in ["docker.io", "", "registry.example", "registry.example:5001"] {
            let refusal = names.check(&uri(&format!("/v2/?ns={foreign}"))).expect_err(foreign);
            assert_eq!(refusal.status(), http::StatusCode::NOT_FOUND);
        }
        assert!(names.check(&uri("/v2/?ns=reef&ns=docker.io")).is_err(), "one of two is foreign");
        assert!(names.check(&uri("/v2/?%6Es=docker.io")).is_err(), "spelled in another way");
    }

    #[test]
    fn what_is_asked_of_a_node_has_no_namespace() {
        assert_eq!(
            without(&uri("/v2/a/tags/list?ns=x&n=5&last=a%2Fb&%6es=y")),
            "/v2/a/tags/list?n=5&last=a%2Fb"
        );
        assert_eq!(without(&uri("/v2/?ns=x")), "/v2/");
        assert_eq!(without(&uri("/v2/")), "/v2/");
    }
}
