//! The faults by name: which there are, what the value of each means, how long one may last.
//!
//! Must not know how a fault is brought about.

use std::time::Duration;

use super::invalid::{Fault as Objection, Problem};
use super::values;

/// How long a fault lasts where that is not said, in seconds.
pub const SECONDS: &str = "60";
/// The longest that a fault may last, in seconds.
const MOST_SECONDS: f64 = 3600.0;

/// The name of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The database refuses connections.
    DatabaseRefuse,
    /// Each query takes longer.
    DatabaseSlow,
    /// The pool has fewer connections.
    Pool,
    /// Requests are answered 500.
    Errors,
    /// Pages lack their end.
    Truncate,
    /// What is pushed does not arrive.
    CollectorAway,
    /// Scrapes are refused.
    ScrapeRefuse,
}

impl Name {
    /// Every fault, in the order of the list.
    pub const ALL: [Self; 7] = [
        Self::DatabaseRefuse,
        Self::DatabaseSlow,
        Self::Pool,
        Self::Errors,
        Self::Truncate,
        Self::CollectorAway,
        Self::ScrapeRefuse,
    ];

    /// The name as it is written.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::DatabaseRefuse => "database-refuse",
            Self::DatabaseSlow => "database-slow",
            Self::Pool => "pool",
            Self::Errors => "errors",
            Self::Truncate => "truncate",
            Self::CollectorAway => "collector-away",
            Self::ScrapeRefuse => "scrape-refuse",
        }
    }

    /// What its value is called; `None` where it takes none.
    #[must_use]
    pub const fn value(self) -> Option<&'static str> {
        match self {
            Self::DatabaseSlow => Some("MS"),
            Self::Pool => Some("N"),
            Self::Errors => Some("RATE"),
            Self::DatabaseRefuse | Self::Truncate | Self::CollectorAway | Self::ScrapeRefuse => None,
        }
    }

    /// What it does, with the range of its value.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::DatabaseRefuse => "the database refuses connections, and those that are open are closed",
            Self::DatabaseSlow => "each query takes MS milliseconds longer, 1 to 60000",
            Self::Pool => "N of the pool's connections are left, 0 to 1024; the others are held",
            Self::Errors => "RATE of the requests of / and of /database are answered 500, 0 to 1",
            Self::Truncate => "the texts of / and of /database lack their end, and are answered 200",
            Self::CollectorAway => "what is pushed finds no collector",
            Self::ScrapeRefuse => "the metrics page is answered 503",
        }
    }

    /// The name that is written so.
    ///
    /// # Errors
    /// Where no fault has it: what to write instead.
    pub fn of(text: &str) -> Result<Self, Problem> {
        Self::find(text).map_err(|objection| objection.of("fault", Some(text)))
    }

    fn find(text: &str) -> Result<Self, Objection> {
        let found = Self::ALL.into_iter().find(|name| name.text() == text);
        found.ok_or_else(|| objection("unknown".to_owned()))
    }

    fn effect(self, value: Option<&str>) -> Result<Effect, Objection> {
        let (value, called) = match (value, self.value()) {
            (Some(value), Some(called)) => (value, called),
            (None, None) => ("", ""),
            (None, Some(called)) => return Err(objection(format!("{} needs {called}", self.text()))),
            (Some(_), None) => return Err(objection(format!("{} takes no value", self.text()))),
        };
        let effect = match self {
            Self::DatabaseRefuse => Ok(Effect::DatabaseRefuse),
            Self::DatabaseSlow => values::count(value, 1..=60_000)
                .map(|milliseconds| Effect::DatabaseSlow(Duration::from_millis(milliseconds))),
            Self::Pool => values::count(value, 0..=1024).map(Effect::Pool),
            Self::Errors => values::number(value, 0.0..=1.0).map(Effect::Errors),
            Self::Truncate => Ok(Effect::Truncate),
            Self::CollectorAway => Ok(Effect::CollectorAway),
            Self::ScrapeRefuse => Ok(Effect::ScrapeRefuse),
        };
        effect.map_err(|inner| explained(called, &inner))
    }
}

/// A fault with its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// The database refuses connections.
    DatabaseRefuse,
    /// Each query takes this much longer, 1 ms to 60 s.
    DatabaseSlow(Duration),
    /// The connections that the pool has left, 0 to 1024.
    Pool(u32),
    /// The share of requests that are answered 500, 0 to 1.
    Errors(f64),
    /// Pages lack their end.
    Truncate,
    /// What is pushed does not arrive.
    CollectorAway,
    /// Scrapes are refused.
    ScrapeRefuse,
}

impl Effect {
    /// Which fault it is.
    #[must_use]
    pub const fn name(self) -> Name {
        match self {
            Self::DatabaseRefuse => Name::DatabaseRefuse,
            Self::DatabaseSlow(_) => Name::DatabaseSlow,
            Self::Pool(_) => Name::Pool,
            Self::Errors(_) => Name::Errors,
            Self::Truncate => Name::Truncate,
            Self::CollectorAway => Name::CollectorAway,
            Self::ScrapeRefuse => Name::ScrapeRefuse,
        }
    }

    /// Its value as a number, in the unit in which it is given.
    #[must_use]
    pub fn value(self) -> Option<f64> {
        match self {
            Self::DatabaseSlow(time) => Some(time.as_secs_f64() * 1000.0),
            Self::Pool(left) => Some(f64::from(left)),
            Self::Errors(rate) => Some(rate),
            Self::DatabaseRefuse | Self::Truncate | Self::CollectorAway | Self::ScrapeRefuse => None,
        }
    }
}

/// A fault that is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Order {
    /// Which one, and how much of it.
    pub effect: Effect,
    /// How long it lasts, up to an hour.
    pub lasts: Duration,
}

