use super::*;

type Found<'a> = (String, Vec<&'a str>, Kind, f64, Vec<Tag<'a>>);
type Parsed<'a> = (&'a str, Vec<&'a str>, Kind, f64, Vec<Tag<'a>>);

/// The name, the pieces and the tags of a line.
fn parts(line: &[u8]) -> Result<(String, Parts<'_>), Reason> {
    let mut parts = Parts::default();
    let name = parts.parse(line, StatsdTags::ALL)?;
    Ok((name.into_owned(), parts))
}

/// A line of one piece, which is good.
fn parse(line: &[u8]) -> Result<Found<'_>, Reason> {
    let (name, parts) = parts(line)?;
    let [piece] = parts.pieces.as_slice() else { panic!("not one: {:?}", parts.pieces) };
    let piece = (*piece)?;
    Ok((name, piece.values().collect(), piece.kind, piece.rate, parts.tags))
}

#[test]
fn the_lines_of_the_protocol_descriptions_are_understood() {
    use Kind::{Counter, Distribution, Gauge, Set, Timer};
    let cases: &[(&str, Parsed<'_>)] = &[
        ("gorets:1|c", ("gorets", vec!["1"], Counter, 1.0, vec![])),
        ("gorets:1|c|@0.1", ("gorets", vec!["1"], Counter, 0.1, vec![])),
        ("glork:320|ms|@0.1", ("glork", vec!["320"], Timer, 0.1, vec![])),
        ("gaugor:333|g", ("gaugor", vec!["333"], Gauge, 1.0, vec![])),
        ("gaugor:-10|g", ("gaugor", vec!["-10"], Gauge, 1.0, vec![])),
        ("gaugor:+4|g", ("gaugor", vec!["+4"], Gauge, 1.0, vec![])),
        ("uniques:765|s", ("uniques", vec!["765"], Set, 1.0, vec![])),
        ("fuel.level:0.5|g", ("fuel.level", vec!["0.5"], Gauge, 1.0, vec![])),
        ("song.length:240|h|@0.5", ("song.length", vec!["240"], Distribution, 0.5, vec![])),
        (
            "users.online:1|c|@0.5|#country:china",
            ("users.online", vec!["1"], Counter, 0.5, vec![("country", "china")]),
        ),
        (
            "users.online:1|c|#country:china|@0.5",
            ("users.online", vec!["1"], Counter, 0.5, vec![("country", "china")]),
        ),
        ("page.views:1:2:32|d", ("page.views", vec!["1", "2", "32"], Distribution, 1.0, vec![])),
        ("song.length:240:234|h|@0.5", ("song.length", vec!["240", "234"], Distribution, 0.5, vec![])),
        (
            "page.views:1|g|#env:dev|c:83c0a99c0a54c0c187f461c7980e9b57f3f6a8b0c918c8d93df19a9de6f3fe1d",
            ("page.views", vec!["1"], Gauge, 1.0, vec![("env", "dev")]),
        ),
        (
            "page.views:15|c|#env:dev|T1656581400",
            ("page.views", vec!["15"], Counter, 1.0, vec![("env", "dev")]),
        ),
        (
            "page.views:1|g|#env:dev|c:ci-83c0a99c|e:it-false,cn-nginx,pu-75a2b6d5|card:low",
            ("page.views", vec!["1"], Gauge, 1.0, vec![("env", "dev")]),
        ),
        (
            "a:1|c|#flag,url:http://x:80/,empty:",
            ("a", vec!["1"], Counter, 1.0, vec![("flag", "true"), ("url", "http://x:80/"), ("empty", "")]),
        ),
        ("users:a:b|s", ("users", vec!["a:b"], Set, 1.0, vec![])),
        ("a:1|c|#k:v,", ("a", vec!["1"], Counter, 1.0, vec![("k", "v")])),
        ("a:1|c|#", ("a", vec!["1"], Counter, 1.0, vec![])),
        ("a:1|c|", ("a", vec!["1"], Counter, 1.0, vec![])),
        ("a:1|m", ("a", vec!["1"], Counter, 1.0, vec![])),
        (
            "a: 1 : 2\t| ms | @0.5 | #k:v, #l:w ,#m ",
            ("a", vec!["1", "2"], Timer, 0.5, vec![("k", "v"), ("l", "w"), ("m", "true")]),
        ),
        ("a,k=v:1|c|#k:w", ("a", vec!["1"], Counter, 1.0, vec![("k", "v"), ("k", "w")])),
        ("a[k=x:y].b:1|c", ("a.b", vec!["1"], Counter, 1.0, vec![("k", "x:y")])),
        ("a:1|c|c:ci-1|e:it-false,cn-x", ("a", vec!["1"], Counter, 1.0, vec![])),
        ("größe / ein:1|c", ("größe / ein", vec!["1"], Counter, 1.0, vec![])),
        // Values are judged where they are added, so that a bad one spoils no other.
        ("a::x:3|c", ("a", vec!["", "x", "3"], Counter, 1.0, vec![])),
    ];
    for (line, expected) in cases {
        let (name, values, kind, rate, tags) = parse(line.as_bytes()).unwrap();
        assert_eq!((name.as_str(), values, kind, rate, tags), *expected, "{line}");
    }
}

#[test]
fn what_is_malformed_has_a_reason() {
    let long_name = format!("{}:1|c", "n".repeat(MAX_NAME + 1));
    let long_tags = format!("a:1|c|#k:{}", "v".repeat(2048));
    let many_tags = format!("a:1|c|#k:{0}|#l:{0}", "v".repeat(1024));
    let cases: &[(&[u8], Reason)] = &[
        (b"gorets", Reason::MalformedLine),
        (b"gorets|c", Reason::MalformedLine),
        (b"gorets:1", Reason::MalformedLine),
        (b"  ", Reason::MalformedLine),
        (b":1|c", Reason::EmptyName),
        (b"gorets:1|", Reason::BadType),
        (b"gorets:1|x", Reason::BadType),
        (b"gorets:1|C", Reason::BadType),
        (b"gorets:1|c|@", Reason::BadSampleRate),
        (b"gorets:1|c|@0", Reason::BadSampleRate),
        (b"gorets:1|c|@-0.5", Reason::BadSampleRate),
        (b"gorets:1|c|@1.5", Reason::BadSampleRate),
        (b"gorets:1|c|@1e-300", Reason::BadSampleRate),
        (b"gorets:1|c|@nan", Reason::BadSampleRate),
        (b"gorets:1|c|@x", Reason::BadSampleRate),
        (b"gorets:1|c|0.1", Reason::MalformedLine),
        (b"gorets:1|c|T", Reason::MalformedLine),
        (b"gorets:1|c|Tomorrow", Reason::MalformedLine),
        (b"gorets:1|c|:x", Reason::MalformedLine),
        (b"gorets:1|c|#:v", Reason::BadTag),
        (b"gorets:1|c|#a,:", Reason::BadTag),
        (b"gorets:1|c|#\xff", Reason::NotUtf8),
        (b"g\xc3:1|c", Reason::NotUtf8),
        (b"_e{21,36}:An exception occurred|Cannot parse CSV file", Reason::Unsupported),
        (b"_sc|Redis connection|2|#env:dev|m:timed out", Reason::Unsupported),
        (long_name.as_bytes(), Reason::TooLong),
        (long_tags.as_bytes(), Reason::TooLong),
        (many_tags.as_bytes(), Reason::TooLong),
    ];
    for (line, reason) in cases {
        assert_eq!(parse(line), Err(*reason), "{}", String::from_utf8_lossy(line));
    }
}

#[test]
fn a_line_may_have_values_of_several_types() {
    type Piece<'a> = (Vec<&'a str>, Kind, f64, Option<u64>);
    use Kind::{Counter, Gauge, Set, Timer};
    let cases: &[(&str, &[Result<Piece<'_>, Reason>])] = &[
        ("req:3|ms:6|ms", &[Ok((vec!["3"], Timer, 1.0, None)), Ok((vec!["6"], Timer, 1.0, None))]),
        ("hits:1|c:2|c", &[Ok((vec!["1"], Counter, 1.0, None)), Ok((vec!["2"], Counter, 1.0, None))]),
        (
            "x:1:2|c|@0.5:5 | ms |@0.1|#k:v",
            &[Ok((vec!["1", "2"], Counter, 0.5, None)), Ok((vec!["5"], Timer, 0.1, None))],
        ),
        (
            "x:1|g|T5:a:b|s:c|s|T6",
            &[
                Ok((vec!["1"], Gauge, 1.0, Some(5))),
                Ok((vec!["a:b"], Set, 1.0, None)),
                Ok((vec!["c"], Set, 1.0, Some(6))),
            ],
        ),
        (
            "x:1|q:2|c:3|c|@2:4|c:5",
            &[
                Err(Reason::BadType),
                Ok((vec!["2"], Counter, 1.0, None)),
                Err(Reason::BadSampleRate),
                Ok((vec!["4"], Counter, 1.0, None)),
                Err(Reason::MalformedLine),
            ],
        ),
    ];
    for (line, expected) in cases {
        let (_, parts) = parts(line.as_bytes()).unwrap();
        let found: Vec<_> = parts
            .pieces
            .into_iter()
            .map(|piece| piece.map(|piece| (piece.values().collect(), piece.kind, piece.rate, piece.second)))
            .collect();
        assert_eq!(found, *expected, "{line}");
    }
}
