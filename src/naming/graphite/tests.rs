use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;

use super::*;

fn series<'a>(name: &'a str, attributes: &'a [(&'a str, &'a str)]) -> Series<'a> {
    Series { name, shape: Shape::Number, service: None, resource: &[], attributes }
}

fn tagged(name: &str, attributes: &[(&str, &str)]) -> String {
    Names::new(Style::Tagged, "").path(&series(name, attributes)).as_str().to_owned()
}

fn dotted(name: &str, attributes: &[(&str, &str)]) -> String {
    let series = Series { service: Some("shop"), ..series(name, attributes) };
    Names::new(Style::Dotted, "otel").path(&series).as_str().to_owned()
}

fn exporters(name: &str, attributes: &[(&str, &str)]) -> String {
    Names::new(Style::CarbonExporter, "").path(&series(name, attributes)).as_str().to_owned()
}

/// From `printf '%s' TEXT | sha256sum`.
#[test]
fn the_hash_is_the_published_function() {
    assert_eq!(clean::with_hash(String::new(), b""), "_e3b0c44298fc1c149afb");
    assert_eq!(clean::with_hash("x".to_owned(), b"abc"), "x_ba7816bf8f01cfea4141");
}

#[test]
fn good_parts_stay_as_they_are() {
    assert_eq!(name("http.server.request.duration"), "http.server.request.duration");
    for good in ["/users/{id}", "a=b,ü", "{\"a\":1}", "a~b", "100%", "[x] (y)|z".split(' ').next().unwrap()]
    {
        assert_eq!(value(good), good);
    }
    assert_eq!(name(&"y".repeat(191)), "y".repeat(191));
    assert_eq!(tagged("requests", &[("k", "v"), ("a", "1")]), "requests;a=1;k=v");
    assert_eq!(dotted("http.requests", &[("b", "2"), ("a", "GET")]), "otel.shop.http.requests.GET.2");
}

#[test]
fn long_parts_are_cut_and_stay_different() {
    let (a, b) = ("x".repeat(192), "x".repeat(193));
    assert_ne!(name(&a), name(&b));
    assert_eq!((name(&a).chars().count(), name(&b).chars().count()), (191, 191));
    let histogram = Series { shape: Shape::Histogram, ..series(&a, &[("k", "v")]) };
    let path = Names::default().path(&histogram);
    assert_eq!(path.name().len() + ".bucket".len(), 191);
}

#[test]
fn tags_are_sorted_as_carbon_sorts_them() {
    let attributes = [("b", "1"), ("a", "2"), ("a.b", "3"), ("B", "4"), ("a-", "5")];
    assert_eq!(tagged("x", &attributes), "x;B=4;a-=5;a.b=3;a=2;b=1");
    let histogram = Series {
        shape: Shape::Histogram,
        resource: &[("service.name".to_owned(), "shop".to_owned())],
        ..series("slow", &[("z", "1"), ("le", "mine"), ("service.name", "x"), ("a", "1")])
    };
    let path = Names::default().path(&histogram);
    let own = ";a=1;exported_le=mine;exported_service.name=x";
    assert_eq!(path.as_str(), format!("slow{own};service.name=shop;z=1"));
    assert_eq!(path.around_le(), (own, ";service.name=shop;z=1"));
    assert_eq!(path.around_quantile(), (own, ";service.name=shop;z=1"));
}

#[test]
fn attributes_that_are_named_like_what_is_made_of_others_stay_different() {
    let path = |attributes: &[(&str, &str)]| {
        let series = Series { shape: Shape::Histogram, ..series("slow", attributes) };
        Names::default().path(&series).as_str().to_owned()
    };
    let paths = [
        path(&[("le", "1")]),
        path(&[("exported_le", "1")]),
        path(&[("exported_exported_le", "1")]),
        path(&[("le", "1"), ("exported_le", "1")]),
        path(&[("le", "1"), ("exported_le", "2")]),
        path(&[("name", "1")]),
        path(&[("__name__", "1")]),
        path(&[("exported_name", "1")]),
        path(&[("__name__", "1"), ("exported_name", "1")]),
        path(&[("name_82a3537ff0dbce7eec35", "1")]),
        path(&[("a", "1"), ("a", "2")]),
        path(&[("a", "2"), ("a", "1")]),
        path(&[("a", "1")]),
        path(&[("a", "1"), ("b", "")]),
        path(&[("", "1")]),
        path(&[]),
    ];
    assert_eq!(paths.iter().collect::<HashSet<_>>().len(), paths.len(), "{paths:#?}");
    assert!(path(&[("__name__", "1")]).ends_with(";exported_name=1"));
}

