//! From the bytes of a request to its lists, message by message.
//!
//! It must not take memory that it did not ask for.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use prost::Message as _;

use super::{
    Attribute, Attributes, Content, Data, Exponential, Histogram, MAX_DEPTH, Memory, Metric, Metrics, Point,
    Read,
    ReadError::{NoMemory, Unusual},
    Scope, Summary, Value,
    fields::{self, Field, Fields, float, once, short_text, text, varint},
    shape::{ANY_VALUE, ENTITY_REF, EXEMPLAR, KEY_VALUE},
};
use crate::exposition::family::Number;

/// In how many messages the attributes of each stand.
const RESOURCE_ATTRIBUTE: usize = 3;
const SCOPE_ATTRIBUTE: usize = 4;
const METADATA: usize = 4;
const POINT_ATTRIBUTE: usize = 6;
const EXEMPLAR_LEVEL: usize = 6;
/// Room that a list has from its first item on.
const FIRST_ITEMS: usize = 4;

/// Reads an `ExportMetricsServiceRequest`.
pub(super) fn request<'a>(wire: &'a [u8], memory: Memory<'_>) -> Read<Metrics<'a>> {
    let mut reader = Reader { metrics: Metrics::default(), memory };
    for field in Fields::of(wire) {
        match field? {
            (1, Field::Bytes(resource)) => reader.resource(resource)?,
            (2.., _) => {}
            _ => return Err(Unusual),
        }
    }
    Ok(reader.metrics)
}

struct Reader<'a, 'm> {
    metrics: Metrics<'a>,
    memory: Memory<'m>,
}

