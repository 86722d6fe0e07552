//! Which texts are paths: ZooKeeper's rules.

use super::command::{PATH_BYTES_MAX, Refusal};

/// A checked path: `/`, or names that each follow a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path<'a>(&'a str);

impl<'a> Path<'a> {
    /// The root.
    pub const ROOT: Path<'static> = Path("/");

    /// Checks a path.
    ///
    /// # Errors
    /// [`Refusal::InvalidPath`]: it does not begin with a slash or ends with one, a name in it is
    /// empty, `.` or `..`, a character is a control or reserved one, or it is too long.
    pub fn parse(text: &'a str) -> Result<Path<'a>, Refusal> {
        if is_path(text) { Ok(Path(text)) } else { Err(Refusal::InvalidPath(text.to_owned())) }
    }

    /// Its text.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Its parent and its own name; `None` for the root.
    pub fn split(self) -> Option<(Path<'a>, &'a str)> {
        let (parent, name) = self.0.rsplit_once('/')?;
        match (parent, name) {
            (_, "") => None,
            ("", name) => Some((Path::ROOT, name)),
            (parent, name) => Some((Path(parent), name)),
        }
    }

    /// Itself and all above it, the longest first.
    pub fn ancestors(self) -> impl Iterator<Item = Path<'a>> {
        std::iter::successors(Some(self), |path| path.split().map(|(parent, _)| parent))
    }
}

fn is_path(text: &str) -> bool {
    if text == "/" {
        return true;
    }
    let Some(names) = text.strip_prefix('/') else { return false };
    text.len() <= PATH_BYTES_MAX
        && names.split('/').all(|name| !matches!(name, "" | "." | ".."))
        && !text.chars().any(is_forbidden)
}

/// Characters that ZooKeeper does not take: controls, surrogates with the private area after them,
/// and the specials at the end of the first plane.
fn is_forbidden(character: char) -> bool {
    matches!(character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_what_zookeeper_takes() {
        for good in ["/", "/a", "/a/b", "/a.b/..c", "/…/é", "/a b", "/zookeeper/…", "/0000000001"]
        {
            assert!(Path::parse(good).is_ok(), "{good}");
        }
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        for bad in [
            "",
            "a",
            "a/b",
            "/a/",
            "//",
            "/a//b",
            "/.",
            "/..",
            "/a/./b",
            "/a/..",
            "/a\0",
            "/a\u{1}",
            "/\u{7f}",
            "/\u{9f}",
            "/\u{e000}",
            "/\u{f8ff}",
            "/\u{fff0}",
            "/\u{ffff}",
            &long,
        ] {
            assert_eq!(Path::parse(bad), Err(Refusal::InvalidPath(bad.to_owned())));
        }
    }

    #[test]
    fn a_path_knows_what_is_above_it() {
        let above = |text| -> Vec<&str> {
            Path::parse(text).unwrap().ancestors().map(Path::as_str).collect()
        };
        assert_eq!(above("/a/b/c"), ["/a/b/c", "/a/b", "/a", "/"]);
        assert_eq!(above("/"), ["/"]);
        assert_eq!(Path::parse("/a/b").unwrap().split(), Some((Path("/a"), "b")));
    }
}
