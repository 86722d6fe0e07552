//! One walk over a JSON document, before anything in it is believed.
//!
//! The walk checks what a typed parser does not: that no object has a key twice, that nesting and
//! the number of values stay within bounds. It builds nothing but the keys of the objects it is
//! inside of, so its memory is bounded by [`MANIFEST_VALUES_MAX`] and not by what a tree of values
//! would cost.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};

use super::{MANIFEST_DEPTH_MAX, MANIFEST_VALUES_MAX, ManifestError};
use crate::digest::echo;

/// The fields that say what a document is or refers to.
const FIELDS: [&str; 9] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "fsLayers",
    "subject",
    "annotations",
];

/// What the walk saw of the outermost object.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// The known fields that are there, even if they are `null`.
    pub fields: BTreeSet<&'static str>,
    /// A key that is a known field but for upper and lower case, which Go's parser (that is, nearly
    /// every client) takes for that field.
    pub miscased: Option<(String, &'static str)>,
}

/// Walks over `body`, which must be one JSON object.
pub(super) fn outline(body: &str) -> Result<Outline, ManifestError> {
    let mut walk = Walk { outline: Outline::default(), values: 0, fault: None };
    let mut parser = serde_json::Deserializer::from_str(body);
    let walked = Node { walk: &mut walk, depth: 1 }.deserialize(&mut parser);
    let walked = walked.and_then(|kind| parser.end().map(|()| kind));
    match (walk.fault, walked) {
        (Some(fault), _) => Err(fault),
        (None, Err(error)) => Err(ManifestError::Json { reason: echo(&error.to_string()) }),
        (None, Ok(OBJECT)) => Ok(walk.outline),
        (None, Ok(found)) => Err(ManifestError::NotObject { found }),
    }
}

const OBJECT: &str = "object";

struct Walk {
    outline: Outline,
    values: usize,
    /// Why the walk stopped: a parser's error can only carry text.
    fault: Option<ManifestError>,
}

impl Walk {
    fn stop<E: de::Error>(&mut self, fault: ManifestError) -> E {
        self.fault = Some(fault);
        E::custom("the walk stopped")
    }

    fn see_field(&mut self, key: &str) {
        let Some(known) = FIELDS.into_iter().find(|field| field.eq_ignore_ascii_case(key)) else {
            return;
        };
        if known == key {
            self.outline.fields.insert(known);
        } else {
            self.outline.miscased = Some((echo(key), known));
        }
    }
}

/// One value at some depth. Answers what kind of value it is.
struct Node<'w> {
    walk: &'w mut Walk,
    depth: usize,
}

impl Node<'_> {
    fn open<E: de::Error>(&mut self) -> Result<(), E> {
        if self.depth > MANIFEST_DEPTH_MAX {
            return Err(self.walk.stop(ManifestError::TooDeep));
        }
        Ok(())
    }

    fn child(&mut self) -> Node<'_> {
        Node { walk: self.walk, depth: self.depth + 1 }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = &'static str;

    fn deserialize<D: de::Deserializer<'de>>(self, parser: D) -> Result<&'static str, D::Error> {
        self.walk.values += 1;
        if self.walk.values > MANIFEST_VALUES_MAX {
            return Err(self.walk.stop(ManifestError::TooManyValues));
        }
        parser.deserialize_any(self)
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for Node<'_> {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<&'static str, E> {
        Ok("null")
    }

    fn visit_bool<E>(self, _: bool) -> Result<&'static str, E> {
        Ok("boolean")
    }

    fn visit_i64<E>(self, _: i64) -> Result<&'static str, E> {
        Ok("number")
    }

    fn visit_u64<E>(self, _: u64) -> Result<&'static str, E> {
        Ok("number")
    }

    fn visit_f64<E>(self, _: f64) -> Result<&'static str, E> {
        Ok("number")
    }

    fn visit_str<E>(self, _: &str) -> Result<&'static str, E> {
        Ok("string")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<&'static str, A::Error> {
        self.open()?;
        while items.next_element_seed(self.child())?.is_some() {}
        Ok("array")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<&'static str, A::Error> {
        self.open()?;
        let mut keys = BTreeSet::new();
        while let Some(Key(key)) = members.next_key()? {
            if keys.contains(&key) {
                return Err(self.walk.stop(ManifestError::DuplicateKey { key: echo(&key) }));
            }
            if self.depth == 1 {
                self.walk.see_field(&key);
            }
            keys.insert(key);
            members.next_value_seed(self.child())?;
        }
        Ok(OBJECT)
    }
}
