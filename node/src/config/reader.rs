//! The one pass from raw text to typed values.
//!
//! Each section asks the reader for its keys, one declaration at a time. The reader takes the value
//! from the environment, the file or the default, checks type and range, notes where it came from,
//! and goes on with the default after an error, so that one run finds everything. What is left over
//! at the end is unknown.

use super::{
    error::{ConfigError, OutOfRange, UnknownKey, UnknownSection, UnknownVariable, WrongValue},
    place::Place,
    source::{Document, Environment, Found, echo, variable},
    value::{Raw, Value, quoted},
};

/// The longest name that is compared with the known ones: the comparison is quadratic.
const SUGGESTION_BYTES_MAX: usize = 64;

/// The declaration of a key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name within the section.
    pub name: &'static str,
    /// What it is for, with its unit and the reason of its default; lines of a doc comment.
    pub doc: &'static str,
    /// The default, written as in a variable.
    pub default: &'static str,
    /// The least and the greatest allowed value, written as in a variable.
    pub range: Option<(&'static str, &'static str)>,
}

/// A key as it was declared and as it is set. Values are texts in TOML.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The section.
    pub section: &'static str,
    /// The key within the section.
    pub key: &'static str,
    /// What it is for.
    pub doc: String,
    /// What may be written.
    pub expected: &'static str,
    /// The default; `None` when the key is absent by default.
    pub default: Option<String>,
    /// The least and the greatest allowed value.
    pub range: Option<(String, String)>,
    /// The JSON Schema of the type.
    pub schema: serde_json::Value,
    /// The value; `None` when the key is absent.
    pub value: Option<String>,
    /// Where the value came from.
    pub origin: Place,
}

impl Entry {
    /// The key with its section, as messages name it.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

/// The pass over both sources.
#[derive(Debug)]
pub struct Reader<'a> {
    document: &'a Document,
    environment: &'a Environment,
    section: &'static str,
    entries: Vec<Entry>,
    errors: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    /// A reader that has read nothing yet.
    pub fn new(document: &'a Document, environment: &'a Environment) -> Self {
        Self { document, environment, section: "", entries: Vec::new(), errors: Vec::new() }
    }

    /// The keys asked for from now on are of `section`.
    pub fn enter(&mut self, section: &'static str) {
        self.section = section;
    }

    /// Reads a key; its default stands in for a wrong value.
    ///
    /// # Panics
    /// When the declaration contradicts itself, which every start would show.
    pub fn key<T: Value>(&mut self, key: Key) -> T {
        let declared = |text: &str| {
            let value = T::from_raw(&Raw::Untyped(text.into()));
            value.unwrap_or_else(|| panic!("{}.{}: {text} is not its type", self.section, key.name))
        };
        let default: T = declared(key.default);
        let range = key.range.map(|(min, max)| (declared(min), declared(max)));
        let written = |value: &T| value.to_toml().unwrap_or_default();

        let (value, origin) = match self.find(key.name) {
            None => (default.clone(), Place::Default),
            Some(found) => match self.typed(key.name, &found, &range) {
                Ok(value) => (value, found.place),
                Err(error) => {
                    self.errors.push(*error);
                    (default.clone(), Place::Default)
                }
            },
        };
        self.entries.push(Entry {
            section: self.section,
            key: key.name,
            doc: unindented(key.doc),
            expected: T::EXPECTED,
            default: default.to_toml(),
            range: range.as_ref().map(|(min, max)| (written(min), written(max))),
            schema: T::schema(),
            value: value.to_toml(),
            origin,
        });
        value
    }

    /// Every key that was read, and everything that was wrong, with what nobody asked for.
    pub fn finish(mut self) -> (Vec<Entry>, Vec<ConfigError>) {
        self.refuse_unknown_sections();
        self.refuse_unknown_keys();
        self.refuse_unknown_variables();
        (self.entries, self.errors)
    }

