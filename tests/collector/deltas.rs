//! Deltas that would spoil a total for good, and deltas that come in another order than that of their times.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Metric, exponential_histogram_data_point::Buckets,
};
use pushpull::collector::stats::Event;

use crate::{carbon::Carbon, support::*};

/// Doubles hold all whole numbers up to here; a delta may not be above.
const WHOLE: i64 = 9_007_199_254_740_992;

/// Sends one metric; whether its point was refused, for what reason the log and the answer give.
async fn refused(collector: &Running, metric: Metric) -> Option<String> {
    let (rejected, message) = collector.send(&request(SHOP, vec![metric])).await;
    (rejected > 0).then_some(message)
}

#[tokio::test]
async fn a_delta_that_is_no_number_is_refused_and_the_total_goes_on() {
    let (logs, _guard) = Logs::capture();
    let collector = Running::start("");
    for (at, monotonic) in [(0, true), (100, false)] {
        let name = if monotonic { "hits" } else { "level" };
        let delta = |time, value| sum(name, DELTA, monotonic, vec![double(&[], T + at + time, value)]);
        assert_eq!(refused(&collector, delta(0, 1.0)).await, None);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let message = refused(&collector, delta(1, bad)).await.unwrap();
            assert!(message.contains(name) && message.contains("NaN or infinite"), "{message}");
        }
        assert_eq!(refused(&collector, delta(2, 5.0)).await, None);
    }
    let scrape = collector.scrape().await;
    assert_eq!((scrape.shop("hits_total"), scrape.shop("level")), (Some(6.0), Some(6.0)));
    assert_eq!(collector.count(Event::Refused, "series", "not_finite"), 6);
    let said = logs.lines_with("not_finite");
    assert!(said.len() == 1 && said[0].contains("\"shop\"") && said[0].contains("NaN"), "{said:?}");
}

#[tokio::test]
async fn a_refused_first_delta_makes_no_series_and_the_good_ones_beside_it_count() {
    let collector = Running::start("--max-series 1");
    let points = vec![
        double(&[("k", "bad")], T, f64::NAN),
        double(&[], T, 1.0),
        double(&[], T + 1, f64::INFINITY),
        double(&[], T + 2, 5.0),
    ];
    let (rejected, _) = collector.send(&request(SHOP, vec![counter("hits", DELTA, points)])).await;
    assert_eq!((rejected, collector.scrape().await.shop("hits_total")), (2, Some(6.0)));
}

#[tokio::test]
async fn totals_do_not_overflow() {
    let collector = Running::start("");
    let ints = |value| counter("ints", DELTA, vec![int(&[], T, value)]);
    let doubles = |value| counter("doubles", DELTA, vec![double(&[], T, value)]);
    for (metric, is_refused) in [
        // The first one, too, leaves room for those after it.
        (ints(i64::MAX), true),
        (ints(WHOLE + 1), true),
        (ints(WHOLE), false),
        (ints(i64::MAX), true),
        (ints(5), false),
        (doubles(1e300), true),
        (doubles(1.0), false),
        (doubles(1e300), true),
        (doubles(1e16), true),
        (doubles(-1.0), true),
        (doubles(5.0), false),
    ] {
        assert_eq!(refused(&collector, metric.clone()).await.is_some(), is_refused, "{metric:?}");
    }
    // Also where all of it comes in one request.
    let many = vec![int(&[("k", "1")], T, i64::MAX), int(&[("k", "1")], T, 7), int(&[("k", "2")], T, 7)];
    assert!(refused(&collector, counter("ints", DELTA, many)).await.is_some());
    let (_, page) = collector.get("/metrics").await;
    assert_eq!(page.lines().filter(|line| line.ends_with(" 9007199254740997")).count(), 1, "{page}");
    let scrape = collector.scrape().await;
    let seven = (scrape.shop("ints_total{k=1}"), scrape.shop("ints_total{k=2}"));
    assert_eq!((scrape.shop("doubles_total"), seven), (Some(6.0), (Some(7.0), Some(7.0))));
    assert_eq!(collector.count(Event::Refused, "series", "overflow"), 7);
    assert_eq!(collector.count(Event::Refused, "series", "negative_delta"), 1);
}

