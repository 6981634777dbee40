//! The metrics of a request, read where they lie in its protobuf encoding: names, attributes and buckets stay in the
//! bytes, and what is made are a few lists for the whole request.
//!
//! It must not judge what a value means. It reads what encoders write; an encoding that protobuf allows and that hardly
//! any encoder writes (a message in several pieces, numbers of a list one by one) is first written anew by `prost`, which
//! has the last word on what is malformed, too.

mod fields;
mod items;
mod read;
mod shape;

use std::{borrow::Cow, ops::Range};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::AnyValue,
    metrics::v1::{DataPointFlags, exponential_histogram_data_point::Buckets},
};
use prost::Message as _;

pub use self::items::{Items, OfResource};
use crate::{exposition::family::Number, naming::value::double};

/// Messages within each other that a request may have, counted from the request itself: what nests deeper is refused. All
/// readers keep to it: `prost` stops at 100, and JSON of as many messages at 128 values within each other.
pub const MAX_DEPTH: usize = 80;

/// Why a request is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Not an encoding that is read here; it may be a good one nevertheless.
    Unusual,
    /// There is no memory for what it becomes.
    NoMemory,
}

type Read<T> = Result<T, ReadError>;

/// Asked before memory is taken, with the bytes; says whether there are so many.
type Memory<'m> = &'m mut dyn FnMut(usize) -> bool;

/// By which receiver metrics came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Receiver {
    /// One of OTLP.
    #[default]
    Otlp,
    /// That of `StatsD`, which makes one request of all that it holds.
    Statsd,
}

/// Every metric of a request, in its order.
#[derive(Debug, Default)]
pub struct Metrics<'a> {
    /// The receiver; of OTLP unless it says otherwise.
    pub receiver: Receiver,
    /// The resources; one that comes twice is there twice.
    pub resources: Vec<Attributes>,
    /// The scopes, likewise.
    pub scopes: Vec<Scope<'a>>,
    /// The metrics, each with the places of its resource and its scope.
    pub metrics: Vec<Metric<'a>>,
    points: Vec<Point<'a>>,
    attributes: Vec<Attribute<'a>>,
    /// A metric has no data, a number no value, or a value no quantile.
    pub lacks_something: bool,
}

/// The place of attributes that stand together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes {
    start: u32,
    end: u32,
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its value.
    pub value: Value<'a>,
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// None at all.
    Empty,
    /// A string.
    Text(&'a str),
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list or a map: a whole `AnyValue`, which `prost` has read without a fault.
    Nested(&'a [u8]),
}

/// The instrumentation scope of metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The URL of its schema.
    pub schema_url: &'a str,
    /// Its attributes.
    pub attributes: Attributes,
}

/// What a metric's points are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Numbers that stand for themselves.
    Gauge,
    /// Sums of numbers.
    Sum,
    /// Counts by bounds.
    Histogram,
    /// Counts by powers.
    ExponentialHistogram,
    /// Quantiles.
    Summary,
}

/// One metric.
#[derive(Clone, Debug)]
pub struct Metric<'a> {
    /// The place of its resource.
    pub resource: usize,
    /// The place of its scope.
    pub scope: usize,
    /// Its name.
    pub name: &'a str,
    /// Its description.
    pub description: &'a str,
    /// Its unit.
    pub unit: &'a str,
    /// What its points are; `None` where there is nothing.
    pub data: Option<Data>,
    /// The number of an `AggregationTemporality`; 0 for data that have none.
    pub temporality: i32,
    /// Whether a sum never falls.
    pub is_monotonic: bool,
    points: Range<usize>,
}

/// One data point.
#[derive(Clone, Debug)]
pub struct Point<'a> {
    /// What tells it from others of its metric.
    pub attributes: Attributes,
    /// Nanoseconds since 1970; 0 where it is not known.
    pub start: u64,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// `DataPointFlags`.
    pub flags: u32,
    /// What it holds.
    pub content: Content<'a>,
}

/// What a data point holds.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// Of a gauge or a sum.
    Number(Option<Number>),
    /// Of a histogram.
    Histogram(Histogram<'a>),
    /// Of an exponential histogram.
    Exponential(Box<Exponential>),
    /// Of a summary.
    Summary(Summary),
}

/// Counts by bounds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Histogram<'a> {
    /// How many there are.
    pub count: u64,
    /// What they add up to.
    pub sum: Option<f64>,
    /// The lowest.
    pub min: Option<f64>,
    /// The highest.
    pub max: Option<f64>,
    counts: &'a [u8],
    bounds: &'a [u8],
}