impl<'a> Reader<'a, '_> {
    fn push<T>(&mut self, of: for<'l> fn(&'l mut Metrics<'a>) -> &'l mut Vec<T>, item: T) -> Read<()> {
        let list = of(&mut self.metrics);
        if list.len() == list.capacity() {
            let more = list.capacity().max(FIRST_ITEMS);
            self.take(more * size_of::<T>())?;
            of(&mut self.metrics).reserve_exact(more);
        }
        of(&mut self.metrics).push(item);
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Read<()> {
        if (self.memory)(bytes) { Ok(()) } else { Err(NoMemory) }
    }

    fn resource(&mut self, message: &'a [u8]) -> Read<()> {
        let attributes = self.resource_attributes(owner(message)?.0)?;
        self.push(|metrics| &mut metrics.resources, attributes)?;
        for field in Fields::of(message) {
            if let (2, Field::Bytes(scope)) = field? {
                self.scope(scope)?;
            }
        }
        Ok(())
    }

    fn resource_attributes(&mut self, message: &'a [u8]) -> Read<Attributes> {
        let start = self.metrics.attributes.len();
        for field in Fields::of(message) {
            match field? {
                (1, Field::Bytes(attribute)) => self.attribute(attribute, RESOURCE_ATTRIBUTE)?,
                (3, Field::Bytes(entity)) => ENTITY_REF.check(entity, MAX_DEPTH - RESOURCE_ATTRIBUTE)?,
                (2, Field::Varint(_)) | (4.., _) => {}
                _ => return Err(Unusual),
            }
        }
        self.since(start)
    }

    fn scope(&mut self, message: &'a [u8]) -> Read<()> {
        let (own, schema_url) = owner(message)?;
        let mut scope = Scope { schema_url, ..Scope::default() };
        let start = self.metrics.attributes.len();
        for field in Fields::of(own) {
            match field? {
                (1, field) => scope.name = text(field)?,
                (2, field) => scope.version = text(field)?,
                (3, Field::Bytes(attribute)) => self.attribute(attribute, SCOPE_ATTRIBUTE)?,
                (4, Field::Varint(_)) | (5.., _) => {}
                _ => return Err(Unusual),
            }
        }
        scope.attributes = self.since(start)?;
        self.push(|metrics| &mut metrics.scopes, scope)?;
        for field in Fields::of(message) {
            if let (2, Field::Bytes(metric)) = field? {
                self.metric(metric)?;
            }
        }
        Ok(())
    }

    fn metric(&mut self, message: &'a [u8]) -> Read<()> {
        let mut metric = Metric {
            resource: self.metrics.resources.len() - 1,
            scope: self.metrics.scopes.len() - 1,
            name: "",
            description: "",
            unit: "",
            data: None,
            temporality: 0,
            is_monotonic: false,
            points: self.metrics.points.len()..self.metrics.points.len(),
        };
        let mut data = None;
        for field in Fields::of(message) {
            match field? {
                (1, field) => metric.name = text(field)?,
                (2, field) => metric.description = text(field)?,
                (3, field) => metric.unit = text(field)?,
                (number @ (5 | 7 | 9..=11), Field::Bytes(message)) => once(&mut data, (number, message))?,
                (12, Field::Bytes(metadata)) => KEY_VALUE.check(metadata, MAX_DEPTH - METADATA)?,
                (4 | 6 | 8 | 13.., _) => {}
                _ => return Err(Unusual),
            }
        }
        if let Some((number, message)) = data {
            metric.data = Some(match number {
                5 => Data::Gauge,
                7 => Data::Sum,
                9 => Data::Histogram,
                10 => Data::ExponentialHistogram,
                _ => Data::Summary,
            });
            self.data(message, &mut metric)?;
        }
        self.metrics.lacks_something |= metric.data.is_none();
        metric.points.end = self.metrics.points.len();
        self.push(|metrics| &mut metrics.metrics, metric)
    }

    fn data(&mut self, message: &'a [u8], metric: &mut Metric<'a>) -> Read<()> {
        let of = metric.data;
        for field in Fields::of(message) {
            let point = match (field?, of) {
                ((1, Field::Bytes(point)), Some(Data::Gauge | Data::Sum)) => self.number(point)?,
                ((1, Field::Bytes(point)), Some(Data::Histogram)) => self.histogram(point)?,
                ((1, Field::Bytes(point)), Some(Data::ExponentialHistogram)) => self.exponential(point)?,
                ((1, Field::Bytes(point)), Some(Data::Summary)) => self.summary(point)?,
                ((2, field), Some(Data::Sum | Data::Histogram | Data::ExponentialHistogram)) => {
                    metric.temporality = fields::int32(varint(field)?);
                    continue;
                }
                ((3, field), Some(Data::Sum)) => {
                    metric.is_monotonic = varint(field)? != 0;
                    continue;
                }
                ((1, _), _) => return Err(Unusual),
                _ => continue,
            };
            self.push(|metrics| &mut metrics.points, point)?;
        }
        Ok(())
    }

    fn number(&mut self, message: &'a [u8]) -> Read<Point<'a>> {
        let mut point = Point::new(self.metrics.attributes.len());
        let mut value = None;
        for field in Fields::of(message) {
            match field? {
                (7, Field::Bytes(attribute)) => self.attribute(attribute, POINT_ATTRIBUTE)?,
                (2, Field::Fixed64(start)) => point.start = start,
                (3, Field::Fixed64(time)) => point.time = time,
                (4, Field::Fixed64(bits)) => value = Some(Number::Float(f64::from_bits(bits))),
                (6, Field::Fixed64(bits)) => value = Some(Number::Int(bits.cast_signed())),
                (5, Field::Bytes(exemplar)) => EXEMPLAR.check(exemplar, MAX_DEPTH - EXEMPLAR_LEVEL)?,
                (8, field) => point.flags = fields::uint32(varint(field)?),
                (1 | 9.., _) => {}
                _ => return Err(Unusual),
            }
        }
        self.metrics.lacks_something |= value.is_none();
        point.content = Content::Number(value);
        self.ended(point)
    }

    fn histogram(&mut self, message: &'a [u8]) -> Read<Point<'a>> {
        let mut point = Point::new(self.metrics.attributes.len());
        let mut histogram = Histogram::default();
        let (mut counts, mut bounds) = (None, None);
        for field in Fields::of(message) {
            match field? {
                (9, Field::Bytes(attribute)) => self.attribute(attribute, POINT_ATTRIBUTE)?,
                (2, Field::Fixed64(start)) => point.start = start,
                (3, Field::Fixed64(time)) => point.time = time,
                (4, Field::Fixed64(count)) => histogram.count = count,
                (5, field) => histogram.sum = Some(float(field)?),
                (6, Field::Bytes(packed)) if packed.len() % 8 == 0 => once(&mut counts, packed)?,
                (7, Field::Bytes(packed)) if packed.len() % 8 == 0 => once(&mut bounds, packed)?,
                (8, Field::Bytes(exemplar)) => EXEMPLAR.check(exemplar, MAX_DEPTH - EXEMPLAR_LEVEL)?,
                (10, field) => point.flags = fields::uint32(varint(field)?),
                (11, field) => histogram.min = Some(float(field)?),
                (12, field) => histogram.max = Some(float(field)?),
                (1 | 13.., _) => {}
                _ => return Err(Unusual),
            }
        }
        (histogram.counts, histogram.bounds) = (counts.unwrap_or_default(), bounds.unwrap_or_default());
        point.content = Content::Histogram(histogram);
        self.ended(point)
    }

    fn exponential(&mut self, message: &'a [u8]) -> Read<Point<'a>> {
        let mut point = Point::new(self.metrics.attributes.len());
        let mut histogram = Exponential::default();
        // Each count of a bucket is a byte at the least.
        self.take(size_of::<Exponential>() + message.len() * size_of::<u64>())?;
        let buckets = |message: &[u8]| Buckets::decode(message).map_err(|_| Unusual);
        for field in Fields::of(message) {
            match field? {
                (1, Field::Bytes(attribute)) => self.attribute(attribute, POINT_ATTRIBUTE)?,
                (2, Field::Fixed64(start)) => point.start = start,
                (3, Field::Fixed64(time)) => point.time = time,
                (4, Field::Fixed64(count)) => histogram.count = count,
                (5, field) => histogram.sum = Some(float(field)?),
                (6, field) => histogram.scale = fields::sint32(varint(field)?),
                (7, Field::Fixed64(count)) => histogram.zero_count = count,
                (8, Field::Bytes(message)) => once(&mut histogram.positive, buckets(message)?)?,
                (9, Field::Bytes(message)) => once(&mut histogram.negative, buckets(message)?)?,
                (10, field) => point.flags = fields::uint32(varint(field)?),
                (11, Field::Bytes(exemplar)) => EXEMPLAR.check(exemplar, MAX_DEPTH - EXEMPLAR_LEVEL)?,
                (12, field) => histogram.min = Some(float(field)?),
                (13, field) => histogram.max = Some(float(field)?),
                (14, field) => histogram.zero_threshold = float(field)?,
                (15.., _) => {}
                _ => return Err(Unusual),
            }
        }
        point.content = Content::Exponential(Box::new(histogram));
        self.ended(point)
    }

    fn summary(&mut self, message: &'a [u8]) -> Read<Point<'a>> {
        let mut point = Point::new(self.metrics.attributes.len());
        let mut summary = Summary::default();
        // Each quantile is two bytes at the least, and a list may be half empty.
        self.take(message.len() * size_of::<(f64, f64)>())?;
        for field in Fields::of(message) {
            match field? {
                (7, Field::Bytes(attribute)) => self.attribute(attribute, POINT_ATTRIBUTE)?,
                (2, Field::Fixed64(start)) => point.start = start,
                (3, Field::Fixed64(time)) => point.time = time,
                (4, Field::Fixed64(count)) => summary.count = count,
                (5, field) => summary.sum = float(field)?,
                (6, Field::Bytes(quantile)) => {
                    let quantile = quantile_value(quantile)?;
                    self.metrics.lacks_something |= quantile.0.is_nan();
                    summary.quantiles.push(quantile);
                }
                (8, field) => point.flags = fields::uint32(varint(field)?),
                (1 | 9.., _) => {}
                _ => return Err(Unusual),
            }
        }
        point.content = Content::Summary(summary);
        self.ended(point)
    }

    fn attribute(&mut self, message: &'a [u8], level: usize) -> Read<()> {
        let attribute = match short_text(message) {
            Some([key, value]) => {
                Attribute { key: text(Field::Bytes(key))?, value: Value::Text(text(Field::Bytes(value))?) }
            }
            None => Attribute::read(message, level)?,
        };
        self.push(|metrics| &mut metrics.attributes, attribute)
    }

    fn ended(&self, mut point: Point<'a>) -> Read<Point<'a>> {
        point.attributes = self.since(point.attributes.start as usize)?;
        Ok(point)
    }

    fn since(&self, start: usize) -> Read<Attributes> {
        let place = |at: usize| u32::try_from(at).map_err(|_| Unusual);
        Ok(Attributes { start: place(start)?, end: place(self.metrics.attributes.len())? })
    }
}

impl Point<'_> {
    fn new(attributes: usize) -> Self {
        // A body is far shorter than 4 GiB; `ended` says so where it is not.
        let start = u32::try_from(attributes).unwrap_or(u32::MAX);
        let attributes = Attributes { start, end: start };
        Self { attributes, start: 0, time: 0, flags: 0, content: Content::Number(None) }
    }
}

/// The resource of a `ResourceMetrics`, or the scope of a `ScopeMetrics`: its first field, before the lists in its second;
/// and the third, the URL of its schema.
pub(super) fn owner(message: &[u8]) -> Read<(&[u8], &str)> {
    let (mut found, mut schema_url) = (None, "");
    for field in Fields::of(message) {
        match field? {
            (1, Field::Bytes(owner)) => once(&mut found, owner)?,
            (3, field) => schema_url = text(field)?,
            (2, Field::Bytes(_)) | (4.., _) => {}
            _ => return Err(Unusual),
        }
    }
    Ok((found.unwrap_or_default(), schema_url))
}

impl<'a> Attribute<'a> {
    /// Reads an attribute that stands in `level` messages.
    pub(super) fn read(message: &'a [u8], level: usize) -> Read<Self> {
        let (mut key, mut value) = ("", None);
        for field in Fields::of(message) {
            match field? {
                (1, field) => key = text(field)?,
                (2, Field::Bytes(any)) => once(&mut value, Value::read(any, level + 1)?)?,
                (3, Field::Varint(_)) | (4.., _) => {}
                _ => return Err(Unusual),
            }
        }
        Ok(Self { key, value: value.unwrap_or(Value::Empty) })
    }
}

impl<'a> Value<'a> {
    fn read(message: &'a [u8], level: usize) -> Read<Self> {
        let mut value = None;
        for field in Fields::of(message) {
            let read = match field? {
                (1, field) => Self::Text(text(field)?),
                (2, Field::Varint(number)) => Self::Bool(number != 0),
                (3, Field::Varint(number)) => Self::Int(number.cast_signed()),
                (4, Field::Fixed64(bits)) => Self::Double(f64::from_bits(bits)),
                (7, Field::Bytes(bytes)) => Self::Bytes(bytes),
                (5 | 6, Field::Bytes(_)) | (8, Field::Varint(_)) => {
                    ANY_VALUE.check(message, MAX_DEPTH - level)?;
                    Self::Nested(message)
                }
                (9.., _) => continue,
                _ => return Err(Unusual),
            };
            once(&mut value, read)?;
        }
        Ok(value.unwrap_or(Self::Empty))
    }
}

fn quantile_value(message: &[u8]) -> Read<(f64, f64)> {
    let (mut quantile, mut value) = (0.0, 0.0);
    for field in Fields::of(message) {
        match field? {
            (1, field) => quantile = float(field)?,
            (2, field) => value = float(field)?,
            _ => {}
        }
    }
    Ok((quantile, value))
}
