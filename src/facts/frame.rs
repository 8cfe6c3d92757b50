//! How answers are told apart in the output of a script: frames marked by a delimiter that is random for every
//! execution, so that no file's content can imitate one.
//!
//! On the wire: `\nDELIMITER < NAME ARG...\n`, the body's bytes, `\nDELIMITER > STATUS\n`. The newline in front belongs
//! to the mark, so a body may end without one. Bytes between frames are [`Frame::Loose`] (a tool's unasked talk).

/// 32 hexadecimal digits that mark the frames of one execution.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delimiter(String);

impl Delimiter {
    /// From random bytes, new for every execution.
    pub fn new(random: [u8; 16]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// As text; safe unquoted in shell.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A piece of a script's output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A complete frame.
    Whole {
        /// The first word after `<`.
        name: String,
        /// The words after it.
        args: Vec<String>,
        /// The bytes between the marks.
        body: Vec<u8>,
        /// The text after `>`, usually an exit status.
        status: String,
    },
    /// A frame that began and whose end never came: the connection or the script died inside.
    Cut {
        /// As in `Whole`.
        name: String,
        /// As in `Whole`.
        args: Vec<String>,
        /// What came of it.
        body: Vec<u8>,
    },
    /// Bytes outside of frames, blank ones left out.
    Loose(Vec<u8>),
}

impl Frame {
    /// Bytes of its body.
    pub fn size(&self) -> usize {
        match self {
            Self::Whole { body, .. } | Self::Cut { body, .. } | Self::Loose(body) => body.len(),
        }
    }
}

/// Splits a stream of bytes into frames as they come.
#[derive(Debug)]
pub struct Splitter {
    mark: Vec<u8>,
    buffer: Vec<u8>,
    scanned: usize,
    open: Option<(String, Vec<String>)>,
}

impl Splitter {
    /// For the output of the execution with this delimiter.
    pub fn new(delimiter: &Delimiter) -> Self {
        // A virtual newline in front lets the very first mark match like all others.
        Self {
            mark: format!("\n{} ", delimiter.0).into_bytes(),
            buffer: vec![b'\n'],
            scanned: 0,
            open: None,
        }
    }

    /// Takes bytes in, gives the frames that are now complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some((before, line)) = self.next_mark() {
            let mut words = line.split(' ').map(str::to_owned);
            match (words.next().as_deref(), self.open.take()) {
                (Some("<"), None) => {
                    frames.extend(loose(before));
                    self.open = Some((words.next().unwrap_or_default(), words.collect()));
                }
                (Some("<"), Some((name, args))) => {
                    frames.push(Frame::Cut {
                        name,
                        args,
                        body: before,
                    });
                    self.open = Some((words.next().unwrap_or_default(), words.collect()));
                }
                (_, Some((name, args))) => {
                    let status = words.collect::<Vec<_>>().join(" ");
                    frames.push(Frame::Whole {
                        name,
                        args,
                        body: before,
                        status,
                    });
                }
                (_, None) => frames.extend(loose(before)),
            }
        }
        frames
    }

    /// Bytes that wait for the end of their frame.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// The stream ended: what is left.
    pub fn finish(mut self) -> Option<Frame> {
        let rest = std::mem::take(&mut self.buffer);
        match self.open.take() {
            Some((name, args)) => Some(Frame::Cut {
                name,
                args,
                body: strip_newline(rest),
            }),
            None => loose(rest),
        }
    }

    /// The bytes before the next whole mark line, and the text of that line after the delimiter. The newline that
    /// ends the line stays in the buffer: it may begin the next mark.
    fn next_mark(&mut self) -> Option<(Vec<u8>, String)> {
        let from = self.scanned;
        let found = find(self.buffer.get(from..)?, &self.mark).map(|at| from + at);
        let Some(start) = found else {
            self.scanned = self.buffer.len().saturating_sub(self.mark.len());
            return None;
        };
        let text_start = start + self.mark.len();
        let Some(length) = self
            .buffer
            .get(text_start..)?
            .iter()
            .position(|byte| *byte == b'\n')
        else {
            self.scanned = start;
            return None;
        };
        let line =
            String::from_utf8_lossy(self.buffer.get(text_start..text_start + length)?).into_owned();
        let rest = self.buffer.split_off(text_start + length);
        let mut before = std::mem::replace(&mut self.buffer, rest);
        before.truncate(start);
        self.scanned = 0;
        Some((strip_newline(before), line))
    }
}

/// The newline that ended the mark before this body.
fn strip_newline(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.first() == Some(&b'\n') {
        bytes.remove(0);
    }
    bytes
}

fn loose(bytes: Vec<u8>) -> Option<Frame> {
    (!bytes.iter().all(u8::is_ascii_whitespace)).then_some(Frame::Loose(bytes))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(name: &str, args: &[&str], body: &[u8], status: &str) -> Frame {
        Frame::Whole {
            name: name.into(),
            args: args.iter().map(|a| (*a).to_owned()).collect(),
            body: body.to_vec(),
            status: status.into(),
        }
    }

    fn split(delimiter: &Delimiter, bytes: &[u8], chunk: usize) -> Vec<Frame> {
        let mut splitter = Splitter::new(delimiter);
        let mut frames: Vec<Frame> = bytes
            .chunks(chunk)
            .flat_map(|part| splitter.push(part))
            .collect();
        frames.extend(splitter.finish());
        frames
    }

    #[test]
    fn frames_are_found_whatever_the_chunks_and_bodies() {
        let d = Delimiter::new([7; 16]);
        let m = d.as_str();
        let bytes = format!(
            "hello\n{m} < a 1 2\nbody\n\n{m} > 0\n\n{m} < b\n\n{m} > 1 x\n{m} < c\nno end\n\n"
        );
        let expected = vec![
            Frame::Loose(b"hello".to_vec()),
            whole("a", &["1", "2"], b"body\n", "0"),
            whole("b", &[], b"", "1 x"),
            Frame::Cut {
                name: "c".into(),
                args: vec![],
                body: b"no end\n\n".to_vec(),
            },
        ];
        for chunk in [1, 2, 3, 7, 1000] {
            assert_eq!(
                split(&d, bytes.as_bytes(), chunk),
                expected,
                "chunks of {chunk}"
            );
        }
    }

    #[test]
    fn another_delimiter_inside_a_body_is_just_bytes() {
        let d = Delimiter::new([1; 16]);
        let other = Delimiter::new([2; 16]);
        let m = d.as_str();
        let evil = format!("x\n{} > 0\n\0\n", other.as_str());
        let bytes = format!("{m} < a\n{evil}\n{m} > 0\n");
        assert_eq!(
            split(&d, bytes.as_bytes(), 5),
            vec![whole("a", &[], evil.as_bytes(), "0")]
        );
    }
}
