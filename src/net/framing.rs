//! Where one request of HTTP/1 ends and the next begins, in the bytes that a client sends.
//!
//! Only the task of a connection knows when a request is answered, and only the HTTP library how far it has read; what
//! a client sent ahead of an answer would have no bound without this. It decides nothing: a request that it reads
//! wrongly is one that the library refuses.

/// What is kept of a line: enough for a field that says how long a body is.
const LINE: usize = 128;

/// The requests of a connection, read byte by byte as they come.
#[derive(Debug, Default)]
pub(super) struct Framing {
    part: Part,
    /// The beginning of the current line.
    line: Vec<u8>,
    /// Whether the request line of the current head is here.
    in_fields: bool,
    /// Whether an empty line came where a request is to begin.
    after_empty_line: bool,
    length: u64,
    chunked: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    /// A body, or a chunk with its line end, of which this many bytes are to come.
    Body(u64),
    Chunk(u64),
    ChunkSize,
    Trailers,
}

impl Framing {
    /// Reads on.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.part {
                Part::Body(left) => {
                    let (left, rest) = skip(left, bytes);
                    self.part = if left == 0 { Part::Head } else { Part::Body(left) };
                    rest
                }
                Part::Chunk(left) => {
                    let (left, rest) = skip(left, bytes);
                    self.part = if left == 0 { Part::ChunkSize } else { Part::Chunk(left) };
                    rest
                }
                Part::Head | Part::ChunkSize | Part::Trailers => self.read_line(bytes),
            };
        }
    }

    /// Whether a head has begun that is not here to its end.
    pub(super) fn is_in_head(&self) -> bool {
        self.part == Part::Head && (self.in_fields || self.after_empty_line || !self.line.is_empty())
    }

    fn read_line<'bytes>(&mut self, bytes: &'bytes [u8]) -> &'bytes [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        let room = LINE - self.line.len();
        self.line.extend_from_slice(&line[..line.len().min(room)]);
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            self.end_line(line.trim_ascii());
        }
        rest
    }

    fn end_line(&mut self, line: &[u8]) {
        match self.part {
            // Empty lines before a request are allowed (RFC 9112, 2.2), and have its time.
            Part::Head if line.is_empty() && !self.in_fields => self.after_empty_line = true,
            Part::Head if line.is_empty() => {
                self.part = match (self.chunked, self.length) {
                    (true, _) => Part::ChunkSize,
                    (false, 0) => Part::Head,
                    (false, length) => Part::Body(length),
                };
                (self.in_fields, self.length, self.chunked) = (false, 0, false);
                self.after_empty_line = false;
            }
            Part::Head if self.in_fields => self.read_field(line),
            Part::Head => self.in_fields = true,
            Part::ChunkSize => {
                let size = line.split(|byte| *byte == b';').next().and_then(|size| {
                    u64::from_str_radix(std::str::from_utf8(size.trim_ascii()).ok()?, 16).ok()
                });
                self.part = match size {
                    None | Some(0) => Part::Trailers,
                    Some(size) => Part::Chunk(size.saturating_add(2)),
                };
            }
            Part::Trailers if line.is_empty() => self.part = Part::Head,
            Part::Trailers | Part::Body(_) | Part::Chunk(_) => {}
        }
    }

    fn read_field(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            self.length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok()).unwrap_or(0);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = value.to_ascii_lowercase().ends_with(b"chunked");
        }
    }
}

fn skip(left: u64, bytes: &[u8]) -> (u64, &[u8]) {
    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (left - skipped as u64, &bytes[skipped..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-LENGTH:  5 \r\nHost: test\r\n\r\nab\r\n\r",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n5;a=b\r\nab\r\n\r\r\nA\r\n0123456789\r\n0\r\n\
          Trailer: 1\r\n\r\n",
        b"\r\nGET / HTTP/1.1\nHost: test\n\n",
    ];

    #[test]
    fn a_head_ends_where_its_empty_line_is_and_the_next_begins_behind_the_body() {
        for first in REQUESTS {
            for second in REQUESTS {
                let both = [first, second].concat();
                for cut in 0..both.len() {
                    let mut framing = Framing::default();
                    framing.read(&both[..cut]);
                    framing.read(&both[cut..]);
                    assert!(!framing.is_in_head(), "{:?} cut at {cut}", String::from_utf8_lossy(&both));
                    framing.read(b"G");
                    assert!(framing.is_in_head());
                }
            }
        }
    }

    #[test]
    fn a_long_line_is_kept_in_part() {
        let mut framing = Framing::default();
        framing.read(b"GET / HTTP/1.1\r\n");
        for _ in 0..1_000 {
            framing.read(&[b'a'; 100]);
        }
        assert_eq!(framing.line.len(), LINE);
        framing.read(b"\r\n\r\n");
        assert!(!framing.is_in_head());
    }
}
