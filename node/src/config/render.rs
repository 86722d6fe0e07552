//! A configuration as text: the effective one, the commented example, the page for operators.

use std::fmt::Write;

use super::{place::Place, reader::Entry, source::variable};

/// The column at which `config show` writes where a value came from.
const ORIGIN_COLUMN: usize = 44;

/// The width to which the comments of the example are wrapped.
const COMMENT_COLUMNS: usize = 96;

/// The effective configuration as TOML, each value with its origin in a comment.
pub fn effective(entries: &[Entry]) -> String {
    by_section(entries, |text, entry| {
        let line = match &entry.value {
            Some(value) => format!("{} = {value}", entry.key),
            None => format!("# {} is not set", entry.key),
        };
        let _ = writeln!(text, "{line:ORIGIN_COLUMN$} # {}", entry.origin);
    })
}

/// The example file: every key with its documentation, type and range, set to its default.
pub fn example(entries: &[Entry]) -> String {
    let mut text = String::from(
        "# The configuration of an Atoll node: every key, set to its default.\n\
         # Each key can also be set by a variable, which wins over this file:\n\
         # http.listen by ATOLL__HTTP__LISTEN, and so on. Check a file with\n\
         # `atolld config check --config FILE`.\n\n",
    );
    text += &by_section(entries, |text, entry| {
        text.push('\n');
        for line in wrapped(&format!("{} {}", entry.doc, constraint(entry))) {
            let _ = writeln!(text, "# {line}");
        }
        let _ = match &entry.default {
            Some(value) => writeln!(text, "{} = {value}", entry.key),
            None => writeln!(text, "# {} = …", entry.key),
        };
    });
    text
}

/// The tables of the page for operators, in Markdown.
pub fn reference(entries: &[Entry]) -> String {
    let mut text = String::new();
    let mut section = "";
    for entry in entries {
        if entry.section != section {
            section = entry.section;
            let _ = write!(
                text,
                "\n## `[{section}]`\n\n| key | default | allowed | meaning |\n|---|---|---|---|\n"
            );
        }
        let default = entry.default.as_ref().map_or("not set".into(), |text| format!("`{text}`"));
        let allowed = match &entry.range {
            Some((min, max)) => format!("`{min}` to `{max}`"),
            None => entry.expected.replace('|', "\\|"),
        };
        let meaning = entry.doc.replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(
            text,
            "| `{}`<br>`{}` | {default} | {allowed} | {meaning} |",
            entry.key,
            variable(entry.section, entry.key),
        );
    }
    text
}

fn by_section(entries: &[Entry], mut write: impl FnMut(&mut String, &Entry)) -> String {
    let mut text = String::new();
    let mut section = "";
    for entry in entries {
        if entry.section != section {
            let newline = if section.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{newline}[{}]", entry.section);
            section = entry.section;
        }
        write(&mut text, entry);
    }
    text
}

/// What may be written, as a sentence.
fn constraint(entry: &Entry) -> String {
    match &entry.range {
        Some((min, max)) => format!("Allowed: {min} to {max}."),
        None => format!("Allowed: {}.", entry.expected),
    }
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= COMMENT_COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// Where the values that are not defaults came from; empty when all are.
pub fn overrides(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    entries.iter().filter(|entry| entry.origin != Place::Default)
}
