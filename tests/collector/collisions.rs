//! Series that are different inside and come to one name with one label set outside: which is shown, what is said of
//! the others, and what distinguishes them.

use std::time::{Instant, SystemTime};

use opentelemetry::{KeyValue as Attribute, metrics::MeterProvider as _};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any},
    metrics::v1::{DataPointFlags, Metric, ResourceMetrics, ScopeMetrics, metric::Data},
    resource::v1::Resource,
};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prost::Message as _;
use pushpull::{
    collector::{
        series::{STALE_AFTER, Table},
        view::Source as _,
        wire::Metrics,
    },
    exposition::{parse, sdk, text},
};

use crate::{shared_reader::SharedReader, support::*};

/// Metrics of a service from one scope.
fn scoped(
    scope: InstrumentationScope,
    schema_url: &str,
    metrics: Vec<Metric>,
) -> ExportMetricsServiceRequest {
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, schema_url: schema_url.to_owned() }];
    let resource = Resource { attributes: attributes(&[("service.name", "shop")]), ..Resource::default() };
    let of_one = ResourceMetrics { resource: Some(resource), scope_metrics, ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![of_one] }
}

fn named(name: &str) -> InstrumentationScope {
    InstrumentationScope { name: name.to_owned(), ..InstrumentationScope::default() }
}

fn hits(time: u64, value: i64) -> Vec<Metric> {
    vec![counter("hits", CUMULATIVE, vec![int(&[], time, value)])]
}

/// How many series are hidden for a reason.
fn hidden(scrape: &Scrape, reason: &str) -> Option<f64> {
    scrape.samples.get(&format!("pushpull_collector_hidden_series{{reason={reason}}}")).copied()
}

#[tokio::test]
async fn scopes_are_labels_unless_they_are_switched_off() {
    let scope = || InstrumentationScope {
        version: "1.2".to_owned(),
        attributes: attributes(&[("team", "a"), ("empty", "")]),
        ..named("checkout")
    };
    let collector = Running::start("");
    collector.send(&scoped(scope(), "https://example.org/1", hits(T, 3))).await;
    collector.send(&scoped(named("cart"), "", hits(T, 4))).await;
    let shown = "hits_total{job=shop,otel_scope_name=checkout,otel_scope_schema_url=https://example.org/1,\
                 otel_scope_team=a,otel_scope_version=1.2}";
    let scrape = collector.scrape().await;
    assert_eq!(scrape.samples.get(shown), Some(&3.0), "{:?}", scrape.of_senders());
    assert_eq!(scrape.samples["hits_total{job=shop,otel_scope_name=cart}"], 4.0);
    assert_eq!(hidden(&scrape, "scope"), None);

    let off = Running::start("--exposition-scope off");
    off.send(&scoped(scope(), "", hits(T, 3))).await;
    assert_eq!(off.scrape().await.samples["hits_total{job=shop}"], 3.0);
}

#[tokio::test]
async fn a_points_attribute_makes_way_for_the_labels_of_its_scope_and_resource() {
    let collector = Running::start("--exposition-labels host.name,job");
    let own = [("otel.scope.name", "mine"), ("host_name", "mine"), ("job", "mine")];
    let resource = [("service.name", "shop"), ("host.name", "h1"), ("job", "its")];
    let mut request = request(&resource, vec![gauge("level", vec![int(&own, T, 1)])]);
    request.resource_metrics[0].scope_metrics[0].scope = Some(named("lib"));
    assert_eq!(collector.send(&request).await.0, 0);
    let scrape = collector.scrape().await;
    let shown = "level{exported_host_name=mine,exported_job=its;mine,exported_otel_scope_name=mine,host_name=h1,\
                 job=shop,otel_scope_name=lib}";
    assert_eq!(scrape.samples.get(shown), Some(&1.0), "{:?}", scrape.of_senders());
}