#[test]
fn dotted_components_hold_what_files_can_be_called() {
    assert_eq!(dotted("a", &[("k", "")]), "otel.shop.a._");
    assert!(dotted("a", &[("k", "_")]).starts_with("otel.shop.a.__"), "not what an empty one is");
    let odd = dotted("a..b", &[("k", "GET /"), ("l", "é"), ("m", &"v".repeat(300))]);
    for component in odd.split('.') {
        assert!(!component.is_empty() && component.len() <= 251, "{component}");
        assert!(component.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'), "{component}");
    }
    let many = vec!["v".repeat(200); 40];
    let many: Vec<(&str, &str)> = many.iter().map(|value| ("k", value.as_str())).collect();
    let (all, fewer) = (dotted("a", &many), dotted("a", &many[1..]));
    assert!(all.len() <= 2_048 && all != fewer, "{} bytes", all.len());
    let none = Names::new(Style::Dotted, "").path(&series("visits", &[]));
    assert_eq!(none.as_str(), "_.visits", "a service that is not known has its place");
}

/// Each of these was written by the Collector's exporter, 0.136, and kept by carbon.
#[test]
fn the_exporters_paths_are_kept_where_carbon_keeps_them() {
    for (attributes, path) in [
        (&[("k", "v"), ("a", "1")][..], "x;k=v;a=1"),
        (&[("k", "")], "x;k=<empty>"),
        (&[("a=b;c", "1")], "x;a_b_c=1"),
        (&[("k", "v;w=1")], "x;k=v;w=1"),
        (&[("le", "1")], "x;le=1"),
        (&[], "x"),
        (&[("k", "1"), ("k", "2")], "x;k=1;k=2"),
    ] {
        assert_eq!(exporters("x", attributes), path);
    }
    for attributes in [&[("k", "a b")][..], &[("k", "~v")], &[("k", "{\"a\":\"b\"}")], &[("k", "a;b")]] {
        let path = exporters("x", attributes);
        assert!(path.starts_with("x;k=") && carbon(&path).is_ok(), "{path}");
    }
}

/// What carbon makes of a path: a judge of its own, by the rules of `carbon.util.TaggedSeries` and of graphite-web's
/// tag tables. The peers' suite asks the original.
fn carbon(path: &str) -> Result<BTreeMap<String, String>, String> {
    if path.len() > 16_000 {
        return Err("too long".to_owned());
    }
    if path.chars().any(|c| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c) || c == '\0') {
        return Err("split by white space, or refused by PostgreSQL".to_owned());
    }
    if path.contains('{') && path.ends_with("\"}") {
        return Err("read as OpenMetrics".to_owned());
    }
    let mut parts = path.split(';');
    let name = parts.next().unwrap_or_default();
    let mut tags = BTreeMap::from([("name".to_owned(), name.to_owned())]);
    for tag in parts {
        let (key, value) = tag.split_once('=').ok_or("a tag without =")?;
        if key.is_empty() || value.is_empty() || key.contains(['!', '^']) || value.starts_with('~') {
            return Err(format!("a bad tag: {tag}"));
        }
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(format!("a tag twice: {tag}"));
        }
    }
    if name.trim_start_matches('~').is_empty() {
        return Err("a bad name".to_owned());
    }
    match tags.iter().find(|(key, value)| key.chars().count() > 191 || value.chars().count() > 191) {
        Some(tag) => Err(format!("too long: {tag:?}")),
        None => Ok(tags),
    }
}

/// Texts that somebody's rule treats in some way.
fn text() -> impl Strategy<Value = String> {
    const PIECES: [&str; 38] = [
        "a",
        "b",
        "A",
        "_",
        "-",
        ".",
        "..",
        "/",
        " ",
        "\t",
        "\n",
        ";",
        "=",
        "!",
        "^",
        "~",
        "{",
        "}",
        "\"",
        "\"}",
        "name",
        "__name__",
        "exported_",
        "le",
        "quantile",
        "service.name",
        "\u{1c}",
        "\u{1f}",
        "\u{85}",
        "\u{a0}",
        "\u{2003}",
        "\u{2028}",
        "\u{3000}",
        "\0",
        "é",
        "\u{10ffff}",
        "cut",
        // The hash of "a b", so that a changed part can be met as an input.
        "_c8687a08aa5d6ed20443",
    ];
    let pieces = prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..5).prop_map(|p| p.concat());
    let long = (185..260_usize, prop::sample::select(vec!["x", "é", " "])).prop_map(|(n, c)| c.repeat(n));
    prop_oneof![8 => pieces, 1 => long, 2 => any::<String>(), 1 => Just("x".repeat(16_384))]
}

