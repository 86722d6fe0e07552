//! What a registry writes when it says no (distribution-spec, "Error codes").

use serde::Deserialize;

/// Characters of a strange body that are shown.
const ECHO_CHARS_MAX: usize = 200;

#[derive(Deserialize)]
struct Document {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

/// The body of an error for people: `CODE: message`; other bodies shortened to one plain line.
pub(crate) fn describe(body: &[u8]) -> String {
    if let Ok(document) = serde_json::from_slice::<Document>(body)
        && let Some(first) = document.errors.first()
    {
        let message = first.message.as_deref().unwrap_or_default();
        let text = if message.is_empty() {
            first.code.clone()
        } else {
            format!("{}: {message}", first.code)
        };
        return plain(&text);
    }
    plain(&String::from_utf8_lossy(body))
}

/// One line without control characters: it goes to terminals and logs.
fn plain(text: &str) -> String {
    let clean = |char: char| if char.is_control() { ' ' } else { char };
    let line: String = text.chars().take(ECHO_CHARS_MAX).map(clean).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_one_plain_line() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such\nmanifest"}]}"#;
        assert_eq!(describe(body), "MANIFEST_UNKNOWN: no such manifest");
        assert_eq!(describe(br#"{"errors":[{"code":"DENIED","message":null}]}"#), "DENIED");
        assert_eq!(describe(b"<h1>\x1b[31mno</h1>"), "<h1> [31mno</h1>");
        assert_eq!(describe(&[b'x'; 10_000]).len(), ECHO_CHARS_MAX);
        assert_eq!(describe(b""), "");
    }
}