#[tokio::test]
async fn an_integer_that_outgrows_its_kind_goes_on() {
    let collector = Running::start("");
    let full = counter("hits", CUMULATIVE, vec![int(&[], T, i64::MAX)]);
    let many = (0..2048).map(|_| int(&[], T + 1, 1)).collect();
    collector.take(vec![full]).await;
    collector.take(vec![counter("hits", DELTA, many)]).await;
    assert_eq!(collector.scrape().await.shop("hits_total"), Some(2_f64.powi(63) + 2048.0));
}

#[tokio::test]
async fn small_deltas_add_up_on_large_totals() {
    let collector = Running::start("");
    let large = || vec![double(&[], T, 9e15), double(&[], T + 1, 9e15)];
    let ones = || (0..64).map(|at| double(&[], T + 2 + at, 1.0));
    let wait = |sum| buckets(T, &[1.0], &[0, 1], sum);
    let size = |sum| ExponentialHistogramDataPoint {
        count: 1,
        sum: Some(sum),
        zero_count: 1,
        time_unix_nano: seconds(T),
        ..ExponentialHistogramDataPoint::default()
    };
    collector
        .take(vec![
            counter("hits", DELTA, large().into_iter().chain(ones()).collect()),
            sum("level", DELTA, false, large().into_iter().chain(ones()).collect()),
            histogram("wait", DELTA, vec![wait(9e15), wait(9e15)]),
            exponential("size", DELTA, vec![size(9e15), size(9e15)]),
        ])
        .await;
    // And from one request to the next.
    for _ in 0..64 {
        collector
            .take(vec![
                counter("hits", DELTA, vec![double(&[], T + 99, 1.0)]),
                histogram("wait", DELTA, vec![wait(1.0)]),
                exponential("size", DELTA, vec![size(1.0)]),
            ])
            .await;
    }
    let scrape = collector.scrape().await;
    for (sample, value) in
        [("hits_total", 1.8e16 + 128.0), ("level", 1.8e16 + 64.0), ("wait_sum", 1.8e16 + 64.0)]
    {
        assert_eq!(scrape.shop(sample), Some(value), "{sample}");
    }
    assert_eq!(scrape.shop("size_sum"), Some(1.8e16 + 64.0));
}

#[tokio::test]
async fn integers_and_doubles_of_one_series_add_up_exactly() {
    let collector = Running::start("");
    let whole = vec![int(&[], T, WHOLE), double(&[], T, 1.0), int(&[], T, 1), double(&[], T, 1.0)];
    let begun = vec![double(&[], T, 9_007_199_254_740_992.0), int(&[], T, 1)];
    let parts = vec![int(&[], T, 5), double(&[], T, 0.5), int(&[], T, 1), double(&[], T, 0.5)];
    collector
        .take(vec![
            counter("whole", DELTA, whole),
            counter("begun", DELTA, begun),
            counter("parts", DELTA, parts),
        ])
        .await;
    let (_, page) = collector.get("/metrics").await;
    let digits = |name: &str| {
        let line = page.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(' ').next_back()).map(str::to_owned)
    };
    assert_eq!(digits("whole_total").as_deref(), Some("9007199254740995"), "{page}");
    assert_eq!(digits("begun_total").as_deref(), Some("9007199254740993"), "{page}");
    assert_eq!(digits("parts_total").as_deref(), Some("7"), "{page}");
}

#[tokio::test]
async fn what_a_histogram_says_that_it_counted_is_what_is_in_its_buckets() {
    let (logs, _guard) = Logs::capture();
    let collector = Running::start("");
    let wait = |point| histogram("wait", DELTA, vec![point]);
    let good = || buckets(T, &[1.0], &[1, 1], 4.0);
    let size = |count, zero_count, sum| {
        let point = ExponentialHistogramDataPoint {
            time_unix_nano: seconds(T),
            count,
            sum,
            zero_count,
            ..ExponentialHistogramDataPoint::default()
        };
        exponential("size", DELTA, vec![point])
    };
    let without_buckets = |count| HistogramDataPoint { count, ..buckets(T, &[], &[], 1.0) };
    for (bad, reason) in [
        (wait(HistogramDataPoint { count: u64::MAX - 2, ..good() }), "whose count is not"),
        (wait(HistogramDataPoint { count: 1, ..good() }), "whose count is not"),
        (wait(HistogramDataPoint { count: 0, ..good() }), "whose count is not"),
        (wait(without_buckets(0)), "whose count is not"),
        (wait(buckets(T, &[1.0], &[u64::MAX - 2, 0], 1.0)), "2^53"),
        (wait(without_buckets(u64::MAX)), "2^53"),
        (wait(HistogramDataPoint { sum: Some(1e300), ..good() }), "2^53"),
        (size(u64::MAX, 1, Some(1.0)), "whose count is not"),
        (size(1 << 54, 1 << 54, Some(1.0)), "2^53"),
        (size(1, 1, Some(-1e17)), "2^53"),
    ] {
        let message = refused(&collector, bad.clone()).await.unwrap();
        assert!(message.contains(reason), "{message} for {bad:?}");
    }
    assert!(logs.lines_with("count_mismatch").len() == 1);
    assert_eq!(collector.count(Event::Refused, "series", "count_mismatch"), 5);
    collector.take(vec![wait(good()), size(3, 3, Some(1.0)), wait(good())]).await;
    let scrape = collector.scrape().await;
    assert_eq!((scrape.shop("wait_count"), scrape.shop("size_count")), (Some(4.0), Some(3.0)));
}

