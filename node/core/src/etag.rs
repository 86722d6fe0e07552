//! Entity tags and the conditions made of them (RFC 9110, sections 8.8.3 and 13.1).
//!
//! The entity tag of a blob or a manifest is its digest in quotes: the same bytes always have the
//! same tag, so it is a strong one. `If-None-Match` saves a client the second download,
//! `If-Match` lets it move a tag only from what it saw, `If-Range` lets it resume a download.
//! Dates are not offered as validators: content that is named by its digest has no use for them.

use std::fmt;

use crate::digest::{Digest, echo};

/// The most entity tags in one condition. A client holds a few versions of what it asks for.
pub const ENTITY_TAGS_MAX: usize = 64;

/// `"opaque"` or `W/"opaque"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag {
    weak: bool,
    opaque: String,
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: any that exists.
    Any,
    /// One of these; at least one.
    Of(Vec<EntityTag>),
}

impl EntityTag {
    /// The strong tag of some content.
    pub fn of(digest: &Digest) -> EntityTag {
        EntityTag { weak: false, opaque: digest.to_string() }
    }

    /// The digest that the tag carries, if it is a strong tag that carries one.
    pub fn strong_digest(&self) -> Option<Digest> {
        if self.weak { None } else { self.opaque.parse().ok() }
    }

    /// Are both strong and the same? What `If-Match` and `If-Range` ask (section 8.8.3.2).
    pub fn matches_strongly(&self, other: &EntityTag) -> bool {
        !self.weak && self == other
    }

    /// Are they the same but for weakness? What `If-None-Match` asks (section 8.8.3.2).
    pub fn matches_weakly(&self, other: &EntityTag) -> bool {
        self.opaque == other.opaque
    }

    /// Reads one tag off the start of `text`; gives the rest.
    fn take(text: &str) -> Option<(EntityTag, &str)> {
        let (weak, text) = match text.strip_prefix("W/") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (opaque, rest) = text.strip_prefix('"')?.split_once('"')?;
        // etagc: any visible character but the quote, and whatever is not ASCII.
        let good = opaque.bytes().all(|byte| byte.is_ascii_graphic() || !byte.is_ascii());
        good.then(|| (EntityTag { weak, opaque: opaque.to_owned() }, rest))
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\"{}\"", if self.weak { "W/" } else { "" }, self.opaque)
    }
}

impl EntityTags {
    /// Reads the lines of one header; `None` when there is no line.
    ///
    /// A malformed `If-None-Match` may be ignored (the client downloads once more); a malformed
    /// `If-Match` guards a write and must refuse it.
    pub fn parse<'a>(
        lines: impl IntoIterator<Item = &'a str>,
    ) -> Result<Option<EntityTags>, InvalidEntityTags> {
        let mut lines = lines.into_iter().peekable();
        if lines.peek().is_none() {
            return Ok(None);
        }
        let (mut any, mut tags) = (false, Vec::new());
        for line in lines {
            if line.trim_matches(WHITE_SPACE) == "*" {
                any = true;
                continue;
            }
            take_line(line, &mut tags).map_err(|reason| InvalidEntityTags::new(line, reason))?;
        }
        match (any, tags.is_empty()) {
            (true, true) => Ok(Some(EntityTags::Any)),
            (false, false) => Ok(Some(EntityTags::Of(tags))),
            (true, false) => Err(InvalidEntityTags::new("*", InvalidEntityTagsReason::Star)),
            (false, true) => Err(InvalidEntityTags::new("", InvalidEntityTagsReason::Grammar)),
        }
    }

    /// `If-Match`: does `current` allow the request? `None` = nothing is there.
    pub fn if_match(&self, current: Option<&EntityTag>) -> bool {
        match (self, current) {
            (_, None) => false,
            (EntityTags::Any, Some(_)) => true,
            (EntityTags::Of(tags), Some(current)) => {
                tags.iter().any(|tag| tag.matches_strongly(current))
            }
        }
    }

    /// `If-None-Match`: does `current` allow the request? `None` = nothing is there. When it does
    /// not, a GET or HEAD is answered 304 and any other method 412.
    pub fn if_none_match(&self, current: Option<&EntityTag>) -> bool {
        match (self, current) {
            (_, None) => true,
            (EntityTags::Any, Some(_)) => false,
            (EntityTags::Of(tags), Some(current)) => {
                !tags.iter().any(|tag| tag.matches_weakly(current))
            }
        }
    }

    /// The digests in strong tags: what `If-Match` on a tag may find there. Empty for `*`.
    pub fn strong_digests(&self) -> Vec<Digest> {
        match self {
            EntityTags::Any => Vec::new(),
            EntityTags::Of(tags) => tags.iter().filter_map(EntityTag::strong_digest).collect(),
        }
    }
}

/// Does `If-Range` allow the `Range` of the request to count, when the blob's tag is `current`?
///
/// Only the same strong entity tag does; a weak one, a date or anything else means the whole blob.
pub fn if_range(header: &str, current: &EntityTag) -> bool {
    match EntityTag::take(header.trim_matches(WHITE_SPACE)) {
        Some((tag, "")) => tag.matches_strongly(current),
        _ => false,
    }
}

const WHITE_SPACE: [char; 2] = [' ', '\t'];

