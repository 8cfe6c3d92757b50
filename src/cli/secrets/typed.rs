//! A line that somebody types at the terminal without its showing.
//!
//! Not by a library: the usual one shows its question while the terminal still echoes, so what is typed fast is seen, and
//! leaves the terminal without echo where Ctrl-C ends the program.

#![expect(
    clippy::disallowed_methods,
    reason = "opens the terminal of the process"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

/// Longest line, in bytes: no reallocation may leave a copy behind.
const LONGEST: usize = 4096;

/// The terminal, silent until this is dropped.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn new() -> io::Result<Self> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut modes = before.clone();
        modes
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        // What was typed before the question is thrown away: it was seen, and answers something else.
        tcsetattr(&terminal, OptionalActions::Flush, &modes)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        tcsetattr(&self.terminal, OptionalActions::Drain, &self.before).ok();
    }
}

/// What a key does to the line.
#[derive(PartialEq, Eq, Debug)]
enum Key {
    Goes,
    Ends,
    Interrupts,
    EndOfInput,
}

/// Asks, and reads a line. Ctrl-C puts the terminal back and then does what it does everywhere.
pub fn line(question: &str) -> io::Result<Zeroizing<String>> {
    let mut silent = Silent::new()?;
    silent.terminal.write_all(question.as_bytes())?;
    let mut typed = Zeroizing::new(Vec::with_capacity(LONGEST));
    let end = read(&mut silent.terminal, &mut typed);
    silent.terminal.write_all(b"\n")?;
    drop(silent);
    match end? {
        Key::Interrupts => {
            kill_process(getpid(), Signal::INT)?;
            Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"))
        }
        Key::EndOfInput => Err(io::ErrorKind::UnexpectedEof.into()),
        Key::Goes | Key::Ends => match std::str::from_utf8(&typed) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "what was typed is not UTF-8",
            )),
        },
    }
}

fn read(from: &mut impl Read, typed: &mut Vec<u8>) -> io::Result<Key> {
    let mut byte = [0];
    loop {
        match from.read(&mut byte) {
            Ok(0) => return Ok(Key::EndOfInput),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        match key(byte[0], typed)? {
            Key::Goes => {}
            end => return Ok(end),
        }
    }
}

fn key(byte: u8, typed: &mut Vec<u8>) -> io::Result<Key> {
    match byte {
        b'\r' | b'\n' => return Ok(Key::Ends),
        0x03 => return Ok(Key::Interrupts),
        0x04 if typed.is_empty() => return Ok(Key::EndOfInput),
        // Ctrl-U
        0x15 => typed.clear(),
        // Backspace and Delete: back to where a character begins.
        0x08 | 0x7f => while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
        // Other control characters, but for the tabulator, belong to no passphrase: arrow keys, Ctrl-Z ...
        ..0x20 if byte != b'\t' => {}
        _ if typed.len() >= LONGEST => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a line has at most {LONGEST} bytes"),
            ));
        }
        _ => typed.push(byte),
    }
    Ok(Key::Goes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typing(keys: &[u8]) -> (Key, String) {
        let mut typed = Vec::new();
        let end = read(&mut &keys[..], &mut typed).unwrap();
        (end, String::from_utf8(typed).unwrap())
    }

    #[test]
    fn keys_make_a_line() {
        assert_eq!(typing(b"abc\nrest"), (Key::Ends, "abc".into()));
        assert_eq!(
            typing("ab\u{e4}\u{7f}c\u{8}d\r".as_bytes()),
            (Key::Ends, "abd".into())
        );
        assert_eq!(
            typing(b"\x7fwrong\x15right\x1a\n"),
            (Key::Ends, "right".into())
        );
        assert_eq!(typing(b"abc\x03").0, Key::Interrupts);
        assert_eq!(typing(b"\x04").0, Key::EndOfInput);
        assert_eq!(typing(b"a\x04b\n"), (Key::Ends, "ab".into()));
        assert_eq!(typing(b"cut off").0, Key::EndOfInput);
        let long = vec![b'x'; LONGEST + 1];
        assert!(read(&mut &long[..], &mut Vec::new()).is_err());
    }
}