#[tokio::test]
async fn of_two_scopes_the_first_is_shown_whoever_wrote_last() {
    let (logs, _guard) = Logs::capture();
    let collector = Running::start("--exposition-scope off");
    for time in 0..4 {
        for (scope, value) in [("b", 50), ("a", 1000)] {
            let request = scoped(named(scope), "", hits(T + time, value + i64::try_from(time).unwrap()));
            assert_eq!(collector.send(&request).await.0, 0);
        }
        let scrape = collector.scrape().await;
        assert_eq!(scrape.samples["hits_total{job=shop}"], 1000.0 + time as f64);
        assert_eq!(hidden(&scrape, "scope"), Some(1.0));
    }
    let lines = logs.lines_with("hits_total");
    assert!(lines.len() == 1 && lines[0].contains("set --exposition-scope on"), "{lines:?}");
    let named_there = collector.pipeline.hidden();
    assert_eq!((named_there.len(), named_there[0].series, named_there[0].reason), (1, 1, "scope"));
    assert!(named_there[0].remedy.contains("\"a\" and \"b\""), "{named_there:?}");

    // Only when the first one ends the other takes its place.
    let mut end = int(&[], T + 9, 0);
    (end.value, end.flags) = (None, DataPointFlags::NoRecordedValueMask as u32);
    let ended = vec![counter("hits", CUMULATIVE, vec![end])];
    collector.send(&scoped(named("a"), "", ended)).await;
    let scrape = collector.scrape().await;
    assert_eq!((scrape.samples["hits_total{job=shop}"], hidden(&scrape, "scope")), (53.0, None));
}

#[tokio::test]
async fn the_label_that_the_remedy_names_distinguishes_hosts() {
    let (logs, _guard) = Logs::capture();
    let hosts = [("h10", "7"), ("h2", "8"), ("h1", "9")];
    let send = async |collector: &Running| {
        for (at, (host, pid)) in (0..).zip(hosts) {
            let resource = [("host.name", host), ("os.type", "linux"), ("process.pid", pid)];
            assert_eq!(collector.send(&request(&resource, hits(T, at))).await.0, 0);
        }
    };
    let one = Running::start("");
    send(&one).await;
    let scrape = one.scrape().await;
    assert_eq!(scrape.samples["hits_total{}"], 2.0, "h1 sorts first");
    assert_eq!(hidden(&scrape, "resource"), Some(2.0));
    let lines = logs.lines_with("hits_total");
    assert!(lines.len() == 1 && lines[0].contains("--exposition-labels host.name, or"), "{lines:?}");

    let apart = Running::start("--exposition-labels host.name");
    send(&apart).await;
    let scrape = apart.scrape().await;
    for (at, (host, _)) in (0..).zip(hosts) {
        assert_eq!(scrape.samples[&format!("hits_total{{host_name={host}}}")], f64::from(at));
    }
    assert_eq!(hidden(&scrape, "resource"), None);
}

#[tokio::test]
async fn a_remedy_adds_to_the_labels_that_are_set() {
    let collector = Running::start("--exposition-labels region");
    for pod in ["p1", "p2"] {
        let resource =
            [("service.name", "shop"), ("region", "eu"), ("k8s.pod.name", pod), ("process.pid", pod)];
        collector.send(&request(&resource, hits(T, 1))).await;
    }
    let remedy = collector.pipeline.hidden().remove(0).remedy;
    assert!(remedy.contains("set --exposition-labels region,k8s.pod.name"), "{remedy}");
}

