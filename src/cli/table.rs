//! Tables that fit the terminal: one line a row, long cells cut. Without a terminal nothing is cut.

use clap::builder::styling::Style;
use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table as Comfy, TableStyle};

use super::output::{BOLD, styled};
use super::text;

#[derive(Debug)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// The column whose cells are coloured, and each row's colour.
    painted: usize,
    styles: Vec<Style>,
    /// Columns that go, in this order, when the last one would have no room.
    dispensable: Vec<&'static str>,
}

/// Between columns.
const GAP: u16 = 2;
/// The last column says most; it gets this much before others go.
const ROOM: u16 = 30;

impl Table {
    pub fn new(header: &[&'static str], painted: usize) -> Table {
        Table { header: header.to_vec(), rows: Vec::new(), painted, styles: Vec::new(), dispensable: Vec::new() }
    }

    pub fn dispensable(mut self, titles: &[&'static str]) -> Table {
        self.dispensable = titles.to_vec();
        self
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
        for cells in &self.rows {
            table.add_row(one_line(cells.clone()));
        }
        let last = self.header.len() - 1;
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index == last { 0 } else { GAP }));
        }
        let shown = match width {
            Some(width) => self.fit(&mut table, width),
            None => (0..self.header.len()).collect(),
        };
        let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        self.paint(&mut lines, &shown);
        lines
    }

    /// Hides what can be done without, keeps the rest whole, and leaves what is left of the line to the last column.
    fn fit(&self, table: &mut Comfy, width: u16) -> Vec<usize> {
        table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
        let natural = table.column_max_content_widths();
        let last = natural.len() - 1;
        let mut shown: Vec<usize> = (0..=last).collect();
        let taken = |shown: &[usize]| -> u16 { shown.iter().filter(|i| **i != last).map(|i| natural[*i] + GAP).sum() };
        for title in &self.dispensable {
            if taken(&shown) + natural[last].min(ROOM) > width {
                shown.retain(|index| self.header[*index] != *title);
            }
        }
        let fits = taken(&shown) + 1 < width;
        for (index, column) in table.column_iter_mut().enumerate() {
            if !shown.contains(&index) {
                column.set_constraint(ColumnConstraint::Hidden);
            } else if fits && index != last {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        shown
    }

    /// comfy-table counts escapes as text, so colour comes after it: where the header's word stands.
    fn paint(&self, lines: &mut [String], shown: &[usize]) {
        let Some((header, body)) = lines.split_first_mut() else { return };
        let starts = shown.iter().map(|index| header.find(self.header[*index])).collect::<Option<Vec<usize>>>();
        // On a very narrow terminal the header's words are cut too; then nothing is painted.
        if let Some((starts, at)) = starts.zip(shown.iter().position(|index| *index == self.painted)) {
            for (line, style) in body.iter_mut().zip(&self.styles) {
                paint_cell(line, starts[at], starts.get(at + 1).copied(), *style);
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
