//! Pages of a listing: the query parameters `n` and `last`, and the `Link` to the next page.
//!
//! A listing is read in key order; `last` names the entry after which a page starts, and need not
//! exist any more. So a page costs what it holds, wherever it starts, and nothing is remembered
//! between two requests. For tags and the catalogue `last` is the tag or the name
//! (distribution-spec, "Listing Tags"); for referrers it is the last digest, which clients take
//! from the `Link` and need not understand.

use std::{
    fmt::{Display, Write},
    num::NonZeroUsize,
    str::FromStr,
};

use crate::{digest::echo, route::Route};

/// Which page of a listing is wanted. `C` is what the listing is ordered by: [`crate::Tag`],
/// [`crate::RepoName`] or [`crate::Digest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<C> {
    /// The most entries to list. 0 is a legal wish: an empty list, and no `Link`.
    pub size: usize,
    /// List what comes after this one, which itself is left out; `None` = from the start.
    pub after: Option<C>,
}

impl<C: FromStr> Page<C> {
    /// Reads the decoded values of all `n` and of all `last` parameters of a query string.
    ///
    /// A size above `max` becomes `max`: the `Link` tells the client that there is more. No `n`
    /// means `max`, and an empty `last` means none.
    pub fn parse<'a>(
        n: impl IntoIterator<Item = &'a str>,
        last: impl IntoIterator<Item = &'a str>,
        max: NonZeroUsize,
    ) -> Result<Page<C>, PageError> {
        let size = match at_most_one(n).map_err(|received| InvalidPageSize { received })? {
            None => max.get(),
            Some(text) => size(text, max)?,
        };
        let after = match at_most_one(last).map_err(|received| InvalidCursor { received })? {
            None | Some("") => None,
            Some(text) => Some(text.parse().map_err(|_| InvalidCursor { received: echo(text) })?),
        };
        Ok(Page { size, after })
    }
}

impl<C: Display> Page<C> {
    /// The value of `Link` to the page after this one, which ended with `last`; to be sent only when
    /// more follows. `None` when the page has no room, for then no page gets any further.
    ///
    /// `filters` are the other parameters of the request, which the next page must keep. The URL
    /// is relative, so it is right behind every proxy.
    pub fn next_link(&self, route: &Route, last: &C, filters: &[(&str, &str)]) -> Option<String> {
        if self.size == 0 {
            return None;
        }
        let mut link = format!("<{route}?n={}&last=", self.size);
        push_encoded(&mut link, &last.to_string());
        for (name, value) in filters {
            link.push('&');
            push_encoded(&mut link, name);
            link.push('=');
            push_encoded(&mut link, value);
        }
        link.push_str(">; rel=\"next\"");
        Some(link)
    }
}

/// The only value; or the first two, shortened, if there are several.
fn at_most_one<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Option<&'a str>, String> {
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (Some(first), Some(second)) => Err(format!("{}, {}", echo(first), echo(second))),
        (first, _) => Ok(first),
    }
}

fn size(text: &str, max: NonZeroUsize) -> Result<usize, InvalidPageSize> {
    let invalid = || InvalidPageSize { received: echo(text) };
    // `u64::from_str` alone would take a leading `+`.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    let size: u64 = text.parse().map_err(|_| invalid())?;
    Ok(usize::try_from(size).map_or(max.get(), |size| size.min(max.get())))
}

/// Adds `text` with everything escaped but the unreserved characters of RFC 3986, section 2.3.
fn push_encoded(url: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                url.push(char::from(byte));
            }
            _ => write!(url, "%{byte:02X}").expect("writing to a String cannot fail"),
        }
    }
}

/// The query does not name a page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// `n` is wrong.
    #[error(transparent)]
    Size(#[from] InvalidPageSize),
    /// `last` is wrong.
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
}

/// The parameter `n` is not a page size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`n={received}` is not a page size: expected one decimal number from 0 to {}", u64::MAX)]
pub struct InvalidPageSize {
    /// What was received, shortened.
    pub received: String,
}

