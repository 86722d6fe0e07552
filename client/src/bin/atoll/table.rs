//! Tables of text: columns as wide as their widest cell, numbers to the right.

/// A table that is filled row by row.
#[derive(Debug)]
pub struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<String>>,
}

/// A column: its title, and where its cells stand.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// Words.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

/// Space between two columns.
const GAP: &str = "  ";

impl Table {
    /// A table without rows.
    pub fn new(columns: &'static [Column]) -> Table {
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row. Missing cells are empty.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The text of the table, one line for each row, no spaces at their ends.
    pub fn text(&self) -> String {
        let titles = self.columns.iter().map(|column| column.title().to_owned()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&titles).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| width(lines.iter().filter_map(|l| l.get(at))))
            .collect();
        let mut text = String::new();
        for line in lines {
            let cells =
                self.columns.iter().zip(&widths).enumerate().map(|(at, (column, width))| {
                    let cell = line.get(at).map_or("", String::as_str);
                    match column {
                        Column::Left(_) => format!("{cell:<width$}"),
                        Column::Right(_) => format!("{cell:>width$}"),
                    }
                });
            text.push_str(cells.collect::<Vec<_>>().join(GAP).trim_end());
            text.push('\n');
        }
        text
    }
}

impl Column {
    fn title(&self) -> &'static str {
        match self {
            Column::Left(title) | Column::Right(title) => title,
        }
    }
}

fn width<'a>(cells: impl Iterator<Item = &'a String>) -> usize {
    cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&[Column::Left("NAME"), Column::Right("N"), Column::Left("X")]);
        table.row(["größe".into(), "7".into(), "a".into()]);
        table.row(["b".into(), "1,000".into(), String::new()]);
        assert_eq!(table.text(), "NAME       N  X\ngröße      7  a\nb      1,000\n");
    }
}
