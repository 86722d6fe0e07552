//! Reading the tree: which files there are, and what in them is code.

#![allow(clippy::disallowed_methods, reason = "this is about the files of the repository")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders that hold what was built or stored, not what was written.
const SKIPPED: &[&str] = &["target", "data", "node_modules", "__pycache__"];

/// One file of the tree.
pub struct Source {
    /// Its path from the root of the repository, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let node = Path::new(env!("CARGO_MANIFEST_DIR"));
    node.parent().expect("the node crate is a folder of the workspace").to_path_buf()
}

/// Every text file whose name ends with one of `endings`, in order.
pub fn files(endings: &[&str]) -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    visit(&root, &root, endings, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no files that end with {endings:?} below {}", root.display());
    found
}

fn visit(root: &Path, folder: &Path, endings: &[&str], found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree can be listed") {
        let path = entry.expect("an entry of the tree can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && !matches!(name.as_str(), ".ci" | ".cargo");
        if path.is_symlink() || hidden || SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            visit(root, &path, endings, found);
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            let relative = path.strip_prefix(root).expect("it was found below the root");
            let path_text = relative.to_string_lossy().replace('\\', "/");
            let text = fs::read_to_string(&path).unwrap_or_default();
            found.push(Source { path: path_text, text });
        }
    }
}

/// The text with comments and the insides of literals blanked out, line by line as it was.
pub fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = literal_or_comment(rest, out.chars().next_back());
        if taken == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let blanked = rest[..taken].chars().map(|c| if c == '\n' { '\n' } else { ' ' });
            out.extend(blanked);
            rest = &rest[taken..];
        }
    }
    out
}

/// Length in bytes of the comment or literal that `text` starts with; 0 when it starts with neither.
fn literal_or_comment(text: &str, before: Option<char>) -> usize {
    let end = |found: Option<usize>| found.unwrap_or(text.len());
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if text.starts_with("//") {
        return end(text.find('\n'));
    }
    if text.starts_with("/*") {
        return end(text.find("*/").map(|at| at + 2));
    }
    if let Some(inside) = text.strip_prefix('"') {
        return 1 + string_end(inside);
    }
    if let Some(raw) = text.strip_prefix('r').or_else(|| text.strip_prefix("br"))
        && !in_word
    {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = text.len() - raw.len() + hashes + 1;
            return end(text[start..].find(&close).map(|at| start + at + close.len()));
        }
    }
    char_literal(text)
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character literal; a lifetime is none.
fn char_literal(text: &str) -> usize {
    let Some(inner) = text.strip_prefix('\'') else { return 0 };
    if let Some(escape) = inner.strip_prefix('\\') {
        let skip = escape.chars().next().map_or(0, char::len_utf8);
        return escape[skip..].find('\'').map_or(0, |at| 1 + 1 + skip + at + 1);
    }
    let Some(first) = inner.chars().next() else { return 0 };
    if inner[first.len_utf8()..].starts_with('\'') { 1 + first.len_utf8() + 1 } else { 0 }
}

/// The code of a file without the test module at its end.
pub fn without_tests(code: &str) -> &str {
    let tests = code.match_indices("#[cfg(test)]").find(|(at, mark)| {
        let after = code[at + mark.len()..].trim_start();
        after.starts_with("mod ") && after.find('{') < after.find(';')
            || after.starts_with("mod ") && !after.contains(';')
    });
    tests.map_or(code, |(at, _)| &code[..at])
}

/// The number of the line in which byte `at` lies.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where `word` stands in `code` on its own: not as a part of a longer name.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(in_name) && !after.is_some_and(in_name)
    })
}

/// The modules that a file names as `<root>::module`, each with where: `use` groups are read.
pub fn imports<'a>(code: &'a str, root: &'a str) -> Vec<(&'a str, usize)> {
    let mut found = Vec::new();
    for at in words(code, root) {
        let Some(after) = code[at + root.len()..].strip_prefix("::") else { continue };
        let start = code.len() - after.len();
        match after.strip_prefix('{') {
            Some(group) => group_heads(group, start + 1, &mut found),
            None => found.push((head(after), start)),
        }
    }
    found.retain(|(name, _)| name.starts_with(|c: char| c.is_ascii_lowercase()));
    found
}

fn head(path: &str) -> &str {
    let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(path.len());
    &path[..end]
}

/// The first word of each item of a `{…}` group; `start` is where the group begins in the file.
fn group_heads<'a>(group: &'a str, start: usize, found: &mut Vec<(&'a str, usize)>) {
    let (mut depth, mut begins) = (0_usize, true);
    for (at, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => return,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ if depth == 0 && begins && !c.is_whitespace() => {
                found.push((head(&group[at..]), start + at));
                begins = false;
            }
            _ => {}
        }
    }
}