#[tokio::test]
async fn a_delta_that_counted_nothing_changes_nothing() {
    let collector = Running::start("");
    let nothing = |time, bounds: &[f64], counts: &[u64]| HistogramDataPoint {
        sum: None,
        ..buckets(time, bounds, counts, 0.0)
    };
    let empty = |time| ExponentialHistogramDataPoint {
        time_unix_nano: seconds(time),
        ..ExponentialHistogramDataPoint::default()
    };
    let some = |time, sum| ExponentialHistogramDataPoint { count: 5, zero_count: 5, sum, ..empty(time) };
    let scraped = async |names: [&str; 4]| {
        let scrape = collector.scrape().await;
        names.map(|name| scrape.shop(name))
    };
    let all = ["first_count", "first_sum", "size_count", "size_sum"];
    // The first one says neither a sum nor buckets.
    collector
        .take(vec![
            histogram("first", DELTA, vec![nothing(T, &[], &[])]),
            exponential("size", DELTA, vec![empty(T)]),
        ])
        .await;
    assert_eq!(scraped(all).await, [Some(0.0); 4]);
    collector
        .take(vec![
            histogram("first", DELTA, vec![buckets(T + 1, &[1.0], &[2, 3], 10.0)]),
            exponential("size", DELTA, vec![some(T + 1, Some(10.0))]),
        ])
        .await;
    assert_eq!(scraped(all).await, [Some(5.0), Some(10.0), Some(5.0), Some(10.0)]);
    for bare in [nothing(T + 2, &[], &[]), nothing(T + 3, &[7.0], &[0, 0]), nothing(T + 4, &[], &[0])] {
        collector
            .take(vec![histogram("first", DELTA, vec![bare]), exponential("size", DELTA, vec![empty(T + 4)])])
            .await;
    }
    assert_eq!(scraped(all).await, [Some(5.0), Some(10.0), Some(5.0), Some(10.0)]);
    collector
        .take(vec![
            histogram("first", DELTA, vec![buckets(T + 5, &[1.0], &[1, 0], 1.0)]),
            exponential("size", DELTA, vec![some(T + 5, Some(1.0))]),
            // That of a histogram without sums is not made up.
            histogram("bare", DELTA, vec![nothing(T, &[1.0], &[0, 0]), nothing(T, &[1.0], &[1, 1])]),
        ])
        .await;
    assert_eq!(scraped(all).await, [Some(6.0), Some(11.0), Some(10.0), Some(11.0)]);
    let bounds = ["first_bucket{le=1}", "bare_count", "bare_sum", "bare_bucket{le=1}"];
    assert_eq!(scraped(bounds).await, [Some(3.0), Some(2.0), None, Some(1.0)]);
}

