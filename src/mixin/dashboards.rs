//! Four dashboards: the golden signals, pull beside push, Graphite's long-term view, the health of the pipeline.
//!
//! Queries are those of `signals`; what is here lays them out.

use serde_json::{Value, json};

use super::{
    File, TAG,
    config::{Burn, Config},
    panels::{Layout, Panel, Source},
    rules::{QUEUE_FULL, broken_share},
    slug,
};
use crate::signals::{self, Golden, Signal, figures, signals_over, time};

/// Grafana's own range for a rate: at least four scrapes, and no shorter than a pixel.
const RANGE: &str = "$__rate_interval";
/// The schema of Grafana 11 to 13.
const SCHEMA: u32 = 41;

pub(super) fn files(config: &Config) -> Vec<File> {
    let mut dashboards = vec![golden(config), long_term(config), health(config)];
    dashboards.extend(config.jobs.pushed.as_deref().map(|pushed| ways(config, pushed)));
    let file = |dashboard: Dashboard| File {
        path: format!("dashboards/{}.json", dashboard.name),
        text: format!("{:#}\n", dashboard.json(config)),
    };
    dashboards.into_iter().map(file).collect()
}

struct Dashboard {
    /// Its file's name, and the end of its uid.
    name: &'static str,
    title: &'static str,
    description: &'static str,
    /// From when until now.
    from: &'static str,
    refresh: &'static str,
    variables: Vec<Value>,
    layout: Layout,
}

impl Dashboard {
    fn json(self, config: &Config) -> Value {
        let links = &config.links;
        let mut to: Vec<_> = [
            ("Prometheus", &links.prometheus, "/alerts"),
            ("Jaeger", &links.jaeger, "/search"),
            ("Runbook", &links.runbook, "/docs/RUNBOOK.md"),
        ]
        .into_iter()
        .filter(|(_, base, _)| !base.is_empty())
        .map(|(title, base, path)| {
            json!({
                "type": "link", "title": title, "url": format!("{base}{path}"), "icon": "external link", "tooltip": title,
                "tags": [], "asDropdown": false, "includeVars": false, "keepTime": false, "targetBlank": true,
            })
        })
        .collect();
        to.push(json!({
            "type": "dashboards", "title": "Dashboards", "icon": "dashboard", "tooltip": "The service's other dashboards",
            "tags": [slug(&config.service)], "asDropdown": true, "includeVars": false, "keepTime": true,
            "targetBlank": false,
        }));
        json!({
            "uid": format!("{}-{}", slug(&config.service), self.name),
            "title": format!("{}: {}", config.service, self.title),
            "description": self.description,
            "tags": [slug(&config.service), TAG],
            "schemaVersion": SCHEMA, "editable": false, "graphTooltip": 1, "timezone": "browser",
            "time": { "from": self.from, "to": "now" }, "refresh": self.refresh,
            "templating": { "list": self.variables }, "links": to, "panels": self.layout.finish(),
        })
    }
}

/// A variable whose values Prometheus knows: the jobs that have a series.
fn job_variable(config: &Config, name: &str, label: &str, value: &str, series: &str) -> Value {
    let query = format!("label_values({series}, job)");
    json!({
        "type": "query", "name": name, "label": label, "description": "Prometheus's label job",
        "datasource": prometheus(config).reference(),
        "query": { "query": query, "refId": "A" }, "refresh": 2, "sort": 1, "multi": false, "includeAll": false,
        "current": { "text": value, "value": value }, "options": [],
    })
}

/// A variable with values of its own; the first is chosen.
fn custom_variable(name: &str, label: &str, description: &str, values: &[&str]) -> Value {
    let options: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(index, value)| json!({ "text": value, "value": value, "selected": index == 0 }))
        .collect();
    json!({
        "type": "custom", "name": name, "label": label, "description": description, "query": values.join(","),
        "multi": false, "includeAll": false, "allowCustomValue": true,
        "current": { "text": values[0], "value": values[0] }, "options": options,
    })
}

fn prometheus(config: &Config) -> Source {
    Source::Prometheus(config.datasources.prometheus.clone())
}