/// Counts by powers of a base.
#[derive(Clone, Debug, Default)]
pub struct Exponential {
    /// How many there are.
    pub count: u64,
    /// What they add up to.
    pub sum: Option<f64>,
    /// The lowest.
    pub min: Option<f64>,
    /// The highest.
    pub max: Option<f64>,
    /// The base is `2^(2^-scale)`.
    pub scale: i32,
    /// How many are zero, or as near to it as the threshold.
    pub zero_count: u64,
    /// What counts as zero.
    pub zero_threshold: f64,
    /// Those above zero.
    pub positive: Option<Buckets>,
    /// Those below.
    pub negative: Option<Buckets>,
}

/// Quantiles.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many there are.
    pub count: u64,
    /// What they add up to.
    pub sum: f64,
    /// Which quantile, and where it lies.
    pub quantiles: Vec<(f64, f64)>,
}

impl Metric<'_> {
    /// The place of its first data point among all of the request.
    #[must_use]
    pub const fn first_point(&self) -> usize {
        self.points.start
    }
}

impl Histogram<'_> {
    /// The count of each bucket.
    #[must_use]
    pub fn counts(&self) -> impl ExactSizeIterator<Item = u64> + Clone {
        self.counts.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// The bound above each bucket but the last.
    #[must_use]
    pub fn bounds(&self) -> impl ExactSizeIterator<Item = f64> + DoubleEndedIterator + Clone {
        self.bounds.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes))
    }
}

impl Content<'_> {
    /// What it holds, in a few words for a log.
    #[must_use]
    pub fn brief(&self) -> String {
        let sum = |sum: Option<f64>| {
            sum.map_or_else(|| "no sum".to_owned(), |sum| format!("the sum {}", double(sum)))
        };
        match self {
            Self::Number(Some(number)) => format!("the value {}", double(number.as_f64())),
            Self::Number(None) => "no value".to_owned(),
            Self::Histogram(histogram) => format!("the count {} and {}", histogram.count, sum(histogram.sum)),
            Self::Exponential(histogram) => {
                format!("the count {} and {}", histogram.count, sum(histogram.sum))
            }
            Self::Summary(summary) => format!("the count {} and {}", summary.count, sum(Some(summary.sum))),
        }
    }
}

impl<'a> Value<'a> {
    /// It as text: "Mapping to non-OTLP formats" of the OpenTelemetry specification (strings as they are, bytes in
    /// base64, lists and maps as JSON).
    #[must_use]
    pub fn text(self) -> Cow<'a, str> {
        match self {
            Self::Empty => Cow::Borrowed(""),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Bool(value) => Cow::Borrowed(if value { "true" } else { "false" }),
            Self::Int(value) => Cow::Owned(value.to_string()),
            Self::Double(value) => Cow::Owned(double(value)),
            Self::Bytes(bytes) => Cow::Owned(STANDARD.encode(bytes)),
            Self::Nested(value) => {
                let value = AnyValue::decode(value).unwrap_or_default();
                Cow::Owned(super::series::text(Some(&value)).into_owned())
            }
        }
    }
}

/// The same request in the encoding that [`Metrics::read`] reads.
///
/// # Errors
/// Where it is malformed.
pub fn rewritten(wire: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    Ok(ExportMetricsServiceRequest::decode(wire)?.encode_to_vec())
}

impl<'a> Metrics<'a> {
    /// Points that its receiver adds, which say that a series has ended.
    #[must_use]
    pub fn ended_by_receiver(&self) -> u64 {
        if self.receiver == Receiver::Otlp {
            return 0;
        }
        let is_end = |point: &&Point<'_>| point.flags & DataPointFlags::NoRecordedValueMask as u32 != 0;
        self.points.iter().filter(is_end).count() as u64
    }

    /// Reads an `ExportMetricsServiceRequest`. Two bytes on the wire can become a point of 150: `memory` is asked before
    /// any is taken, with the bytes.
    ///
    /// # Errors
    /// [`ReadError::Unusual`]: what it says can be told of what is [`rewritten`] only. [`ReadError::NoMemory`].
    pub fn read(wire: &'a [u8], memory: Memory<'_>) -> Read<Self> {
        read::request(wire, memory)
    }

    /// How many data points there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there is no data point.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The data points of a metric.
    #[must_use]
    pub fn points(&self, metric: &Metric<'a>) -> &[Point<'a>] {
        self.points.get(metric.points.clone()).unwrap_or_default()
    }

    /// The attributes at a place.
    #[must_use]
    pub fn attributes(&self, place: Attributes) -> &[Attribute<'a>] {
        self.attributes.get(place.start as usize..place.end as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
