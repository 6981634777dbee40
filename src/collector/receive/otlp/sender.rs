//! Whose a request is that cannot be read: its service, where the bytes still show one.
//!
//! It must not be relied on for anything but a log line.

/// What stands before the name in both encodings.
const KEY: &[u8] = b"service.name";
/// How far behind its key a value in JSON may begin.
const NEAR: usize = 64;
const LONGEST: usize = 256;

/// The first `service.name` in a request, in protobuf or in JSON.
pub(super) fn service(request: &[u8]) -> Option<String> {
    let at = request.windows(KEY.len()).position(|window| window == KEY)?;
    let rest = request.get(at + KEY.len()..)?;
    let name = in_protobuf(rest).or_else(|| in_json(rest))?;
    Some(String::from_utf8_lossy(name).replace(char::is_control, " "))
}

/// An `AnyValue` in field 2 with a string in field 1.
fn in_protobuf(rest: &[u8]) -> Option<&[u8]> {
    let [0x12, _, 0x0a, length @ ..0x80, name @ ..] = rest else { return None };
    name.get(..usize::from(*length))
}

fn in_json(rest: &[u8]) -> Option<&[u8]> {
    const VALUE: &[u8] = b"\"stringValue\"";
    let at = rest.windows(VALUE.len()).take(NEAR).position(|window| window == VALUE)?;
    let value = rest.get(at + VALUE.len()..)?;
    let quote = |from: &[u8]| from.iter().take(LONGEST).position(|byte| *byte == b'"');
    let name = value.get(quote(value)? + 1..)?;
    name.get(..quote(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_found_in_what_cannot_be_read() {
        let json = br#"{"key": "service.name", "value": {"stringValue": "shop"}}]}, "broken": "#;
        assert_eq!(service(json).as_deref(), Some("shop"));
        let protobuf = b"\x0a\x0cservice.name\x12\x06\x0a\x04shop\xff\xff";
        assert_eq!(service(protobuf).as_deref(), Some("shop"));
        for broken in [&b"service.name"[..], b"\"service.name\":{\"stringValue\":\"shop", b"service.nam", b""]
        {
            assert_eq!(service(broken), None);
        }
    }
}