impl Order {
    /// The fault of this name, with a value where it takes one, for so many seconds or, without a number, for a
    /// minute.
    ///
    /// # Errors
    /// What is wrong with the value or the seconds, with the list of what is possible.
    pub fn new(name: Name, value: Option<&str>, seconds: Option<&str>) -> Result<Self, Problem> {
        let effect = name.effect(value).map_err(|objection| objection.of(name.text(), value))?;
        let lasts = time(seconds).map_err(|objection| objection.of(name.text(), seconds))?;
        Ok(Self { effect, lasts })
    }
}

/// One `--fault`: `NAME[=VALUE][@SECONDS]`.
pub(super) fn order(text: &str) -> Result<Order, Objection> {
    let (fault, seconds) = match text.rsplit_once('@') {
        Some((fault, seconds)) => (fault, Some(seconds)),
        None => (text, None),
    };
    let (name, value) = match fault.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (fault, None),
    };
    Ok(Order { effect: Name::find(name)?.effect(value)?, lasts: time(seconds)? })
}

fn time(seconds: Option<&str>) -> Result<Duration, Objection> {
    values::positive(seconds.unwrap_or(SECONDS), MOST_SECONDS)
        .map(Duration::from_secs_f64)
        .map_err(|inner| explained("SECONDS", &inner))
}

/// One problem for each fault that is asked for more than once.
pub(super) fn repeated(orders: &[Order]) -> Vec<Objection> {
    let count = |name: Name| orders.iter().filter(|order| order.effect.name().text() == name.text()).count();
    let repeated = Name::ALL.into_iter().map(|name| (name, count(name))).filter(|(_, count)| *count > 1);
    repeated
        .map(|(name, count)| Objection::new(format!("{} given {count} times", name.text()), "give it once"))
        .collect()
}

/// An objection to a value or a time, with what is right there before the list.
fn explained(called: &str, inner: &Objection) -> Objection {
    objection(format!("{called} is {} ({})", inner.reason, inner.remedy))
}

fn objection(reason: String) -> Objection {
    let list: Vec<String> = Name::ALL
        .into_iter()
        .map(|name| match name.value() {
            Some(value) => format!("{}={value}", name.text()),
            None => name.text().to_owned(),
        })
        .collect();
    let time = format!("each with @SECONDS up to {MOST_SECONDS}, else for {SECONDS} s");
    Objection::new(reason, format!("the faults are {}, {time}", list.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        let seconds = Duration::from_secs_f64;
        for (text, effect, lasts) in [
            ("truncate", Effect::Truncate, 60.0),
            ("database-refuse@1", Effect::DatabaseRefuse, 1.0),
            ("collector-away@0.5", Effect::CollectorAway, 0.5),
            ("scrape-refuse@3600", Effect::ScrapeRefuse, 3600.0),
            ("database-slow=250", Effect::DatabaseSlow(Duration::from_millis(250)), 60.0),
            ("pool=0@2", Effect::Pool(0), 2.0),
            ("errors=0.25@10", Effect::Errors(0.25), 10.0),
            ("errors=1", Effect::Errors(1.0), 60.0),
        ] {
            assert_eq!(order(text), Ok(Order { effect, lasts: seconds(lasts) }), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_comes_with_the_list() {
        const LIST: &str = "the faults are database-refuse, database-slow=MS, pool=N, errors=RATE, truncate, \
            collector-away, scrape-refuse, each with @SECONDS up to 3600, else for 60 s";
        for (text, reason) in [
            ("gremlins", "unknown"),
            ("", "unknown"),
            ("Errors=1", "unknown"),
            ("errors", "errors needs RATE"),
            ("truncate=1", "truncate takes no value"),
            ("errors=", "RATE is not a number (give a number from 0 to 1)"),
            ("errors=1.5", "RATE is too large (give a number from 0 to 1)"),
            ("errors=-0.1", "RATE is too small (give a number from 0 to 1)"),
            ("errors=NaN", "RATE is not a number (give a number from 0 to 1)"),
            ("pool=-1", "N is not a whole number (give a whole number from 0 to 1024)"),
            ("pool=1.5", "N is not a whole number (give a whole number from 0 to 1024)"),
            ("database-slow=0", "MS is too small (give a whole number from 1 to 60000)"),
            ("database-slow=60001", "MS is too large (give a whole number from 1 to 60000)"),
            ("truncate@0", "SECONDS is not above 0 (give a number above 0, up to 3600)"),
            ("truncate@3601", "SECONDS is too large (give a number above 0, up to 3600)"),
            ("truncate@", "SECONDS is not a number (give a number above 0, up to 3600)"),
            ("truncate@5@5", "unknown"),
        ] {
            let objection = order(text).expect_err(text);
            assert_eq!((objection.reason.as_str(), objection.remedy.as_str()), (reason, LIST), "{text}");
        }
    }

    #[test]
    fn what_is_to_blame_is_shown() {
        for (value, seconds, start) in [
            (Some("2"), Some("5"), "errors \"2\": RATE is too large"),
            (Some("0.5"), Some("-5"), "errors \"-5\": SECONDS is not above 0"),
            (None, Some("5"), "errors: errors needs RATE"),
        ] {
            let problem = Order::new(Name::Errors, value, seconds).expect_err(start).to_string();
            assert!(problem.starts_with(start), "{problem}");
        }
    }

    #[test]
    fn a_fault_is_asked_for_once() {
        let orders = ["pool=1", "truncate", "pool=2"].map(|text| order(text).unwrap());
        let reasons: Vec<_> = repeated(&orders).into_iter().map(|objection| objection.reason).collect();
        assert_eq!(reasons, ["pool given 2 times"]);
    }
}
