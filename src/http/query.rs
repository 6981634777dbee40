//! The query of a request without the credentials that may stand in it.
//!
//! It must leave everything else as it was sent.

use std::borrow::Cow;

/// Keys whose values sign a URL and are thus as good as a password; the conventions list them at `url.query`.
const CREDENTIALS: [&str; 7] = [
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Goog-Signature",
];
/// What stands in a value's place.
const REDACTED: &str = "REDACTED";

/// The query with each credential's value replaced, its key kept.
pub(super) fn redacted(query: &str) -> Cow<'_, str> {
    if !query.split('&').any(|pair| credential(pair).is_some()) {
        return Cow::Borrowed(query);
    }
    let mut text = String::with_capacity(query.len());
    for (place, pair) in query.split('&').enumerate() {
        if place > 0 {
            text.push('&');
        }
        match credential(pair) {
            Some(key) => text.extend([key, "=", REDACTED]),
            None => text.push_str(pair),
        }
    }
    Cow::Owned(text)
}

/// The key of a pair whose value is a credential.
fn credential(pair: &str) -> Option<&str> {
    let (key, _) = pair.split_once('=')?;
    CREDENTIALS.contains(&key).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_values_of_credentials_are_replaced() {
        for (sent, told) in [
            ("", ""),
            ("q=a%20b&&x", "q=a%20b&&x"),
            ("sig=abc", "sig=REDACTED"),
            (
                "q=1&Signature=a=b&X-Goog-Signature=&y=2",
                "q=1&Signature=REDACTED&X-Goog-Signature=REDACTED&y=2",
            ),
            ("&sig=1", "&sig=REDACTED"),
            ("AWSAccessKeyId=k&X-Amz-Signature=s", "AWSAccessKeyId=REDACTED&X-Amz-Signature=REDACTED"),
            ("design=1&signature=2&sig", "design=1&signature=2&sig"),
        ] {
            assert_eq!(redacted(sent), told, "{sent}");
        }
    }
}
