//! `WWW-Authenticate`: how a registry wants its callers to log in (RFC 9110, section 11.6.1).

use std::collections::BTreeMap;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password.
    Basic,
    /// A token from the server at `realm`.
    Bearer {
        /// Where tokens are given out.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The first challenge that is known, a token before a password.
    pub(crate) fn choose<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Challenge> {
        let mut known: Vec<Challenge> = lines.flat_map(parse).collect();
        known.sort_by_key(|challenge| *challenge == Challenge::Basic);
        known.into_iter().next()
    }
}

/// All known challenges of one line.
fn parse(line: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (scheme, after) = split_token(rest);
        if scheme.is_empty() {
            break;
        }
        let (parameters, next) = parameters(after);
        let of = |name: &str| parameters.get(name).cloned();
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = of("realm")
        {
            found.push(Challenge::Bearer { realm, service: of("service"), scope: of("scope") });
        }
        rest = next.trim_start_matches([' ', '\t', ',']);
    }
    found
}

/// The parameters up to the next scheme, and what is behind them.
fn parameters(mut rest: &str) -> (BTreeMap<String, String>, &str) {
    let mut found = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (name, after) = split_token(rest);
        let Some(value) = after.trim_start().strip_prefix('=').filter(|_| !name.is_empty()) else {
            return (found, rest);
        };
        let (value, after) = value_of(value.trim_start());
        found.insert(name.to_ascii_lowercase(), value);
        rest = after;
    }
}

fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = split_token(text);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            char => value.push(char),
        }
    }
    (value, "")
}

fn split_token(text: &str) -> (&str, &str) {
    let end = text.find([' ', '\t', ',', '=', '"']).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.to_owned(), service: own(service), scope: own(scope) }
    }

    #[test]
    fn challenges_of_real_registries_are_read() {
        let of = |line: &str| Challenge::choose([line].into_iter());
        assert_eq!(
            of(
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#
            ),
            Some(bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:a/b:pull,push")
            ))
        );
        assert_eq!(of(r#"Basic realm="Registry Realm""#), Some(Challenge::Basic));
        assert_eq!(of("basic"), Some(Challenge::Basic));
        assert_eq!(
            of(r#"Basic realm="x", bearer realm = "https://t/" , error="invalid_token""#),
            Some(bearer("https://t/", None, None))
        );
        assert_eq!(of(r#"Bearer realm="a\"b""#), Some(bearer("a\"b", None, None)));
        assert_eq!(of("Negotiate abc=="), None);
        assert_eq!(of(""), None);
    }

    proptest! {
        #[test]
        fn no_line_breaks_the_parser(line in "\\PC{0,80}", tail in "[ ,=\"\\\\a-z]{0,40}") {
            let _ = parse(&line);
            let _ = parse(&format!("Bearer {tail}"));
        }
    }
}
