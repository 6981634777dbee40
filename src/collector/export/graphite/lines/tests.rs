use super::*;
use crate::naming::graphite::{Names, Series, Shape};

fn path(style: Style, shape: Shape, name: &str, attributes: &[(&str, &str)]) -> Path {
    let resource = [("service.name".to_owned(), "p".to_owned())];
    let resource = if style == Style::CarbonExporter { &[][..] } else { &resource[..] };
    Names::new(style, "").path(&Series { name, shape, service: Some("p"), resource, attributes })
}

fn written(style: Style, path: &Path, value: &Value, beside: &Beside) -> (String, u64) {
    let mut lines = Vec::new();
    let mut rendered = Rendered::new(style);
    let mut writer = Writer::new(path, 5, &mut rendered, &mut lines);
    writer.write(value, beside);
    let skipped = writer.skipped;
    let lines = String::from_utf8(lines).unwrap();
    assert!(lines.lines().all(|line| line.len() < line_bytes(path, style)), "{lines}");
    (lines, skipped)
}

fn slow() -> Value {
    Value::Histogram(Histogram {
        bounds: [0.5, 1.0].into(),
        counts: vec![1, 2, 3],
        sum: Some(Number::Float(9.25)),
        count: 6,
    })
}

#[test]
fn histograms_are_cumulative_with_le_in_its_sorted_place() {
    let path = path(Style::Tagged, Shape::Histogram, "slow", &[("endpoint", "/database")]);
    let beside = Beside { min: Some(0.25), max: Some(4.0), quantiles: vec![(0.95, 2.5)] };
    assert_eq!(
        written(Style::Tagged, &path, &slow(), &beside),
        (
            "slow.bucket;endpoint=/database;le=0.5;service.name=p 1 5\n\
             slow.bucket;endpoint=/database;le=1;service.name=p 3 5\n\
             slow.bucket;endpoint=/database;le=+Inf;service.name=p 6 5\n\
             slow.sum;endpoint=/database;service.name=p 9.25 5\n\
             slow.count;endpoint=/database;service.name=p 6 5\n\
             slow.min;endpoint=/database;service.name=p 0.25 5\n\
             slow.max;endpoint=/database;service.name=p 4 5\n\
             slow;endpoint=/database;quantile=0.95;service.name=p 2.5 5\n"
                .to_owned(),
            0
        )
    );
}

#[test]
fn what_is_rendered_follows_the_second_and_the_bounds() {
    for (style, zero, below_zero) in [
        (Style::Tagged, "slow.bucket;le=0;service.name=p", "slow.bucket;le=-0;service.name=p"),
        (Style::Dotted, "p.slow.bucket.0", "p.slow.bucket.-0"),
        (Style::CarbonExporter, "slow.bucket;upper_bound=0", "slow.bucket;upper_bound=-0"),
    ] {
        let path = path(style, Shape::Histogram, "slow", &[]);
        let mut rendered = Rendered::new(style);
        let mut written = |bounds: &[f64], seconds: u32| {
            let counts = vec![7; bounds.len() + 1];
            let value = Value::Histogram(Histogram { bounds: bounds.into(), counts, sum: None, count: 7 });
            let mut lines = Vec::new();
            Writer::new(&path, seconds, &mut rendered, &mut lines).write(&value, &Beside::default());
            String::from_utf8(lines).unwrap()
        };
        assert!(written(&[0.0], 5).contains(&format!("{zero} 7 5\n")));
        assert!(written(&[0.0], 6).contains(&format!("{zero} 7 6\n")));
        // Equal as a number, and another text.
        assert!(written(&[-0.0], 6).contains(&format!("{below_zero} 7 6\n")));
        let of_two = written(&[-0.0, 2.0], u32::MAX);
        assert_eq!(of_two.matches(".bucket").count(), 3, "{of_two}");
        assert!(of_two.lines().all(|line| line.ends_with(" 4294967295")), "{of_two}");
        let of_none = written(&[], 1);
        let buckets = usize::from(style != Style::CarbonExporter);
        assert_eq!(of_none.matches(".bucket").count(), buckets, "{of_none}");
    }
}