/// Ways from a point into Jaeger: its own search, and Grafana's view of the same data source, both at the time shown.
fn traces(config: &Config, errors: bool) -> Vec<(String, String)> {
    let service = escaped(&config.service);
    let failed = if errors { "&tags=%7B%22error%22%3A%22true%22%7D" } else { "" };
    let query = json!([{ "refId": "A", "queryType": "search", "service": config.service }]);
    let pane = json!({
        "a": {
            "datasource": config.datasources.jaeger, "queries": query,
            "range": { "from": "FROM", "to": "TO" },
        },
    });
    let pane = escaped(&pane.to_string()).replace("FROM", "${__from}").replace("TO", "${__to}");
    let mut links = vec![(
        "Traces at this time, in Explore".to_owned(),
        format!("/explore?schemaVersion=1&orgId=1&panes={pane}"),
    )];
    if !config.links.jaeger.is_empty() {
        // Jaeger takes microseconds, Grafana has milliseconds.
        let url = format!(
            "{}/search?service={service}&start=${{__from}}000&end=${{__to}}000&limit=20{failed}",
            config.links.jaeger
        );
        let title =
            if errors { "Failed traces at this time, in Jaeger" } else { "Traces at this time, in Jaeger" };
        links.push((title.to_owned(), url));
    }
    links
}

fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

fn golden(config: &Config) -> Dashboard {
    let scope = config.scope("$job", config.interval);
    let signals = signals_over(&scope, RANGE, "$interval");
    let source = prometheus(config);
    let mut layout = Layout::default();
    for kind in [Golden::Latency, Golden::Traffic, Golden::Errors, Golden::Saturation] {
        let text = kind.text();
        layout.row(&format!("{}{}", text[..1].to_uppercase(), &text[1..]));
        for signal in signals.iter().filter(|signal| signal.golden == kind) {
            layout.panel(&Panel {
                title: signal.title.clone(),
                description: signal.meaning.clone(),
                unit: signal.unit,
                source: source.clone(),
                queries: vec![(signal.promql.clone(), signal.name.to_owned())],
                links: traces(config, kind == Golden::Errors),
            });
        }
    }
    // They are recorded for the job that the alerts judge by, whichever is chosen above.
    let job = signals::job(&config.jobs.pulled);
    layout.row("Budgets");
    for (objective, share, what) in [
        ("availability", config.availability, "requests answered 5xx"),
        ("latency", config.latency, "requests later than the objective"),
    ] {
        let burn = |window| format!("{}{{{job}}} / (1 - {share})", broken_share(objective, window));
        layout.panel(&Panel {
            title: format!("How fast the budget of {objective} burns"),
            description: format!(
                "The share of {what}, as a multiple of what the objective of {share} allows: at 1 the budget lasts just as \
                 long as it is meant to. The alerts compare the same figures."
            ),
            unit: "{times}",
            source: source.clone(),
            queries: config
                .page
                .iter()
                .chain(&config.ticket)
                .map(|Burn { long, .. }| (burn(*long), time(*long)))
                .collect(),
            links: traces(config, objective == "availability"),
        });
    }
    layout.panel(&Panel {
        title: "Until the queue before the database is full".to_owned(),
        description: "If it goes on growing as it does. One hour stands for any longer time, and for a queue that does not grow."
            .to_owned(),
        unit: "s",
        source,
        queries: vec![(
            format!("clamp_max({QUEUE_FULL}{{{job}}}, 3600) or on() vector(3600)"),
            "queue".to_owned(),
        )],
        links: traces(config, false),
    });
    Dashboard {
        name: "signals",
        title: "four golden signals",
        description: "Latency, traffic, errors and saturation of the service, by what is pulled or what is pushed: choose \
                      the job. A point leads to the traces of its time.",
        from: "now-1h",
        refresh: "10s",
        variables: vec![job_variable(
            config,
            "job",
            "Job",
            &config.jobs.pulled,
            "http_server_request_duration_seconds_count",
        )],
        layout,
    }
}

