//! The table that the figures go into: a row for each layer, columns of the parts that were run.

use std::fmt::{self, Write as _};

use http_bench::layers::Layer;

/// One cell for each layer.
type Cells = [String; Layer::ALL.len()];

/// The columns so far, and what is to be said below them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Cells)>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn add(&mut self, title: &'static str, cells: Cells) {
        self.columns.push((title, cells));
    }

    /// A column of what the bare application takes, and of what the others add to it.
    pub(crate) fn add_differences(&mut self, title: &'static str, figures: [f64; Layer::ALL.len()]) {
        let cells = Layer::ALL.map(|layer| {
            let figure = thousands(figures[layer as usize]);
            if layer == Layer::Bare { figure } else { format!("+{figure}") }
        });
        self.add(title, cells);
    }

    /// The same of figures that are each layer's own.
    pub(crate) fn add_beside_bare(&mut self, title: &'static str, figures: [f64; Layer::ALL.len()]) {
        let bare = figures[Layer::Bare as usize];
        let beside = |layer| figures[layer as usize] - if layer == Layer::Bare { 0.0 } else { bare };
        self.add_differences(title, Layer::ALL.map(beside));
    }

    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
    }
}

/// A whole number with its thousands apart.
fn thousands(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && text != "-" {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut head, mut line) = ("| layer | measures |".to_owned(), "|---|---|".to_owned());
        for (title, _) in &self.columns {
            write!(head, " {title} |")?;
            line.push_str("---:|");
        }
        writeln!(f, "{head}\n{line}")?;
        for layer in Layer::ALL {
            write!(f, "| {} | {} |", layer.title(), layer.signals())?;
            for (_, cells) in &self.columns {
                write!(f, " {} |", cells[layer as usize])?;
            }
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "\n{note}")?;
        }
        Ok(())
    }
}