#[test]
fn values_are_written_as_they_display_themselves() {
    let path = path(Style::Tagged, Shape::Number, "x", &[]);
    for value in [
        Number::Int(i64::MIN),
        Number::Int(-1),
        Number::Int(0),
        Number::Uint(u64::MAX),
        Number::Float(-0.0),
        Number::Float(1e17),
        Number::Float(5e-324),
        Number::Float(0.1 + 0.2),
    ] {
        let (lines, _) = written(Style::Tagged, &path, &Value::Number(value), &Beside::default());
        assert_eq!(lines, format!("x;service.name=p {value} 5\n"));
    }
}

#[test]
fn dotted_histograms_have_further_components() {
    let path = path(Style::Dotted, Shape::Histogram, "slow", &[("endpoint", "database")]);
    let beside = Beside { quantiles: vec![(0.5, 0.75)], ..Beside::default() };
    assert_eq!(
        written(Style::Dotted, &path, &slow(), &beside).0,
        "p.slow.database.bucket.0_5 1 5\n\
         p.slow.database.bucket.1 3 5\n\
         p.slow.database.bucket.inf 6 5\n\
         p.slow.database.sum 9.25 5\n\
         p.slow.database.count 6 5\n\
         p.slow.database.quantile.0_5 0.75 5\n"
    );
}

#[test]
fn the_collectors_exporter_wrote_buckets_by_themselves() {
    let path = path(Style::CarbonExporter, Shape::Histogram, "slow", &[("z", "1"), ("a", "2")]);
    assert_eq!(
        written(Style::CarbonExporter, &path, &slow(), &Beside::default()).0,
        "slow.count;z=1;a=2 6 5\n\
         slow;z=1;a=2 9.25 5\n\
         slow.bucket;z=1;a=2;upper_bound=0.5 1 5\n\
         slow.bucket;z=1;a=2;upper_bound=1 2 5\n\
         slow.bucket;z=1;a=2;upper_bound=inf 3 5\n"
    );
}

#[test]
fn what_is_no_number_is_counted_and_what_stands_beside_it_is_written() {
    for style in [Style::Tagged, Style::Dotted, Style::CarbonExporter] {
        let number = path(style, Shape::Number, "x", &[]);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let value = Value::Number(Number::Float(value));
            assert_eq!(written(style, &number, &value, &Beside::default()), (String::new(), 1));
        }
        let summary = Summary { quantiles: vec![(0.5, f64::NAN), (0.9, 1.5)], sum: f64::INFINITY, count: 3 };
        let rpc = path(style, Shape::Summary, "rpc", &[]);
        let (lines, skipped) = written(style, &rpc, &Value::Summary(summary), &Beside::default());
        assert_eq!((lines.lines().count(), skipped), (2, 2), "{lines}");
    }
}

#[test]
fn a_beginning_is_zero_in_all_that_grows() {
    let path = path(Style::Tagged, Shape::Histogram, "slow", &[]);
    let mut lines = Vec::new();
    Writer::new(&path, 4, &mut Rendered::new(Style::Tagged), &mut lines).write_zero(&slow());
    assert_eq!(
        String::from_utf8(lines).unwrap(),
        "slow.bucket;le=0.5;service.name=p 0 4\n\
         slow.bucket;le=1;service.name=p 0 4\n\
         slow.bucket;le=+Inf;service.name=p 0 4\n\
         slow.sum;service.name=p 0 4\n\
         slow.count;service.name=p 0 4\n"
    );
}

#[test]
fn a_line_is_never_longer_than_its_reservation() {
    for style in [Style::Tagged, Style::Dotted, Style::CarbonExporter] {
        let path = path(style, Shape::Histogram, "x", &[("a", "1")]);
        for sum in [-f64::MIN_POSITIVE, 5e-324, -f64::MAX] {
            let value = Value::Histogram(Histogram {
                bounds: [-f64::MAX].into(),
                counts: vec![u64::MAX, 0],
                sum: Some(Number::Float(sum)),
                count: u64::MAX,
            });
            let mut lines = Vec::new();
            let mut rendered = Rendered::new(style);
            Writer::new(&path, u32::MAX, &mut rendered, &mut lines).write(&value, &Beside::default());
            let lines = String::from_utf8(lines).unwrap();
            assert!(lines.lines().all(|line| line.len() < line_bytes(&path, style)), "{lines}");
        }
    }
}