/// The parameter `last` is not an entry of the listing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`last={received}` cannot be an entry of this listing: expected the last one of the page before, or the URL from its `Link` header"
)]
pub struct InvalidCursor {
    /// What was received, shortened.
    pub received: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Algorithm, Digest, RepoName, Tag, route};

    const MAX: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

    fn size_of(n: &[&str]) -> Result<usize, PageError> {
        Page::<Tag>::parse(n.iter().copied(), [], MAX).map(|page| page.size)
    }

    #[test]
    fn sizes() {
        for (n, expected) in [
            (&[][..], 1_000),
            (&["0"], 0),
            (&["1"], 1),
            (&["007"], 7),
            (&["1000"], 1_000),
            (&["1001"], 1_000),
            (&["2147483648"], 1_000),
            (&["9223372036854775808"], 1_000),
            (&["18446744073709551615"], 1_000),
        ] {
            assert_eq!(size_of(n), Ok(expected), "{n:?}");
        }
        for n in [
            &[""][..],
            &["-1"],
            &["+1"],
            &[" 1"],
            &["abc"],
            &["1.5"],
            &["1e3"],
            &["0x1"],
            &["٣"],
            &["18446744073709551616"],
            &["1", "2"],
            &["1", "1"],
        ] {
            assert!(matches!(size_of(n), Err(PageError::Size(_))), "{n:?}");
        }
    }

    #[test]
    fn errors_say_what_was_received() {
        let error = size_of(&["1", "2", "3"]).unwrap_err().to_string();
        assert!(error.starts_with("`n=1, 2` is not a page size: expected one"), "{error}");
        let error = size_of(&[&"9".repeat(100_000)]).unwrap_err().to_string();
        assert!(error.len() < 1_000, "{error}");
    }

    #[test]
    fn cursors_are_typed() {
        let parse = |last: &[&'static str]| Page::<Tag>::parse([], last.iter().copied(), MAX);
        assert_eq!(parse(&["v1"]).unwrap().after, Some("v1".parse().unwrap()));
        assert_eq!(parse(&[""]).unwrap().after, None);
        for last in [&["a/b"][..], &["../x"], &["a", "b"]] {
            assert!(matches!(parse(last), Err(PageError::Cursor(_))), "{last:?}");
        }
        assert!(Page::<Digest>::parse([], ["v1"], MAX).is_err());
    }

    #[test]
    fn links() {
        let route = route::parse("/v2/a/b/tags/list").unwrap();
        let page = |size| Page { size, after: None };
        let tag: Tag = "v1.0_x-y".parse().unwrap();
        assert_eq!(
            page(2).next_link(&route, &tag, &[]).unwrap(),
            "</v2/a/b/tags/list?n=2&last=v1.0_x-y>; rel=\"next\""
        );
        assert_eq!(page(0).next_link(&route, &tag, &[]), None);
        let page = Page { size: 5, after: None };
        let repo: RepoName = "a/b".parse().unwrap();
        assert_eq!(
            page.next_link(&Route::Catalog, &repo, &[]).unwrap(),
            "</v2/_catalog?n=5&last=a%2Fb>; rel=\"next\""
        );
        let digest = Digest::of(Algorithm::Sha256, b"");
        let link = Page { size: 5, after: None }
            .next_link(
                &Route::Referrers { repo, digest },
                &digest,
                &[("artifactType", "a/b;c=\"d\">é")],
            )
            .unwrap();
        assert_eq!(
            link,
            format!(
                "</v2/a/b/referrers/{digest}?n=5&last=sha256%3A{}&artifactType=a%2Fb%3Bc%3D%22d%22%3E%C3%A9>; rel=\"next\"",
                digest.hex()
            )
        );
    }

    /// Decodes a query string the plain way.
    fn decode(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte == b'%' {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            } else {
                bytes.push(byte);
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    proptest! {
        #[test]
        fn following_a_link_asks_for_what_comes_after(
            size in 1_usize..1_000,
            repo in "[a-z]{1,3}(/[a-z]{1,3}){0,3}",
            filter: String,
        ) {
            let page = Page { size, after: None };
            let last: RepoName = repo.parse().unwrap();
            let link = page.next_link(&Route::Catalog, &last, &[("f", &filter)]).unwrap();
            let (url, _) = link.strip_prefix('<').unwrap().split_once(">; rel=\"next\"").unwrap();
            let (path, query) = url.split_once('?').unwrap();
            prop_assert_eq!(route::parse(path), Ok(Route::Catalog));
            let values: Vec<(&str, String)> = query
                .split('&')
                .map(|pair| pair.split_once('=').unwrap())
                .map(|(name, value)| (name, decode(value)))
                .collect();
            let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
            prop_assert_eq!(names, ["n", "last", "f"]);
            let next = Page::<RepoName>::parse([&*values[0].1], [&*values[1].1], MAX).unwrap();
            prop_assert_eq!(next, Page { size, after: Some(last) });
            prop_assert_eq!(&values[2].1, &filter);
        }

        #[test]
        fn no_query_panics(n in prop::collection::vec("\\PC*|[0-9]{1,25}", 0..3), last: Vec<String>, max in 1_usize..9) {
            let max = NonZeroUsize::new(max).unwrap();
            let (n, last) = (n.iter().map(String::as_str), last.iter().map(String::as_str));
            if let Ok(page) = Page::<Tag>::parse(n, last, max) {
                prop_assert!(page.size <= max.get());
            }
        }
    }
}