#[tokio::test]
async fn names_attributes_and_types_that_come_to_one_are_hidden_by_reason() {
    let collector = Running::start("");
    collector
        .take(vec![
            gauge("queue_size", vec![int(&[], T + 5, 20)]),
            gauge("queue.size", vec![int(&[], T, 10)]),
            gauge("keys", vec![int(&[("a_b", "1")], T + 5, 2), int(&[("a.b", "1")], T, 1)]),
            gauge("blank", vec![int(&[], T, 1), int(&[("k", "")], T + 5, 2)]),
            gauge("unit", vec![int(&[], T, 1)]),
            Metric { unit: "{thing}".to_owned(), ..gauge("unit", vec![int(&[], T, 2)]) },
        ])
        .await;
    let other = [("service.name", "bakery"), ("service.instance.id", "x")];
    let wait = histogram("queue.size", CUMULATIVE, vec![buckets(T, &[1.0], &[1, 2], 4.0)]);
    collector.send(&request(&other, vec![wait])).await;
    let scrape = collector.scrape().await;
    for (sample, value) in [("queue_size", 10.0), ("keys{a_b=1}", 1.0), ("blank", 1.0), ("unit", 1.0)] {
        assert_eq!(scrape.shop(sample), Some(value), "{sample} in {:?}", scrape.of_senders());
    }
    let counts = ["name", "attributes", "type"].map(|reason| hidden(&scrape, reason));
    assert_eq!(counts, [Some(2.0), Some(2.0), Some(1.0)]);
    let said = |family: &str, reason: &str| {
        let named = collector.pipeline.hidden().into_iter();
        let found = named.filter(|hidden| hidden.family == family && hidden.reason == reason);
        found.map(|hidden| hidden.remedy).collect::<Vec<_>>().join("|")
    };
    for (family, reason, part) in [
        ("queue_size", "name", "the names \"queue.size\" and \"queue_size\" come to one"),
        ("queue_size", "type", "a histogram \"queue.size\" of the service \"bakery\""),
        ("keys", "attributes", "\"a.b\" and \"a_b\" come to one label"),
        ("blank", "attributes", "the attribute \"k\" is empty"),
        ("unit", "name", "the units \"\" and \"{thing}\" of \"unit\""),
    ] {
        assert!(said(family, reason).contains(part), "{family}: {}", said(family, reason));
    }
}

#[tokio::test]
async fn statsd_names_that_come_to_one_are_hidden_and_have_no_scope() {
    let collector = Running::start("--statsd-flush 20ms");
    let sender = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.send_to(b"st.hits:2|c\nst-hits:3|c", collector.statsd).await.unwrap();
    let scrape = eventually("both series", async || {
        let scrape = collector.scrape().await;
        hidden(&scrape, "name").is_some().then_some(scrape)
    })
    .await;
    assert_eq!(scrape.samples["st_hits_total{}"], 3.0, "{:?}", scrape.of_senders());
}

#[tokio::test]
async fn a_target_has_one_info_the_newest() {
    let collector = Running::start("");
    for (pid, time) in [("1", T), ("2", T + 1), ("1", T + 2)] {
        let resource = [("service.name", "shop"), ("service.instance.id", "one"), ("process.pid", pid)];
        collector.send(&request(&resource, hits(time, 1))).await;
    }
    let infos: Vec<_> =
        collector.scrape().await.samples.into_keys().filter(|key| key.contains("_info")).collect();
    assert_eq!(infos, ["target_info{instance=one,job=shop,process_pid=2}"]);
}

#[tokio::test]
async fn the_help_is_the_first_description_that_is_not_empty() {
    let collector = Running::start("--exposition-scope off");
    for (scope, description) in [("c", "Third"), ("a", ""), ("b", "Second")] {
        let mut metrics = hits(T, 1);
        metrics[0].description = description.to_owned();
        collector.send(&scoped(named(scope), "", metrics)).await;
    }
    assert_eq!(collector.scrape().await.helps["hits_total"], "Second");
}

#[tokio::test]
async fn keys_in_any_script_are_labels_of_their_own() {
    let keys = ["größe", "名前", "ключ", "é", "__private", "__name__", "…", "_", "a.b", "2nd"];
    let collector = Running::start("");
    let points = (0..).zip(keys).map(|(at, key)| int(&[(key, "v")], T, at)).collect();
    collector
        .take(vec![gauge("level", points), gauge("joined", vec![int(&[("a.b", "x"), ("a_b", "y")], T, 1)])])
        .await;
    let (_, page) = collector.get("/metrics").await;
    let samples = parse::lines(&page).filter_map(|line| match line.unwrap() {
        parse::Line::Sample(sample) => Some(sample),
        _ => None,
    });
    let labels: Vec<String> = samples
        .filter(|sample| sample.name == "level")
        .map(|sample| {
            sample.labels.iter().map(|(key, _)| key.clone()).find(|key| key != "job" && key != "instance")
        })
        .map(Option::unwrap)
        .collect();
    assert_eq!(labels.len(), keys.len(), "{page}");
    assert!(labels.iter().all(|label| !label.starts_with("__")), "{labels:?}");
    let scrape = collector.scrape().await;
    assert_eq!(scrape.shop("joined{a_b=x;y}"), Some(1.0));
    assert_eq!(scrape.samples["pushpull_collector_joined_series{}"], 1.0);
}

