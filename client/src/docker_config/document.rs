//! A JSON object whose fields keep their order and their text.
//!
//! Docker's configuration belongs to many programs. Whoever changes one field of it must leave the
//! others as they are, also the ones it has never heard of; so a value stays the text it came as
//! until somebody asks for it.

use std::fmt::Write as _;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// What one level is moved to the right by, as docker writes it.
const INDENT: &str = "\t";

/// An object.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    fields: Vec<(String, Box<RawValue>)>,
}

impl Document {
    /// Reads an object. An empty file is an empty object, as docker has it.
    pub fn parse(text: &[u8]) -> Result<Document, serde_json::Error> {
        if text.trim_ascii().is_empty() {
            return Ok(Document::default());
        }
        serde_json::from_slice(text)
    }

    /// The names of the fields, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// A field as a value; absent and `null` are `None`. Of two with one name the later counts, as
    /// everywhere.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, serde_json::Error> {
        let found = self.fields.iter().rev().find(|(known, _)| known == name);
        found.map_or(Ok(None), |(_, raw)| serde_json::from_str(raw.get()))
    }

    /// Puts a field in the place it had, else at the end.
    pub fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.fields.iter().rposition(|(known, _)| known == name) {
            Some(at) => self.fields[at].1 = value,
            None => self.fields.push((name.to_owned(), value)),
        }
    }

    /// Takes a field away; answers whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.fields.len();
        self.fields.retain(|(known, _)| known != name);
        self.fields.len() < before
    }

    /// The text of the object when it stands `depth` levels deep.
    pub fn text(&self, depth: usize) -> String {
        if self.fields.is_empty() {
            return "{}".to_owned();
        }
        let mut text = "{".to_owned();
        for (at, (name, value)) in self.fields.iter().enumerate() {
            let name = serde_json::Value::from(name.as_str());
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(text, "{comma}\n{}{name}: {}", INDENT.repeat(depth + 1), value.get());
        }
        let _ = write!(text, "\n{}}}", INDENT.repeat(depth));
        text
    }

    /// The object as a value of another one.
    pub fn raw(&self, depth: usize) -> Result<Box<RawValue>, serde_json::Error> {
        RawValue::from_string(self.text(depth))
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Document;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Document { fields })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_value(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
        serde_json::value::to_raw_value(text)
    }

    #[test]
    fn what_nobody_touched_keeps_its_text() {
        let text = "{\n\t\"z\": {\"b\":  1.50, \"a\":[ ]},\n\t\"auths\": {},\n\t\"a\": 1e2\n}";
        let mut document = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(document.text(0), text);
        let mut auths: Document = document.get("auths").unwrap().unwrap();
        auths.set("host", text_value("x").unwrap());
        document.set("auths", auths.raw(1).unwrap());
        let changed = text.replace("{},", "{\n\t\t\"host\": \"x\"\n\t},");
        assert_eq!(document.text(0), changed);
        assert!(auths.remove("host") && !auths.remove("host"));
        document.set("auths", auths.raw(1).unwrap());
        assert_eq!(document.text(0), text);
        assert_eq!(Document::parse(b" \n").unwrap().text(0), "{}");
        for wrong in ["[]", "{", "{} x", "\"\""] {
            assert!(Document::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_field_that_is_set_and_removed_leaves_the_others(
            fields in prop::collection::btree_map(".{0,6}", -9..9_i32, 0..6),
            name in ".{0,6}",
        ) {
            let text = serde_json::to_vec(&fields).unwrap();
            let mut document = Document::parse(&text).unwrap();
            let before: Vec<String> = document.names().map(str::to_owned).collect();
            let known = document.get::<i32>(&name).unwrap();
            document.set(&name, text_value("new").unwrap());
            let written = Document::parse(document.text(2).as_bytes()).unwrap();
            prop_assert_eq!(written.get::<String>(&name).unwrap(), Some("new".to_owned()));
            for (other, value) in fields.iter().filter(|(other, _)| **other != name) {
                prop_assert_eq!(written.get::<i32>(other).unwrap(), Some(*value));
            }
            if known.is_none() {
                prop_assert!(document.remove(&name));
                prop_assert!(document.names().eq(before.iter().map(String::as_str)));
            }
        }
    }
}
