//! The resource: who the telemetry is from.
//!
//! Follows the OpenTelemetry specification's resource SDK and environment variables, also where the Rust
//! SDK does not: `OTEL_SERVICE_NAME` wins over `OTEL_RESOURCE_ATTRIBUTES`, whose values are percent-decoded,
//! and a malformed list is discarded as a whole.

use opentelemetry::KeyValue;
use opentelemetry_sdk::{Resource, resource::TelemetryResourceDetector};

use super::Environment;

/// `service.name`, `service.version` and a `service.instance.id` that is unique to this process, each
/// overridden by the standard variables.
#[must_use]
pub fn resource(environment: &Environment, name: &'static str, version: &'static str) -> Resource {
    let instance = uuid::Uuid::new_v4().to_string();
    let named =
        environment.value("OTEL_SERVICE_NAME").map(|name| KeyValue::new("service.name", name.to_owned()));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes([
            KeyValue::new("service.name", name),
            KeyValue::new("service.version", version),
            KeyValue::new("service.instance.id", instance),
        ])
        .with_attributes(environment.resource_attributes())
        .with_attributes(named)
        .build()
}

/// Reads `key1=value1,key2=value2`, percent-decoded.
///
/// # Errors
/// What is wrong with the list, for a person to read.
pub(super) fn parse(list: &str) -> Result<Vec<KeyValue>, String> {
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (key, value) = entry.split_once('=').ok_or_else(|| format!("{entry:?} has no `=`"))?;
            let (key, value) = (decode(key.trim())?, decode(value.trim())?);
            if key.is_empty() {
                return Err(format!("{entry:?} has no key"));
            }
            Ok(KeyValue::new(key, value))
        })
        .collect()
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| {
            let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())
        });
        match escaped {
            None => {
                bytes.push(*first);
                rest = behind;
            }
            Some(Some(byte)) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            Some(None) => return Err(format!("{text:?} has a `%` without two hexadecimal digits")),
        }
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is not UTF-8 when percent-decoded"))
}

#[cfg(test)]
mod tests {
    use opentelemetry::Key;

    use super::*;

    fn attribute(resource: &Resource, key: &'static str) -> Option<String> {
        resource.get(&Key::from_static_str(key)).map(|value| value.to_string())
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::of(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn instances_are_unique() {
        let environment = environment(&[]);
        let [a, b] = [0, 1].map(|_| resource(&environment, "pushpull", "1.2.3"));
        assert_eq!(attribute(&a, "service.name").as_deref(), Some("pushpull"));
        assert_eq!(attribute(&a, "service.version").as_deref(), Some("1.2.3"));
        assert_eq!(attribute(&a, "telemetry.sdk.language").as_deref(), Some("rust"));
        assert_ne!(attribute(&a, "service.instance.id"), attribute(&b, "service.instance.id"));
    }

    #[test]
    fn variables_win_in_the_specified_order() {
        let list = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=listed,team=a%2Cb%20c,service.instance.id=7");
        let listed = resource(&environment(&[list]), "pushpull", "1");
        assert_eq!(attribute(&listed, "service.name").as_deref(), Some("listed"));
        assert_eq!(attribute(&listed, "team").as_deref(), Some("a,b c"));
        assert_eq!(attribute(&listed, "service.instance.id").as_deref(), Some("7"));
        let named = resource(&environment(&[list, ("OTEL_SERVICE_NAME", "named")]), "pushpull", "1");
        assert_eq!(attribute(&named, "service.name").as_deref(), Some("named"));
    }

    #[test]
    fn a_malformed_list_is_discarded_whole_with_one_warning() {
        for list in ["a=1,b", "a=%zz", "a=%f", "=x", "a=%ff"] {
            let environment = environment(&[("OTEL_RESOURCE_ATTRIBUTES", list)]);
            assert_eq!(environment.resource_attributes(), [], "{list}");
            assert_eq!(environment.warnings().len(), 1, "{list}");
        }
    }
}