#[tokio::test]
async fn joined_labels_are_counted_wherever_they_are_from() {
    let scope = |own| InstrumentationScope { attributes: attributes(own), ..named("s") };
    let collector = Running::start("--exposition-labels host.name,host_name");
    let joined = async |name: &str| {
        let scrape = collector.scrape().await;
        let shown: Vec<_> = scrape.of_senders().into_keys().filter(|key| key.starts_with(name)).collect();
        (shown.join("|"), scrape.samples["pushpull_collector_joined_series{}"])
    };
    let level = |name: &str| vec![gauge(name, vec![int(&[], T, 1)])];
    // What is called as a field of the scope is dropped.
    let fields = [("name", "x"), ("version", "x"), ("schema_url", "x")];
    collector.send(&scoped(scope(&fields), "", level("fields"))).await;
    assert_eq!(joined("fields").await, ("fields{job=shop,otel_scope_name=s}".to_owned(), 0.0));
    collector.send(&scoped(scope(&[("a.b", "1"), ("a_b", "2")]), "", level("scope"))).await;
    let expected = "scope{job=shop,otel_scope_a_b=1;2,otel_scope_name=s}";
    assert_eq!(joined("scope").await, (expected.to_owned(), 1.0));
    collector.send(&request(&[("host.name", "1"), ("host_name", "2")], level("resource"))).await;
    assert_eq!(joined("resource").await, ("resource{host_name=1;2}".to_owned(), 2.0));
    // A target, and nothing of its series.
    let region = [("service.name", "eu"), ("cloud.region", "1"), ("cloud_region", "2")];
    collector.send(&request(&region, level("target"))).await;
    let expected = "target_info{cloud_region=1;2,job=eu}|target_info{job=shop}|target{job=eu}";
    assert_eq!(joined("target").await, (expected.to_owned(), 3.0));
}

#[tokio::test]
async fn a_scopes_keys_in_any_script_are_labels_of_their_own() {
    let collector = Running::start("");
    for (key, value) in [("日", 1), ("本", 2), ("_", 3)] {
        let scope = InstrumentationScope { attributes: attributes(&[(key, "v")]), ..named("") };
        collector.send(&scoped(scope, "", hits(T, value))).await;
    }
    let scrape = collector.scrape().await;
    for (hash, value) in [("33753f1b7491475d", 1.0), ("3355581b74750e49", 2.0), ("af64124c8602484e", 3.0)] {
        let sample = format!("hits_total{{job=shop,otel_scope_key_{hash}=v}}");
        assert_eq!(scrape.samples.get(&sample), Some(&value), "{sample} in {:?}", scrape.of_senders());
    }
    assert_eq!(scrape.samples["pushpull_collector_joined_series{}"], 0.0);
}

#[tokio::test]
async fn all_names_that_come_to_one_are_named_and_so_is_a_reserved_one() {
    let (logs, _guard) = Logs::capture();
    let collector = Running::start("");
    let names = ["st.hits", "st-hits", "st_hits", "target.info", "target_info"];
    collector.take(names.map(|name| gauge(name, vec![int(&[], T, 1)])).to_vec()).await;
    let scrape = collector.scrape().await;
    assert_eq!((hidden(&scrape, "name"), hidden(&scrape, "reserved")), (Some(3.0), Some(1.0)));
    let all = r#"the names "st-hits", "st.hits" and "st_hits" come to one: give all but one another name"#;
    let reserved = "target_info is reserved: give the metric another name";
    assert_eq!((logs.lines_with(all).len(), logs.lines_with(reserved).len()), (1, 1));
}

