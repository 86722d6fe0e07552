//! What changes in a file, for a reader: one block of lines out, one in.
//!
//! An edit of ours is one block, so the lines that are alike at both ends are all that has to be
//! found; a general difference of texts would say the same.

use std::{fmt::Write as _, path::Path};

/// Lines around the block that are shown.
const CONTEXT: usize = 3;

/// The change from `before` (`None`: no file) to `after`.
pub fn of(path: &Path, before: Option<&[u8]>, after: &[u8]) -> String {
    if before == Some(after) {
        return String::new();
    }
    let old_text = String::from_utf8_lossy(before.unwrap_or_default());
    let new_text = String::from_utf8_lossy(after);
    let (old, new): (Vec<&str>, Vec<&str>) =
        (old_text.lines().collect(), new_text.lines().collect());
    let front = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let most = old.len().min(new.len()) - front;
    let back = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(most)
        .take_while(|(old, new)| old == new)
        .count();
    let from = front.saturating_sub(CONTEXT);
    let mut text = String::new();
    let name = path.display();
    let old_name = if before.is_some() { format!("{name}") } else { "/dev/null".to_owned() };
    let _ = writeln!(text, "--- {old_name}\n+++ {name}");
    let tail = &old[old.len() - back..];
    let tail = &tail[..tail.len().min(CONTEXT)];
    let length = |lines: &[&str]| lines.len() - back - from + tail.len();
    let start = |lines: &[&str]| if lines.is_empty() { 0 } else { from + 1 };
    let _ =
        writeln!(text, "@@ -{},{} +{},{} @@", start(&old), length(&old), start(&new), length(&new));
    let mut lines = |mark: char, lines: &[&str]| {
        for line in lines {
            let _ = writeln!(text, "{mark}{line}");
        }
    };
    lines(' ', &old[from..front]);
    lines('-', &old[front..old.len() - back]);
    lines('+', &new[front..new.len() - back]);
    lines(' ', tail);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_block_with_its_neighbours() {
        let show = |before: Option<&str>, after: &str| {
            of(Path::new("/f"), before.map(str::as_bytes), after.as_bytes())
        };
        assert_eq!(
            show(Some("1\n2\n3\n4\n5\n6\n7\n8\n"), "1\n2\n3\n4\nx\n5\n6\n7\n8\n"),
            "--- /f\n+++ /f\n@@ -2,6 +2,7 @@\n 2\n 3\n 4\n+x\n 5\n 6\n 7\n"
        );
        assert_eq!(show(None, "a\n"), "--- /dev/null\n+++ /f\n@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(show(Some("a\na\n"), "a\n"), "--- /f\n+++ /f\n@@ -1,2 +1,1 @@\n a\n-a\n");
        assert_eq!(show(Some("same"), "same"), "");
    }
}
