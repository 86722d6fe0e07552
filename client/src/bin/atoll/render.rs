//! Answers as text for people. Pure: a value in, text out.

pub mod change;
pub mod progress;
pub mod ring;
pub mod status;
pub mod whereabouts;

/// What stands where there is nothing to say.
pub const NOTHING: &str = "-";

/// Node numbers between commas.
fn nodes(nodes: &[u16]) -> String {
    if nodes.is_empty() {
        return NOTHING.to_owned();
    }
    let nodes: Vec<String> = nodes.iter().map(u16::to_string).collect();
    nodes.join(", ")
}

/// Sentences for the reader, one for each line.
fn notes(notes: &[String]) -> String {
    notes.iter().map(|note| format!("note: {note}\n")).collect()
}