fn ways(config: &Config, pushed: &str) -> Dashboard {
    let source = prometheus(config);
    let of = |job| signals_over(&config.scope(job, config.interval), RANGE, "$interval");
    let mut layout = Layout::default();
    layout.row("How fresh");
    for figure in figures::ways("$job", "$pushed") {
        layout.panel(&drawn(figure, &source));
    }
    layout.row("The same signals by both ways");
    let (by_pull, by_push) = (of("$job"), of("$pushed"));
    for (pulled, pushed) in by_pull.into_iter().zip(by_push) {
        layout.panel(&Panel {
            title: pulled.title,
            description: format!("{} The two lines are to be one, but for their age.", pulled.meaning),
            unit: pulled.unit,
            source: source.clone(),
            queries: vec![(pulled.promql, "pulled".to_owned()), (pushed.promql, "pushed".to_owned())],
            links: Vec::new(),
        });
    }
    let series = "http_server_request_duration_seconds_count";
    Dashboard {
        name: "ways",
        title: "pull beside push",
        description: "The same signals by way of a scrape of the service and by way of what it pushed.",
        from: "now-30m",
        refresh: "10s",
        variables: vec![
            job_variable(config, "job", "Pulled job", &config.jobs.pulled, series),
            job_variable(config, "pushed", "Pushed job", pushed, series),
        ],
        layout,
    }
}

fn long_term(config: &Config) -> Dashboard {
    let source = Source::Graphite(config.datasources.graphite.clone());
    let mut scope = config.scope("", config.interval);
    "$service".clone_into(&mut scope.service);
    let mut layout = Layout::default();
    let in_graphite = |signal: Signal| Some((signal.graphite.clone()?, signal));
    for (target, signal) in signals_over(&scope, RANGE, "$interval").into_iter().filter_map(in_graphite) {
        layout.panel(&Panel {
            title: signal.title,
            description: format!("{} One value for each interval; the last one still fills.", signal.meaning),
            unit: signal.unit,
            source: source.clone(),
            queries: vec![(target, signal.name.to_owned())],
            links: Vec::new(),
        });
    }
    Dashboard {
        name: "long-term",
        title: "long-term view, from Graphite",
        description: "The golden signals as Graphite keeps them for 90 days. Graphite has no quantile of buckets, so latency \
                      is a share. Choose an interval that is no finer than what is kept: 10min beyond the last 7 days.",
        from: "now-24h",
        refresh: "1m",
        variables: vec![
            custom_variable("service", "Service", "Graphite's tag service.name", &[&config.service]),
            custom_variable(
                "interval",
                "Interval",
                "The time that each point stands for",
                &["1min", "10min", "1h", "1d"],
            ),
        ],
        layout,
    }
}

/// What gives the figures of a job over a range.
type Figures = fn(&str, &str) -> Vec<figures::Figure>;

fn health(config: &Config) -> Dashboard {
    let source = prometheus(config);
    let (mut layout, mut variables) = (Layout::default(), Vec::new());
    let parts: [(&str, &str, Option<&String>, &str, Figures); 3] = [
        (
            "collector",
            "Collector",
            config.jobs.collector.as_ref(),
            "otelcol_exporter_queue_capacity",
            figures::collector,
        ),
        (
            "bridge",
            "Bridge to Graphite",
            config.jobs.bridge.as_ref(),
            "pushpull_collector_series",
            figures::bridge,
        ),
        (
            "prometheus",
            "Prometheus",
            config.jobs.prometheus.as_ref(),
            "prometheus_build_info",
            figures::prometheus,
        ),
    ];
    for (name, title, job, series, figures) in parts {
        let Some(job) = job else { continue };
        variables.push(job_variable(config, name, title, job, series));
        layout.row(title);
        for figure in figures(&format!("${name}"), RANGE) {
            layout.panel(&drawn(figure, &source));
        }
    }
    Dashboard {
        name: "pipeline",
        title: "health of the pipeline",
        description: "Whether what carries the telemetry is well: the Collector, the bridge to Graphite, Prometheus.",
        from: "now-1h",
        refresh: "30s",
        variables,
        layout,
    }
}

fn drawn(figure: figures::Figure, source: &Source) -> Panel {
    Panel {
        title: figure.title.to_owned(),
        description: figure.meaning.to_owned(),
        unit: figure.unit,
        source: source.clone(),
        queries: figure.queries.into_iter().map(|(query, legend)| (query, legend.to_owned())).collect(),
        links: Vec::new(),
    }
}
