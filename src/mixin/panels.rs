//! Panels of Grafana's dashboards, laid out in rows that fit a laptop and a large screen alike.
//!
//! No panel is made without a unit and a description.

use serde_json::{Value, json};

/// Grafana's grid is so wide.
const COLUMNS: usize = 24;
/// Two panels stand side by side: 900 pixels each on a screen of 1920, 600 on a laptop's.
const WIDTH: usize = 12;
/// Three rows of panels are seen at once on a screen of 1080 lines, two on a laptop's.
const HEIGHT: usize = 8;

/// What a panel shows.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) description: String,
    /// UCUM, as the instruments have it.
    pub(super) unit: &'static str,
    pub(super) source: Source,
    /// Each query, with what its series are called.
    pub(super) queries: Vec<(String, String)>,
    /// Where a point of it leads: title and URL.
    pub(super) links: Vec<(String, String)>,
}

/// The data source of a panel, by its uid.
#[derive(Clone)]
pub(super) enum Source {
    Prometheus(String),
    Graphite(String),
}

impl Source {
    pub(super) fn reference(&self) -> Value {
        match self {
            Self::Prometheus(uid) => json!({ "type": "prometheus", "uid": uid }),
            Self::Graphite(uid) => json!({ "type": "graphite", "uid": uid }),
        }
    }

    fn target(&self, index: usize, query: &str, legend: &str) -> Value {
        let id = char::from(b'A' + u8::try_from(index % 26).unwrap_or_default()).to_string();
        match self {
            // Exemplars are asked for: each is a dot that leads to its trace, where the service gives some.
            Self::Prometheus(_) => json!({
                "refId": id, "datasource": self.reference(), "editorMode": "code", "expr": query,
                "legendFormat": legend, "range": true, "exemplar": true,
            }),
            Self::Graphite(_) => json!({
                "refId": id, "datasource": self.reference(), "textEditor": true,
                "target": format!("alias({query},'{legend}')"),
            }),
        }
    }
}

/// Rows of panels under headings, flat, as Grafana stores rows that are open.
#[derive(Default)]
pub(super) struct Layout {
    panels: Vec<Value>,
    column: usize,
    line: usize,
}

impl Layout {
    pub(super) fn row(&mut self, title: &str) {
        self.end_line();
        let id = self.panels.len() + 1;
        self.panels.push(json!({
            "type": "row", "id": id, "title": title, "collapsed": false, "panels": [],
            "gridPos": { "x": 0, "y": self.line, "w": COLUMNS, "h": 1 },
        }));
        self.line += 1;
    }

    pub(super) fn panel(&mut self, panel: &Panel) {
        if self.column + WIDTH > COLUMNS {
            self.end_line();
        }
        let id = self.panels.len() + 1;
        let position = json!({ "x": self.column, "y": self.line, "w": WIDTH, "h": HEIGHT });
        self.panels.push(panel.json(id, &position));
        self.column += WIDTH;
    }

    pub(super) fn finish(self) -> Vec<Value> {
        self.panels
    }

    fn end_line(&mut self) {
        if self.column > 0 {
            self.column = 0;
            self.line += HEIGHT;
        }
    }
}

impl Panel {
    fn json(&self, id: usize, position: &Value) -> Value {
        let targets: Vec<_> = self
            .queries
            .iter()
            .enumerate()
            .map(|(index, (query, legend))| self.source.target(index, query, legend))
            .collect();
        let links: Vec<_> = self
            .links
            .iter()
            .map(|(title, url)| json!({ "title": title, "url": url, "targetBlank": true }))
            .collect();
        json!({
            "type": "timeseries", "id": id, "title": self.title, "description": self.description,
            "gridPos": position, "datasource": self.source.reference(), "targets": targets,
            "fieldConfig": {
                "defaults": {
                    "unit": unit(self.unit), "min": 0, "links": links,
                    "color": { "mode": "palette-classic" },
                    "custom": {
                        "drawStyle": "line", "lineWidth": 2, "fillOpacity": 10, "showPoints": "auto",
                        // A gap is a gap: nothing is known of it.
                        "spanNulls": false,
                    },
                },
                "overrides": [],
            },
            "options": {
                "legend": {
                    "showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": ["lastNotNull", "max"],
                },
                "tooltip": { "mode": "multi", "sort": "desc" },
            },
        })
    }
}

/// Grafana's name of a unit.
fn unit(ucum: &str) -> &'static str {
    match ucum {
        "s" => "s",
        "1" => "percentunit",
        "By" => "bytes",
        "{request}/s" => "reqps",
        per_second if per_second.ends_with("/s") => "cps",
        // A number of things.
        _ => "short",
    }
}