#[tokio::test]
async fn a_histogram_is_added_whole_or_not_at_all() {
    let collector = Running::start("--histogram-bounds 1,2");
    let wait = |point| histogram("wait", DELTA, vec![point]);
    let good = || buckets(T, &[1.0], &[1, 2], 4.0);
    let bad = [
        HistogramDataPoint { sum: Some(f64::NAN), ..good() },
        HistogramDataPoint { sum: Some(f64::NEG_INFINITY), ..good() },
        HistogramDataPoint { sum: Some(1e300), ..good() },
        HistogramDataPoint { sum: None, ..good() },
        HistogramDataPoint { count: u64::MAX, ..good() },
        buckets(T, &[1.0], &[u64::MAX, 0], 1.0),
        buckets(T, &[1.0], &[u64::MAX, u64::MAX], 1.0),
    ];
    let size = |sum: f64, zero_count| {
        let point = ExponentialHistogramDataPoint {
            time_unix_nano: seconds(T),
            count: 3,
            sum: Some(sum),
            zero_count,
            positive: Some(Buckets { offset: 0, bucket_counts: vec![3] }),
            ..ExponentialHistogramDataPoint::default()
        };
        exponential("size", DELTA, vec![point])
    };
    collector.take(vec![wait(good()), size(3.5, 0)]).await;
    for point in bad {
        assert!(refused(&collector, wait(point.clone())).await.is_some(), "{point:?}");
    }
    for metric in [size(f64::NAN, 0), size(1.0, u64::MAX), size(1.0, u64::MAX - 4)] {
        assert!(refused(&collector, metric).await.is_some());
    }
    // Nothing counted has no sum to lose.
    collector.take(vec![wait(HistogramDataPoint { sum: None, ..buckets(T, &[1.0], &[0, 0], 0.0) })]).await;
    collector.take(vec![wait(good()), size(3.5, 0)]).await;
    let scrape = collector.scrape().await;
    for (sample, value) in [
        ("wait_bucket{le=1}", 2.0),
        ("wait_count", 6.0),
        ("wait_sum", 8.0),
        ("size_bucket{le=2}", 6.0),
        ("size_sum", 7.0),
    ] {
        assert_eq!(scrape.shop(sample), Some(value), "{sample}");
    }
}

#[tokio::test]
async fn a_gauge_may_be_no_number_and_a_total_begins_anew_after_it() {
    let collector = Running::start("");
    collector.take(vec![gauge("level", vec![double(&[], T, f64::NAN)])]).await;
    assert!(collector.scrape().await.shop("level").is_some_and(f64::is_nan));
    collector.take(vec![sum("level", DELTA, false, vec![double(&[], T + 1, 5.0)])]).await;
    assert_eq!(collector.scrape().await.shop("level"), Some(5.0));
}

#[tokio::test]
async fn deltas_of_one_request_stand_each_at_its_own_second() {
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {}", carbon.address()));
    let late = vec![int(&[], T + 20, 4), int(&[], T, 1), int(&[], T + 10, 2)];
    let wait = |time| buckets(time, &[], &[1], 1.0);
    collector
        .take(vec![
            counter("hits", DELTA, late),
            histogram("wait", DELTA, vec![wait(T + 10), wait(T)]),
            // The same series again, as from two batches that were joined.
            counter("hits", DELTA, vec![int(&[], T + 15, 8)]),
        ])
        .await;
    let hits = [(T, 1), (T + 10, 3), (T + 15, 11), (T + 20, 15)];
    let hits = hits.map(|(time, total)| format!("hits;service.name=shop {total} {time}"));
    let counts =
        [(T, 1), (T + 10, 2)].map(|(time, total)| format!("wait.count;service.name=shop {total} {time}"));
    let mut connection = carbon.accept().await;
    connection.until(&hits.iter().chain(&counts).cloned().collect()).await;
    let lines = connection.lines();
    let lines: BTreeSet<&str> = lines.into_iter().filter(|line| line.starts_with("hits;")).collect();
    assert_eq!(lines, hits.iter().map(String::as_str).collect(), "and at no other second");
}

#[tokio::test]
async fn times_in_another_unit_are_refused_and_named_once() {
    let (logs, _guard) = Logs::capture();
    let carbon = Carbon::listen();
    let collector = Running::start(&format!("--graphite {}", carbon.address()));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for time in [now, now * 1_000, now * 1_000_000, 86_400_000_000_000, 5] {
        let mut point = int(&[], 0, 1);
        point.time_unix_nano = time;
        let message = refused(&collector, gauge("level", vec![point])).await.unwrap();
        assert!(message.contains("nanoseconds since 1970"), "{message}");
    }
    assert_eq!(collector.count(Event::Refused, "series", "timestamp_old"), 5);
    let said = logs.lines_with("timestamp_old");
    let named = said.len() == 1 && said[0].contains("\"level\"") && said[0].contains("seconds");
    assert!(named && said[0].contains(&now.to_string()), "{said:?}");
    collector.take(vec![gauge("level", vec![int(&[], now - 9 * 31_557_600, 1)])]).await;
}
