//! What the lines of many points have in common, rendered once: their second, and the bounds of their histograms.

use std::io::Write as _;

use super::exporter::go_shortest;
use crate::{exposition::family::Number, naming::graphite::Style};

/// The second and the bounds of the last point, as text in one style.
#[derive(Debug)]
pub struct Rendered {
    style: Style,
    seconds: Option<u32>,
    end: Vec<u8>,
    bounds: Vec<f64>,
    /// The bounds behind one another, infinity the last, and where each of them ends.
    bounds_text: Vec<u8>,
    bounds_ends: Vec<usize>,
    /// What stands between a count and the next bound, and between a bound and its count, in the lines of one point.
    before_bound: Vec<u8>,
    behind_bound: Vec<u8>,
}

impl Rendered {
    /// Nothing yet.
    #[must_use]
    pub fn new(style: Style) -> Self {
        let mut rendered = Self {
            style,
            seconds: None,
            end: Vec::new(),
            bounds: Vec::new(),
            bounds_text: Vec::new(),
            bounds_ends: Vec::new(),
            before_bound: Vec::new(),
            behind_bound: Vec::new(),
        };
        rendered.render(&[]);
        rendered
    }

    /// The style of all of it.
    #[must_use]
    pub const fn style(&self) -> Style {
        self.style
    }

    pub(super) fn set_seconds(&mut self, seconds: u32) {
        if self.seconds != Some(seconds) {
            self.seconds = Some(seconds);
            self.end.clear();
            // Writing to a vector cannot fail.
            let _ = writeln!(self.end, " {seconds}");
        }
    }

    /// What a line ends with: ` SECONDS\n`.
    pub(super) fn end(&self) -> &[u8] {
        &self.end
    }

    pub(super) fn set_bounds(&mut self, bounds: &[f64]) {
        // Not as numbers: -0 is equal to 0, and has another text.
        let known = self.bounds.iter().map(|bound| bound.to_bits());
        if !known.eq(bounds.iter().map(|bound| bound.to_bits())) {
            self.render(bounds);
        }
    }

    /// The bounds, and infinity: each the first bytes of a text, and how many.
    pub(super) fn bounds(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let starts = [0].iter().chain(&self.bounds_ends);
        starts.zip(&self.bounds_ends).map(|(start, end)| (&self.bounds_text[*start..], end - start))
    }

    /// What the lines of a histogram's buckets have in common: the `beginning` of each, and the `rest` of its path.
    pub(super) fn set_around(&mut self, beginning: [&str; 4], rest: &str) {
        self.before_bound.clear();
        self.before_bound.extend_from_slice(&self.end);
        beginning.iter().for_each(|part| self.before_bound.extend_from_slice(part.as_bytes()));
        self.behind_bound.clear();
        self.behind_bound.extend_from_slice(rest.as_bytes());
        self.behind_bound.push(b' ');
    }

    /// What stands before the bound of a point's first bucket; and before those of the others, with the end of the line
    /// before it.
    pub(super) fn before_bound(&self) -> (&[u8], &[u8]) {
        (&self.before_bound[self.end.len()..], &self.before_bound)
    }

    /// What stands between a bound and the count.
    pub(super) fn behind_bound(&self) -> &[u8] {
        &self.behind_bound
    }

    fn render(&mut self, bounds: &[f64]) {
        self.bounds.clear();
        self.bounds.extend_from_slice(bounds);
        self.bounds_text.clear();
        self.bounds_ends.clear();
        for bound in bounds.iter().chain(&[f64::INFINITY]) {
            push_bound(&mut self.bounds_text, *bound, self.style);
            self.bounds_ends.push(self.bounds_text.len());
        }
    }
}

/// A bound or a quantile: `0.005` and `+Inf` as a tag; as a component of a path `0_005` and `inf`.
pub(super) fn push_bound(text: &mut Vec<u8>, bound: f64, style: Style) {
    let from = text.len();
    // Writing to a vector cannot fail.
    let _ = match style {
        Style::Tagged => write!(text, "{}", Number::Float(bound)),
        Style::Dotted | Style::CarbonExporter if bound == f64::INFINITY => write!(text, "inf"),
        Style::Dotted => write!(text, "{}", Number::Float(bound)),
        Style::CarbonExporter => write!(text, "{}", go_shortest(bound)),
    };
    if style == Style::Dotted {
        text[from..].iter_mut().filter(|byte| **byte == b'.').for_each(|byte| *byte = b'_');
    }
}
