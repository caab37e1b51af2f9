//! Tables that fit the terminal: one line a row, long cells cut. Without a terminal nothing is cut.

use clap::builder::styling::Style;
use comfy_table::{ContentArrangement, Row, Table as Comfy, TableStyle};

use super::output::{BOLD, styled};
use super::text;

#[derive(Debug)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// The column whose cells are coloured, and each row's colour.
    painted: usize,
    styles: Vec<Style>,
}

impl Table {
    pub fn new(header: &[&'static str], painted: usize) -> Table {
        Table { header: header.to_vec(), rows: Vec::new(), painted, styles: Vec::new() }
    }

    /// Cleans every cell.
    pub fn row(&mut self, style: Style, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| text::line(cell)).collect());
        self.styles.push(style);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn lines(&self, width: Option<u16>) -> Vec<String> {
        let mut table = Comfy::new();
        table.load_style(TableStyle::new()).set_truncation_indicator("…").set_header(one_line(self.header.clone()));
        if let Some(width) = width {
            table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
        }
        for cells in &self.rows {
            table.add_row(one_line(cells.clone()));
        }
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        self.paint(&mut lines);
        lines
    }

    /// comfy-table counts escapes as text, so colour comes after it: where the header's word stands.
    fn paint(&self, lines: &mut [String]) {
        let Some((header, body)) = lines.split_first_mut() else { return };
        let starts = self.header.iter().map(|title| header.find(title)).collect::<Option<Vec<usize>>>();
        // On a very narrow terminal the header's words are cut too; then nothing is painted.
        if let Some(starts) = starts {
            let start = starts[self.painted];
            for (line, style) in body.iter_mut().zip(&self.styles) {
                paint_cell(line, start, starts.get(self.painted + 1).copied(), *style);
            }
        }
        *header = styled(BOLD, &header);
    }
}

fn one_line(cells: impl Into<Row>) -> Row {
    let mut row = cells.into();
    row.max_height(1);
    row
}

fn paint_cell(line: &mut String, start: usize, end: Option<usize>, style: Style) {
    let end = end.unwrap_or(line.len()).min(line.len());
    // Beside wide letters columns are no bytes: such a line stays plain.
    let Some(cell) = line.get(start..end).filter(|_| line.is_char_boundary(start) && line[..start].is_ascii()) else {
        return;
    };
    let cell = cell.trim_end();
    let painted = styled(style, cell);
    let end = start + cell.len();
    line.replace_range(start..end, &painted);
}
