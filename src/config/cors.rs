//! The origins of web pages that may send from a browser.
//!
//! Must not judge who they are: an origin is scheme, host and port, as a browser writes them.

use url::Url;

use super::invalid::Fault;

/// One of `--otlp-cors`: `*`, or an origin in the form in which browsers send it.
pub(super) fn origin(text: &str) -> Result<String, Fault> {
    let fault = |reason| {
        Fault::new(reason, "give an origin such as https://shop.example or http://localhost:3000, or *")
    };
    if text == "*" {
        return Ok(text.to_owned());
    }
    let url = Url::parse(text).map_err(|_| fault("not an origin"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(fault("neither http:// nor https://"));
    }
    let is_alone = url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    match is_alone && !text.contains('*') {
        true => Ok(url.origin().ascii_serialization()),
        false => Err(fault("more than scheme, host and port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_write_them() {
        for (text, expected) in [
            ("*", "*"),
            ("https://shop.example", "https://shop.example"),
            ("HTTPS://Shop.Example/", "https://shop.example"),
            ("https://shop.example:443", "https://shop.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("https://käse.example", "https://xn--kse-qla.example"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "shop.example",
            "https://shop.example/app",
            "https://a@shop.example",
            "null",
            "https://*.example",
            "file:///x",
            "https://shop.example?x",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
