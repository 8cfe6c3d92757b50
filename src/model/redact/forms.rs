//! The forms in which a value may show: how programs escape and encode texts.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Characters below which a value is not registered.
pub const SHORTEST: usize = 4;

/// Characters below which a value is found as a word of its own only.
pub const SHORT: usize = 8;

/// Bytes up to which a value is known as a whole.
pub const WHOLE: usize = 16 << 10;

/// Of a longer one, so many first and last bytes.
pub const PART: usize = 8 << 10;

/// Bytes of lines that are known of a long value.
pub const LINES: usize = 512 << 10;

/// Widths at which programs break base64: MIME (coreutils), PEM.
const WIDTHS: [usize; 2] = [76, 64];

/// One form of a value.
pub(super) struct Form {
    pub bytes: Zeroizing<Vec<u8>>,
    /// Only as a word of its own.
    pub word: bool,
}

/// Without blanks around it, of which Unicode has more than ASCII.
fn trimmed(value: &[u8]) -> &[u8] {
    std::str::from_utf8(value).map_or_else(|_| value.trim_ascii(), |text| text.trim().as_bytes())
}

/// All forms of a value; none where it is too short.
pub(super) fn of(value: &[u8]) -> Vec<Form> {
    let value = trimmed(value);
    let length = std::str::from_utf8(value).map_or(value.len(), |text| text.chars().count());
    let mut forms = Forms::default();
    if length < SHORTEST {
        return forms.found;
    }
    if value.len() <= WHOLE {
        forms.every(value, length < SHORT);
    } else {
        let (first, last) = (value.get(..PART), value.get(value.len() - PART..));
        for part in [first, last].into_iter().flatten() {
            forms.every(part, false);
        }
    }
    forms.lines(value);
    forms.found
}

#[derive(Default)]
struct Forms {
    found: Vec<Form>,
}

impl Forms {
    fn push(&mut self, bytes: impl Into<Vec<u8>>, word: bool) {
        let bytes = Zeroizing::new(bytes.into());
        if bytes.len() >= SHORTEST {
            self.found.push(Form { bytes, word });
        }
    }

    fn every(&mut self, value: &[u8], word: bool) {
        self.push(value, word);
        match std::str::from_utf8(value) {
            Ok(text) => self.texts(text, word),
            Err(_) => self.runs(value),
        }
        self.push(hex(value, b"0123456789abcdef"), false);
        self.push(hex(value, b"0123456789ABCDEF"), false);
        self.base64(value);
    }

    /// What is text in bytes that are none: it is what a lossy conversion leaves.
    fn runs(&mut self, value: &[u8]) {
        for chunk in value.utf8_chunks() {
            let run = chunk.valid().trim();
            if run.chars().count() >= SHORT {
                self.push(run, false);
            }
        }
    }

    fn texts(&mut self, text: &str, word: bool) {
        for (ascii, slashes) in [
            (None, false),
            (None, true),
            (Some(false), false),
            (Some(true), false),
        ] {
            self.push(json(text, ascii, slashes), word);
        }
        let rust = format!("{text:?}");
        self.push(rust.get(1..rust.len() - 1).unwrap_or_default(), word);
        self.push(terminal(text), word);
        for quote in [r"'\''", "'\"'\"'"] {
            self.push(text.replace('\'', quote), word);
        }
        self.push(backslashed(text), word);
        if text.contains('\n') {
            self.push(text.replace('\n', "\r\n"), word);
        }
        // As for one component (RFC 3986, then JavaScript's, then that of forms), and for a whole URL.
        for kept in ["-._~", "-._~!'()*", "-._*", "-._~!'()*;,/?:@&=+$#"] {
            for upper in [true, false] {
                for plus in [false, true] {
                    self.push(url(text, kept, upper, plus), word);
                }
            }
        }
    }

    /// What of its base64 does not depend on what is before and after it.
    fn base64(&mut self, value: &[u8]) {
        for offset in 0..3_usize {
            let mut padded = Zeroizing::new(vec![0; offset]);
            padded.extend_from_slice(value);
            let first = (offset * 8).div_ceil(6);
            let last = padded.len() * 8 / 6;
            for text in [
                STANDARD_NO_PAD.encode(&*padded),
                URL_SAFE_NO_PAD.encode(&*padded),
            ] {
                let text = Zeroizing::new(text);
                let stable = text.get(first..last).unwrap_or_default();
                self.push(stable, stable.len() < SHORT);
                if offset == 0 {
                    self.broken(stable);
                }
            }
        }
    }

    /// Base64 of a value that is alone, in lines.
    fn broken(&mut self, text: &str) {
        for width in WIDTHS.into_iter().filter(|width| text.len() > *width) {
            for line in text
                .as_bytes()
                .chunks(width)
                .filter(|line| line.len() >= SHORT)
            {
                self.push(line, false);
            }
        }
    }

    fn lines(&mut self, value: &[u8]) {
        let mut left = LINES;
        let all = value.split(|byte| *byte == b'\n');
        for line in all.filter(|_| value.contains(&b'\n')).map(trimmed) {
            let armor = line.starts_with(b"-----") && line.ends_with(b"-----");
            let Ok(text) = std::str::from_utf8(line) else {
                continue;
            };
            if armor || text.chars().count() < SHORT || left < line.len() {
                continue;
            }
            left -= line.len();
            self.push(line, false);
            if value.len() <= WHOLE {
                self.push(json(text, None, false), false);
                self.push(json(text, Some(false), false), false);
                self.push(text.replace('\'', r"'\''"), false);
                self.push(terminal(text), false);
            }
        }
    }
}

fn hex(bytes: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let digit = |nibble: u8| digits.get(usize::from(nibble)).copied().unwrap_or(b'0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// As JSON writes it, without the quotes. `ascii`: everything else as `\uXXXX`, in upper case or not. `slashes`: `/` too.
fn json(text: &str, ascii: Option<bool>, slashes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units = [0; 2];
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '/' if slashes => out.push_str("\\/"),
            c if c < ' ' || ascii.is_some() && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut units) {
                    let escape = match ascii {
                        Some(true) => format!("\\u{unit:04X}"),
                        _ => format!("\\u{unit:04x}"),
                    };
                    out.push_str(&escape);
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// As our own reports show characters that would drive a terminal.
fn terminal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str("    "),
            '\n' => out.push('\n'),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            c if c.is_control() && (c as u32) < 0x100 => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out
}

/// As shells print a word that they would read again (`printf %q`).
fn backslashed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let plain = c.is_ascii_alphanumeric() || !c.is_ascii() || "_-./:=@%+,".contains(c);
        if !plain && c != '\n' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn url(text: &str, kept: &str, upper: bool, plus: bool) -> Vec<u8> {
    let digits = if upper {
        b"0123456789ABCDEF"
    } else {
        b"0123456789abcdef"
    };
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) {
            out.push(byte);
        } else if byte == b' ' && plus {
            out.push(b'+');
        } else {
            out.push(b'%');
            out.extend(hex(&[byte], digits));
        }
    }
    out
}