/// Reads a comma list of tags. Commas may stand inside of tags, so the text is not split at them.
fn take_line(line: &str, tags: &mut Vec<EntityTag>) -> Result<(), InvalidEntityTagsReason> {
    let mut rest = line.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        if tags.len() == ENTITY_TAGS_MAX {
            return Err(InvalidEntityTagsReason::Many);
        }
        let (tag, after) = EntityTag::take(rest).ok_or(InvalidEntityTagsReason::Grammar)?;
        tags.push(tag);
        let after = after.trim_start_matches(WHITE_SPACE);
        if !after.is_empty() && !after.starts_with(',') {
            return Err(InvalidEntityTagsReason::Grammar);
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    Ok(())
}

/// The header is not a list of entity tags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{received}` is not a list of entity tags: {reason}")]
pub struct InvalidEntityTags {
    /// What was received, shortened.
    pub received: String,
    /// What is wrong with it.
    pub reason: InvalidEntityTagsReason,
}

impl InvalidEntityTags {
    fn new(received: &str, reason: InvalidEntityTagsReason) -> Self {
        InvalidEntityTags { received: echo(received), reason }
    }
}

/// What is wrong with a list of entity tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntityTagsReason {
    /// It is not in the grammar.
    #[error("expected `*`, or a comma list such as `\"sha256:…\", \"sha256:…\"`, quotes included")]
    Grammar,
    /// `*` stands beside other tags.
    #[error("`*` must stand alone")]
    Star,
    /// There are too many tags.
    #[error("at most {ENTITY_TAGS_MAX} are allowed")]
    Many,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Algorithm;

    fn tag(text: &str) -> EntityTag {
        let (tag, rest) = EntityTag::take(text).unwrap();
        assert_eq!(rest, "");
        tag
    }

    fn parse(lines: &[&str]) -> Result<Option<EntityTags>, InvalidEntityTags> {
        EntityTags::parse(lines.iter().copied())
    }

    #[test]
    fn reads_lists_over_several_lines() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&[" * "]), Ok(Some(EntityTags::Any)));
        let all = ["\"a\"", "W/\"b,c\"", "\"\"", "\"é\""].map(tag).to_vec();
        for lines in [
            &["\"a\", W/\"b,c\",\"\" ,\t\"é\""][..],
            &["\"a\"", "W/\"b,c\"", "", "\"\",\"é\""],
            &[",, \"a\",,W/\"b,c\" ,", "\"\",\"é\","],
        ] {
            assert_eq!(parse(lines), Ok(Some(EntityTags::Of(all.clone()))), "{lines:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_list() {
        use InvalidEntityTagsReason::*;
        let many = "\"a\",".repeat(ENTITY_TAGS_MAX + 1);
        for (lines, reason) in [
            (&[""][..], Grammar),
            (&[","], Grammar),
            (&["a"], Grammar),
            (&["\"a"], Grammar),
            (&["\"a\" \"b\""], Grammar),
            (&["\"a\"b"], Grammar),
            (&["w/\"a\""], Grammar),
            (&["\"a b\""], Grammar),
            (&["\"a\u{7f}\""], Grammar),
            (&["\"a\", *"], Grammar),
            (&["\"a\"", "*"], Star),
            (&["*", "\"a\""], Star),
            (&[&many], Many),
        ] {
            assert_eq!(parse(lines).unwrap_err().reason, reason, "{lines:?}");
        }
    }

    #[test]
    fn conditions() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let current = EntityTag::of(&digest);
        let (strong, weak) = (format!("\"{digest}\""), format!("W/\"{digest}\""));
        for (header, if_match, if_none_match) in [
            ("*", true, false),
            (strong.as_str(), true, false),
            (weak.as_str(), false, false),
            ("\"other\"", false, true),
        ] {
            let tags = parse(&[header]).unwrap().unwrap();
            assert_eq!(tags.if_match(Some(&current)), if_match, "{header}");
            assert_eq!(tags.if_none_match(Some(&current)), if_none_match, "{header}");
            assert!(!tags.if_match(None) && tags.if_none_match(None), "{header}");
        }
        let tags = parse(&[&weak, &strong, "\"other\""]).unwrap().unwrap();
        assert_eq!(tags.strong_digests(), [digest]);
    }

    #[test]
    fn only_the_same_strong_tag_resumes() {
        let current = EntityTag::of(&Digest::of(Algorithm::Sha256, b"x"));
        assert!(if_range(&current.to_string(), &current));
        for header in [
            "",
            "*",
            "\"other\"",
            &format!("W/{current}"),
            &format!("{current}, {current}"),
            "Sat, 29 Oct 1994 19:43:31 GMT",
        ] {
            assert!(!if_range(header, &current), "{header}");
        }
        let weak = EntityTag { weak: true, ..current };
        assert!(!if_range(&weak.to_string(), &weak));
    }

    proptest! {
        #[test]
        fn lists_round_trip(tags in prop::collection::vec((any::<bool>(), "[!#-~é]{0,9}"), 1..9)) {
            let tags: Vec<EntityTag> =
                tags.into_iter().map(|(weak, opaque)| EntityTag { weak, opaque }).collect();
            let text: Vec<String> = tags.iter().map(EntityTag::to_string).collect();
            let lines: Vec<&str> = text.iter().map(String::as_str).collect();
            prop_assert_eq!(parse(&lines), Ok(Some(EntityTags::Of(tags.clone()))));
            prop_assert_eq!(parse(&[&text.join(" , ")]), Ok(Some(EntityTags::Of(tags))));
        }

        #[test]
        fn no_header_panics(lines in prop::collection::vec("\\PC*|[W/\"*, a]{0,20}", 0..4)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let _ = parse(&lines);
            if let Some(line) = lines.first() {
                let _ = if_range(line, &EntityTag { weak: false, opaque: "a".to_owned() });
            }
        }
    }
}