    fn find(&self, key: &str) -> Option<Found> {
        let variable = variable(self.section, key);
        if let Some(Ok(text)) = self.environment.variables.get(&variable) {
            return Some(Found {
                raw: Raw::Untyped(text.clone()),
                place: Place::Environment { variable },
                received: quoted(&echo(text)),
            });
        }
        let path = (self.section.to_owned(), key.to_owned());
        self.document.values.get(&path).map(|(_, found)| found.clone())
    }

    fn typed<T: Value>(
        &self,
        key: &str,
        found: &Found,
        range: &Option<(T, T)>,
    ) -> Result<T, Box<ConfigError>> {
        let (place, received) = (found.place.clone(), found.received.clone());
        let key = format!("{}.{key}", self.section);
        let Some(value) = T::from_raw(&found.raw) else {
            let error = WrongValue { place, key, received, expected: T::EXPECTED };
            return Err(Box::new(error.into()));
        };
        match range {
            Some((min, max)) if value < *min || value > *max => {
                let written = |value: &T| value.to_toml().unwrap_or_default();
                let (min, max) = (written(min), written(max));
                Err(Box::new(OutOfRange { place, key, received, min, max }.into()))
            }
            _ => Ok(value),
        }
    }

    fn is_section(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.section == name)
    }

    fn refuse_unknown_sections(&mut self) {
        let sections = || self.entries.iter().map(|entry| entry.section);
        for (name, place) in &self.document.sections {
            if !self.is_section(name) {
                let suggestion = closest(name, sections());
                let (place, name) = (place.clone(), echo(name));
                self.errors.push(UnknownSection { place, name, suggestion }.into());
            }
        }
        for (name, place) in &self.document.strays {
            let error = if self.is_section(name) {
                let key = name.clone();
                let (received, expected) = ("a value".into(), "a section, such as [http]");
                WrongValue { place: place.clone(), key, received, expected }.into()
            } else {
                let suggestion =
                    self.same_key_elsewhere(name).or_else(|| closest(name, sections()));
                UnknownKey { place: place.clone(), name: echo(name), suggestion }.into()
            };
            self.errors.push(error);
        }
    }

    fn refuse_unknown_keys(&mut self) {
        for ((section, key), (place, _)) in &self.document.values {
            let known = |entry: &Entry| entry.section == section && entry.key == key;
            if !self.is_section(section) || self.entries.iter().any(known) {
                continue;
            }
            let keys = self.entries.iter().filter(|entry| entry.section == section);
            let suggestion =
                closest(key, keys.map(|entry| entry.key)).or_else(|| self.same_key_elsewhere(key));
            let name = format!("{section}.{}", echo(key));
            self.errors.push(UnknownKey { place: place.clone(), name, suggestion }.into());
        }
    }

    fn refuse_unknown_variables(&mut self) {
        let known: Vec<_> =
            self.entries.iter().map(|entry| variable(entry.section, entry.key)).collect();
        for (name, value) in &self.environment.variables {
            if !known.contains(name) {
                let place = Place::Environment { variable: echo(name) };
                let suggestion = closest(name, known.iter().map(String::as_str));
                self.errors.push(UnknownVariable { place, suggestion }.into());
            } else if let Err(error) = value {
                self.errors.push(error.clone().into());
            }
        }
    }

    fn same_key_elsewhere(&self, key: &str) -> Option<String> {
        self.entries.iter().find(|entry| entry.key == key).map(Entry::path)
    }
}

/// The candidate that is nearest to `name`, if a slip of the hand explains the difference.
fn closest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<String> {
    if name.len() > SUGGESTION_BYTES_MAX {
        return None;
    }
    let slips = |candidate: &str| {
        let slips = strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase());
        (slips <= 1 + candidate.len() / 4).then_some(slips)
    };
    let ranked = candidates.filter_map(|candidate| Some((slips(candidate)?, candidate)));
    ranked.min().map(|(_, candidate)| candidate.to_owned())
}

/// A doc comment without the space that stands between its slashes and its text.
fn unindented(doc: &str) -> String {
    let lines = doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}
