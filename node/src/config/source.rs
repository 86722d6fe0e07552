//! The two sources of values: the file and the environment, read whole before any value is typed.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Read,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{ConfigError, ConfigErrors, NotUtf8, Syntax, TooLarge, Unreadable},
    place::Place,
    value::Raw,
};

/// The longest configuration file. Ours has a few kilobytes; a longer one is some other file.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1 << 20;

/// The most keys in a file, known or not: telling where each of them is takes a walk over the text.
const KEYS_MAX: usize = 1024;

/// The most faults of syntax told at once; one often causes the next.
const SYNTAX_FAULTS_MAX: usize = 10;

/// What a variable starts with to be a setting. The double underscore keeps apart what other
/// systems set by themselves, such as the `ATOLL_PORT` of a Kubernetes service link.
pub const VARIABLE_PREFIX: &str = "ATOLL__";

/// How much of a received value a message repeats, in characters.
const ECHO_CHARS_MAX: usize = 80;

/// A value as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The value.
    pub raw: Raw,
    /// Where.
    pub place: Place,
    /// As written, shortened for a message.
    pub received: String,
}

/// A configuration file, taken apart.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// The values by section and key, each with the place of the key's name.
    pub values: BTreeMap<(String, String), (Place, Found)>,
    /// Sections that are there, with the place of their name, whether or not they hold anything.
    pub sections: BTreeMap<String, Place>,
    /// Top-level names that are no section, with the place of the name.
    pub strays: Vec<(String, Place)>,
}

impl Document {
    /// Reads and takes apart a file.
    ///
    /// # Errors
    /// When it cannot be read, is too long, or is not TOML in UTF-8.
    pub fn read(path: &Path) -> Result<Self, ConfigErrors> {
        let bytes = read_file(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            ConfigError::from(NotUtf8 { place: Place::in_text(path, &good, good.len()) })
        })?;
        Self::parse(path, text)
    }

    /// Takes apart a text; `path` stands for it in messages.
    ///
    /// # Errors
    /// When it is not TOML: every fault the parser can tell.
    pub fn parse(path: impl Into<PathBuf>, text: &str) -> Result<Self, ConfigErrors> {
        let path = path.into();
        let (table, faults) = DeTable::parse_recoverable(text);
        if !faults.is_empty() {
            let told = faults.iter().take(SYNTAX_FAULTS_MAX);
            return Err(ConfigErrors(
                told.map(|fault| syntax(&path, text, fault).into()).collect(),
            ));
        }
        let keys = table.get_ref().values().map(|value| value.get_ref().as_table());
        if keys.map(|keys| 1 + keys.map_or(0, |keys| keys.len())).sum::<usize>() > KEYS_MAX {
            let message = format!("more than {KEYS_MAX} keys: this is no configuration of Atoll");
            return Err(ConfigError::from(Syntax {
                place: Place::in_text(path, text, 0),
                message,
            })
            .into());
        }
        let mut document = Self::default();
        let place = |offset: usize| Place::in_text(&path, text, offset);
        for (name, value) in table.get_ref() {
            let section = name.get_ref().to_string();
            match value.get_ref() {
                DeValue::Table(keys) => {
                    for (key, value) in keys {
                        let found = Found {
                            raw: raw(value.get_ref()),
                            place: place(value.span().start),
                            received: echo(text.get(value.span()).unwrap_or_default()),
                        };
                        let key_place = place(key.span().start);
                        let path = (section.clone(), key.get_ref().to_string());
                        document.values.insert(path, (key_place, found));
                    }
                    document.sections.insert(section, place(name.span().start));
                }
                _ => document.strays.push((section, place(name.span().start))),
            }
        }
        Ok(document)
    }
}

/// The variables that are settings.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Name and value; `Err` when the value is not UTF-8.
    pub variables: BTreeMap<String, Result<String, NotUtf8>>,
}

impl Environment {
    /// Takes those variables that start with our prefix.
    pub fn select(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = variables.into_iter().filter_map(|(name, value)| {
            let variable = name.to_string_lossy().into_owned();
            let value = value
                .into_string()
                .map_err(|_| NotUtf8 { place: Place::Environment { variable: variable.clone() } });
            variable.starts_with(VARIABLE_PREFIX).then_some((variable, value))
        });
        Self { variables: ours.collect() }
    }
}

/// The name of a key's variable.
pub fn variable(section: &str, key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}__{}", section.to_ascii_uppercase(), key.to_ascii_uppercase())
}

/// `text` on one line and short enough for a message.
pub fn echo(text: &str) -> String {
    let mut line = String::new();
    for letter in text.chars().take(ECHO_CHARS_MAX) {
        if letter.is_control() { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    if text.chars().nth(ECHO_CHARS_MAX).is_some() { format!("{line}…") } else { line }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the file is read before there is a data folder for the disk seam to open"
)]
fn read_file(path: &Path) -> Result<Vec<u8>, ConfigErrors> {
    let unreadable =
        |error| ConfigErrors::from(ConfigError::from(Unreadable { path: path.into(), error }));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells too long from just fitting, whatever the metadata claims.
    file.take(CONFIG_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > CONFIG_FILE_BYTES_MAX {
        let error = TooLarge { path: path.into(), max: CONFIG_FILE_BYTES_MAX };
        return Err(ConfigError::from(error).into());
    }
    Ok(bytes)
}

fn syntax(path: &Path, text: &str, fault: &toml::de::Error) -> Syntax {
    let offset = fault.span().map_or(0, |span| span.start);
    Syntax { place: Place::in_text(path, text, offset), message: fault.message().to_owned() }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Boolean(boolean) => Raw::Boolean(*boolean),
        DeValue::Integer(integer) => {
            i128::from_str_radix(integer.as_str(), integer.radix()).map_or(Raw::Other, Raw::Integer)
        }
        DeValue::Array(array) => Raw::List(array.iter().map(Spanned::get_ref).map(raw).collect()),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => Raw::Other,
    }
}