type Input = (String, Vec<(String, String)>);

fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let attributes = prop::collection::vec((text(), text()), 0..4);
    prop::collection::vec(
        (text().prop_filter("a metric has a name", |name| !name.is_empty()), attributes),
        2..40,
    )
}

fn borrowed(attributes: &[(String, String)]) -> Vec<(&str, &str)> {
    attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// The inputs of each path, as the table tells series apart: attributes in the order of their keys.
fn by_path(
    inputs: &[Input],
    path: impl Fn(&str, &[(&str, &str)]) -> String,
) -> HashMap<String, HashSet<Input>> {
    let mut paths: HashMap<String, HashSet<Input>> = HashMap::new();
    for (name, attributes) in inputs {
        let mut sorted = attributes.clone();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        let path = path(name, &borrowed(attributes));
        paths.entry(path).or_default().insert((name.clone(), sorted));
    }
    paths
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_inputs_are_two_tagged_paths_that_carbon_keeps(inputs in inputs(), shape in 0..3_usize) {
        let shape = [Shape::Number, Shape::Histogram, Shape::Summary][shape];
        let resource = [("service.name".to_owned(), "shop".to_owned())];
        let path = |name: &str, attributes: &[(&str, &str)]| {
            let series = Series { shape, resource: &resource, ..series(name, attributes) };
            let path = Names::new(Style::Tagged, "otel").path(&series);
            let part = if shape == Shape::Number { "" } else { ".bucket" };
            format!("{}{part}{}", path.name(), path.tags())
        };
        for (path, inputs) in by_path(&inputs, path) {
            let tags = carbon(&path).map_err(TestCaseError::fail)?;
            prop_assert!(tags["name"].starts_with("otel."));
            prop_assert!(path.split(';').skip(1).is_sorted(), "{}", path);
            prop_assert_eq!(inputs.len(), 1, "{}: {:?}", path, inputs);
        }
    }

    #[test]
    fn two_values_are_two_dotted_paths(inputs in inputs()) {
        // The keys are not in the path: the same ones for all.
        let inputs: Vec<Input> = inputs.into_iter().map(|(name, attributes)| {
            let value = |at: usize| attributes.get(at).map(|(_, value)| value.clone()).unwrap_or_default();
            (name, vec![("j".to_owned(), value(0)), ("k".to_owned(), value(1))])
        }).collect();
        for (path, inputs) in by_path(&inputs, dotted) {
            prop_assert_eq!(inputs.len(), 1, "{}: {:?}", path, inputs);
            prop_assert!(path.len() <= 2_048);
            for component in path.split('.') {
                prop_assert!((1..=251).contains(&component.len()), "{}", component);
                prop_assert!(component.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'));
            }
        }
    }

    #[test]
    fn every_path_of_the_exporters_form_is_kept(inputs in inputs()) {
        for (name, attributes) in &inputs {
            let path = exporters(name, &borrowed(attributes));
            if let Err(error) = carbon(&path) {
                prop_assert!(error.starts_with("a tag twice"), "{}: {:?}", error, path);
            }
        }
    }

    #[test]
    fn a_part_that_was_changed_is_never_kept_as_it_is(text in text()) {
        let once = value(&text).into_owned();
        prop_assert!(once == text || value(&once) != once, "{}", once);
    }

    /// As many tags as a request may have for one series.
    #[test]
    fn paths_fit_a_line_of_carbon(count in 1..400_usize, value in text()) {
        let keys: Vec<String> = (0..count).map(|key| format!("key {key}")).collect();
        let attributes: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), value.as_str())).collect();
        let (all, fewer) = (tagged("x", &attributes), tagged("x", &attributes[1..]));
        prop_assert!(carbon(&all).is_ok() && carbon(&fewer).is_ok());
        prop_assert_ne!(all, fewer);
    }
}