#[tokio::test]
async fn each_cause_is_logged_with_a_remedy_for_all_of_it_before_anybody_looks() {
    let (logs, _guard) = Logs::capture();
    let collector = Running::start("");
    // Those that differ in the first key alone, in the second, and in the third.
    let hosts = [("a", "1", "x"), ("b", "1", "x"), ("b", "2", "x"), ("b", "2", "y")];
    for (host, pod, zone) in hosts {
        let resource = [("service.name", "shop"), ("host.name", host), ("k8s.pod.name", pod), ("zone", zone)];
        collector.send(&request(&resource, hits(T, 1))).await;
    }
    collector.pipeline.sweep();
    let advice = "set --exposition-labels host.name,k8s.pod.name,zone, or";
    assert_eq!(logs.lines_with(advice).len(), 1, "{:?}", logs.lines_with("hits"));
    collector.pipeline.sweep();
    assert_eq!(collector.pipeline.hidden().len(), 1);
    assert_eq!(logs.lines_with("does not show all").len(), 1, "once");
    let collector = Running::start("--exposition-labels host.name,k8s.pod.name,zone");
    for (host, pod, zone) in hosts {
        let resource = [("service.name", "shop"), ("host.name", host), ("k8s.pod.name", pod), ("zone", zone)];
        collector.send(&request(&resource, hits(T, 1))).await;
    }
    assert_eq!(hidden(&collector.scrape().await, "resource"), None, "the remedy is one");
}

#[tokio::test]
async fn values_of_two_types_with_one_text_are_two_series() {
    let (logs, _guard) = Logs::capture();
    let collector = Running::start("");
    let typed = |value: Any, total: i64| {
        let mut metrics = hits(T, total);
        if let Some(Data::Sum(sum)) = &mut metrics[0].data {
            let value = Some(AnyValue { value: Some(value) });
            sum.data_points[0].attributes =
                vec![KeyValue { key: "k".to_owned(), value, ..KeyValue::default() }];
        }
        metrics
    };
    for turn in 0..3 {
        collector.take(typed(Any::StringValue("1".to_owned()), 1000 + turn)).await;
        collector.take(typed(Any::IntValue(1), 50 + turn)).await;
        let scrape = collector.scrape().await;
        let shown = scrape.shop("hits_total{k=1}");
        assert_eq!(shown, Some(1000.0 + turn as f64), "the one that sorts first, each time");
        assert_eq!(hidden(&scrape, "attributes"), Some(1.0));
    }
    assert_eq!(logs.lines_with("as values of two types").len(), 1);
    // Of a resource too.
    for (value, total) in [(Any::StringValue("1".to_owned()), 7), (Any::IntValue(1), 8)] {
        let mut request = request(SHOP, vec![counter("sold", CUMULATIVE, vec![int(&[], T, total)])]);
        let value = Some(AnyValue { value: Some(value) });
        let resource = request.resource_metrics[0].resource.as_mut().unwrap();
        resource.attributes.push(KeyValue { key: "n".to_owned(), value, ..KeyValue::default() });
        collector.send(&request).await;
    }
    assert_eq!(hidden(&collector.scrape().await, "resource"), Some(1.0));
}

/// Both views of one SDK, whose scopes and names come to the same, choose the same series.
#[tokio::test]
async fn pull_and_push_choose_alike() {
    let reader = SharedReader::new(prometheus::Registry::new());
    let resource = opentelemetry_sdk::Resource::builder_empty().build();
    let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader.clone()).build();
    for (scope, value) in [("lib.c", 5), ("lib.a", 1), ("lib.b", 9)] {
        let meter = provider.meter(Box::leak(scope.to_owned().into_boxed_str()));
        meter
            .u64_counter("calls")
            .with_description(if scope == "lib.a" { "" } else { scope })
            .build()
            .add(value, &[]);
        meter.u64_counter("queue.size").build().add(10 * value, &[]);
        meter.u64_counter("queue_size").build().add(100 * value, &[]);
        let keys = meter.u64_counter("keys").build();
        keys.add(7 * value, &[Attribute::new("a_b", 1e21)]);
        keys.add(8 * value, &[Attribute::new("a.b", 1e21)]);
    }
    let wait = provider.meter("z").f64_histogram("queue").with_unit("size").build();
    wait.record(1.0, &[]);
    provider.meter("z").u64_gauge("queue.size.count").build().record(3, &[]);
    let collected = reader.collected();
    let exposed = sdk::exposed(&collected, false);
    let hidden_there = exposed.hidden.iter().map(|hidden| (hidden.family.as_str(), hidden.series));
    let expected = [
        ("calls_total", 2),
        ("keys_total", 4),
        ("keys_total", 1),
        ("queue_size_total", 4),
        ("queue_size_total", 1),
        ("queue_size_count", 1),
    ];
    assert_eq!(hidden_there.collect::<Vec<_>>(), expected);
    assert!(exposed.hidden[0].remedy.contains("set --exposition-scope on"), "{:?}", exposed.hidden);
    let pulled = Scrape::of(&text::encode(&exposed.families));

    let collector = Running::start("--exposition-scope off");
    assert_eq!(collector.send(&ExportMetricsServiceRequest::from(&collected)).await, (0, String::new()));
    let pushed = collector.scrape().await;
    assert_eq!(pulled.of_senders(), pushed.of_senders());
    let scoped = Running::start("");
    assert_eq!(scoped.send(&ExportMetricsServiceRequest::from(&collected)).await, (0, String::new()));
    let with_scopes = Scrape::of(&text::encode(&sdk::families_with_scopes(&collected)));
    assert_eq!(with_scopes.of_senders(), scoped.scrape().await.of_senders());
    assert_eq!(with_scopes.samples["calls_total{otel_scope_name=lib.c}"], 5.0);
    assert_eq!(pulled.samples["calls_total{}"], 1.0);
    assert_eq!(pulled.samples["queue_size_total{}"], 10.0);
    assert_eq!(pulled.samples["keys_total{a_b=1e+21}"], 8.0);
    assert_eq!(
        (&pulled.helps["calls_total"], &pushed.helps["calls_total"]),
        (&"lib.b".to_owned(), &"lib.b".to_owned())
    );
}

