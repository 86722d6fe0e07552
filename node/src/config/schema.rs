//! The JSON Schema of the file, for editors and for checks before a roll-out.

use serde_json::{Map, Value, json};

use super::reader::Entry;

/// The schema, with description, default and range of every key.
pub fn schema(entries: &[Entry]) -> Value {
    let mut sections = Map::new();
    for entry in entries {
        let section = sections.entry(entry.section).or_insert_with(
            || json!({ "type": "object", "additionalProperties": false, "properties": {} }),
        );
        section["properties"][entry.key] = property(entry);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of an Atoll node",
        "type": "object",
        "additionalProperties": false,
        "properties": sections,
    })
}

fn property(entry: &Entry) -> Value {
    let mut property = entry.schema.clone();
    let mut description = entry.doc.replace('\n', " ");
    if let Some(default) = entry.default.as_deref().and_then(json_of_toml) {
        property["default"] = default;
    }
    if let Some((min, max)) = &entry.range {
        match (json_of_toml(min), json_of_toml(max)) {
            (Some(min), Some(max)) if min.is_number() => {
                property["minimum"] = min;
                property["maximum"] = max;
            }
            // JSON Schema cannot compare sizes and durations: the range is told, not enforced.
            _ => description += &format!(" Allowed: {min} to {max}."),
        }
    }
    property["description"] = description.into();
    property
}

fn json_of_toml(text: &str) -> Option<Value> {
    let table: toml::Table = format!("value = {text}").parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}
