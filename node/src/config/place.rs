//! Where a value came from: the place that an operator has to edit.

use std::{fmt, path::PathBuf};

/// The origin of a value or of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody said anything.
    Default,
    /// A place in the file. Line and column count from 1; the column counts characters.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        variable: String,
    },
}

impl Place {
    /// The place of byte `offset` of `text`, which is the content of `path`.
    pub fn in_text(path: impl Into<PathBuf>, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place::File {
            path: path.into(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Default => f.write_str("default"),
            Place::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Place::Environment { variable } => write!(f, "environment {variable}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let at = |offset| Place::in_text("f", "a = 1\nü = 2\n", offset).to_string();
        assert_eq!(at(0), "f:1:1");
        assert_eq!(at(4), "f:1:5");
        assert_eq!(at(6), "f:2:1");
        assert_eq!(at("a = 1\nü".len()), "f:2:2");
        assert_eq!(at(999), "f:3:1");
    }
}