#[test]
fn the_first_series_makes_room_once_it_is_silent_for_long() {
    let mut table = Table::new(10, &[1.0]);
    let start = Instant::now();
    let take = |table: &mut Table, scope, value, now| {
        let wire = scoped(named(scope), "", hits(T, value)).encode_to_vec();
        let request = Metrics::read(&wire, &mut |_| true).unwrap();
        let mut plan = table.plan(&request, now, SystemTime::now());
        let _ = table.apply(&request, &mut plan, None, SystemTime::now());
    };
    let shown =
        |table: &Table| Scrape::of(&text::encode(&table.families().families)).samples["hits_total{job=shop}"];
    let later = start + STALE_AFTER / 2;
    take(&mut table, "b", 2, start);
    assert_eq!(shown(&table), 2.0);
    take(&mut table, "a", 1, start);
    take(&mut table, "b", 3, later);
    assert_eq!(shown(&table), 1.0, "the one that sorts first came");
    table.sweep(start + STALE_AFTER);
    assert_eq!(shown(&table), 3.0);
}

/// In a request of an SDK the scopes are in no order.
#[tokio::test]
async fn of_two_types_in_one_request_that_of_the_first_scope_stands() {
    let wait = || histogram("x", CUMULATIVE, vec![buckets(T, &[1.0], &[1, 2], 4.0)]);
    let level = || gauge("x", vec![int(&[], T, 7)]);
    for scopes in [[("b", wait()), ("a", level())], [("a", level()), ("b", wait())]] {
        let mut request = scoped(named(""), "", vec![]);
        request.resource_metrics[0].scope_metrics = scopes
            .into_iter()
            .map(|(scope, metric)| ScopeMetrics {
                scope: Some(named(scope)),
                metrics: vec![metric],
                ..ScopeMetrics::default()
            })
            .collect();
        let collector = Running::start("");
        let (rejected, message) = collector.send(&request).await;
        assert!(rejected == 1 && message.contains("another type"), "{message}");
        let scrape = collector.scrape().await;
        assert_eq!(
            (scrape.types["x"], scrape.samples["x{job=shop,otel_scope_name=a}"]),
            (parse::Kind::Gauge, 7.0)
        );
        let apart = Running::start("--graphite-tags service.name,otel.scope.name");
        assert_eq!(apart.send(&request).await, (0, String::new()));
    }
}

/// The choice must not look at all pairs.
#[tokio::test]
async fn thousands_that_come_to_one_are_scraped_as_well() {
    let collector = Running::start("");
    let resource_metrics = (0..20_000).map(|host| {
        let host = format!("h{host}");
        request(&[("host.name", &host)], hits(T, 1)).resource_metrics.remove(0)
    });
    let all = ExportMetricsServiceRequest { resource_metrics: resource_metrics.collect() };
    assert_eq!(collector.send(&all).await.0, 0);
    assert_eq!(hidden(&collector.scrape().await, "resource"), Some(19_999.0));
}
