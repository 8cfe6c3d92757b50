//! What a copied file proves of itself. A snapshot of etcd is good for a restore with a token that it was made with: its own
//! checksum holds, and the record that K3s keeps in it, encrypted by the token, is there under that token's name.

use std::io::{self, Read, Seek, SeekFrom};

use aho_corasick::AhoCorasick;
use flate2::{Crc, read::DeflateDecoder};
use sha2::{Digest as _, Sha256};

use crate::steps::shared::digest;
use crate::steps::shared::k3s::password;

/// How much is read at once.
const PIECE: usize = 64 * 1024;
/// etcd puts the sha256 of all before at the end of a snapshot.
const TAIL: usize = 32;

/// What a snapshot is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Snapshot {
    /// Whole, and of one of the tokens.
    Good,
    /// Whole, and of none of the tokens.
    OtherToken,
    /// Not whole.
    Broken(&'static str),
}

/// Under which name K3s keeps the record that a token opens: `/bootstrap/` and 12 hex digits of the password's sha256.
pub fn record_of(token: &[u8]) -> Option<String> {
    let token = std::str::from_utf8(token).ok()?;
    let password = password(token.trim());
    let digest = digest::sha256(password.as_bytes());
    (!password.is_empty()).then(|| format!("/bootstrap/{}", digest.get(..12).unwrap_or_default()))
}

/// Whether a file is a database of SQLite.
pub fn is_sqlite(file: &mut impl Read) -> io::Result<bool> {
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let mut head = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut head)?;
    Ok(head == MAGIC)
}

/// Looks at a snapshot, which K3s may have put into a zip. `records`: those of the tokens that are there.
pub fn snapshot(
    file: &mut (impl Read + Seek),
    zipped: bool,
    records: &[String],
) -> io::Result<Snapshot> {
    match zipped {
        false => scanned(file, records),
        true => unzipped(file, records),
    }
}

fn scanned(from: &mut impl Read, records: &[String]) -> io::Result<Snapshot> {
    let mut scan = Scan::new(records)?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        match piece.get(..read) {
            Some(piece) if !piece.is_empty() => scan.feed(piece),
            _ => return Ok(scan.ended()),
        }
    }
}

/// A snapshot, piece by piece.
struct Scan {
    search: AhoCorasick,
    /// What a record's name may have begun in.
    overlap: usize,
    found: bool,
    digest: Sha256,
    length: u64,
    /// The last bytes: the overlap, and what may be the checksum.
    held: Vec<u8>,
    /// So many of the held bytes are in the digest.
    done: usize,
}

impl Scan {
    fn new(records: &[String]) -> io::Result<Self> {
        let longest = records.iter().map(String::len).max().unwrap_or_default();
        Ok(Self {
            search: AhoCorasick::new(records).map_err(io::Error::other)?,
            overlap: longest.saturating_sub(1),
            found: false,
            digest: Sha256::new(),
            length: 0,
            held: Vec::new(),
            done: 0,
        })
    }

    fn feed(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
        self.length += piece.len() as u64;
        let body = self.held.len().saturating_sub(TAIL);
        if body <= self.done {
            return;
        }
        self.digest
            .update(self.held.get(self.done..body).unwrap_or_default());
        let text = self.held.get(..body).unwrap_or_default();
        self.found = self.found || self.search.is_match(text);
        let from = body.saturating_sub(self.overlap);
        self.held.drain(..from);
        self.done = body - from;
    }

    fn ended(self) -> Snapshot {
        let tail = self.held.get(self.done..).unwrap_or_default();
        if self.length <= TAIL as u64 || self.length % 512 != TAIL as u64 {
            return Snapshot::Broken("its size is none that a snapshot has");
        }
        match self.digest.finalize().as_slice() == tail {
            false => Snapshot::Broken("its own checksum does not hold"),
            true if self.found => Snapshot::Good,
            true => Snapshot::OtherToken,
        }
    }
}

/// The one file in a zip.
struct Entry {
    deflated: bool,
    crc: u32,
    packed: u64,
    size: u64,
    at: u64,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    number(bytes, at).map(u16::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    number(bytes, at).map(u32::from_le_bytes)
}

fn unzipped(file: &mut (impl Read + Seek), records: &[String]) -> io::Result<Snapshot> {
    const BROKEN: Snapshot = Snapshot::Broken("it is no whole zip of one snapshot");
    let Some(entry) = entry(file)? else {
        return Ok(BROKEN);
    };
    let packed = file.take(entry.packed);
    let read = match entry.deflated {
        true => summed(DeflateDecoder::new(packed), &entry, records),
        false => summed(packed, &entry, records),
    };
    match read {
        // What cannot be inflated.
        Err(error) if is_content(&error) => Ok(BROKEN),
        Err(error) => Err(error),
        Ok((_, false)) => Ok(BROKEN),
        Ok((snapshot, true)) => Ok(snapshot),
    }
}

fn is_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// What a file of a zip is, and whether it is as long as the zip says, with the checksum that it says.
fn summed(from: impl Read, entry: &Entry, records: &[String]) -> io::Result<(Snapshot, bool)> {
    let mut from = Summed {
        // One byte more than it is to have, so that more is noticed.
        from: from.take(entry.size.saturating_add(1)),
        crc: Crc::new(),
        length: 0,
    };
    let snapshot = scanned(&mut from, records)?;
    let holds = from.length == entry.size && from.crc.sum() == entry.crc;
    Ok((snapshot, holds))
}

struct Summed<R> {
    from: R,
    crc: Crc,
    length: u64,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(piece)?;
        self.crc.update(piece.get(..read).unwrap_or_default());
        self.length += read as u64;
        Ok(read)
    }
}

/// Finds the one file by the directory at the end (APPNOTE.TXT 4.3), and goes to where its bytes begin. The form for files of
/// more than 4 GiB is not known here.
fn entry(file: &mut (impl Read + Seek)) -> io::Result<Option<Entry>> {
    const LONGEST: u64 = 22 + 0xffff;
    let length = file.seek(SeekFrom::End(0))?;
    let from = length.saturating_sub(LONGEST);
    let end = bytes(file, from, LONGEST)?;
    let Some(end) = end
        .windows(4)
        .rposition(|word| word == b"PK\x05\x06")
        .and_then(|at| end.get(at..))
    else {
        return Ok(None);
    };
    let length_of_end = short(end, 20).map(|comment| 22 + usize::from(comment));
    let (Some(1), Some(size), Some(at), true) = (
        short(end, 10),
        long(end, 12),
        long(end, 16),
        length_of_end == Some(end.len()),
    ) else {
        return Ok(None);
    };
    let list = bytes(file, u64::from(at), u64::from(size).min(LONGEST))?;
    let Some((entry, local)) = listed(&list) else {
        return Ok(None);
    };
    let head = bytes(file, local, 30)?;
    let (true, Some(name), Some(extra)) = (
        head.starts_with(b"PK\x03\x04"),
        short(&head, 26),
        short(&head, 28),
    ) else {
        return Ok(None);
    };
    let at = local + 30 + u64::from(name) + u64::from(extra);
    file.seek(SeekFrom::Start(at))?;
    Ok(Some(Entry { at, ..entry }).filter(|entry| entry.at + entry.packed <= length))
}

/// A file as the directory lists it, and where its own head is.
fn listed(list: &[u8]) -> Option<(Entry, u64)> {
    let is_entry = list.starts_with(b"PK\x01\x02");
    let (packed, size, local) = (long(list, 20)?, long(list, 24)?, long(list, 42)?);
    if !is_entry || [packed, size, local].contains(&u32::MAX) {
        return None;
    }
    let deflated = match short(list, 10)? {
        0 => false,
        8 => true,
        _ => return None,
    };
    let entry = Entry {
        deflated,
        crc: long(list, 16)?,
        packed: packed.into(),
        size: size.into(),
        at: 0,
    };
    Some((entry, local.into()))
}

fn bytes(file: &mut (impl Read + Seek), from: u64, at_most: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(from))?;
    let mut found = Vec::new();
    file.take(at_most).read_to_end(&mut found)?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;

    const TOKEN: &[u8] = b"K10aa::server:secret\n";

    /// A snapshot with this in it.
    fn made(at: usize, text: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..200 * 1024_u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        bytes[at..at + text.len()].copy_from_slice(text);
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// A zip as Go writes it: sizes behind the bytes, and in the directory.
    fn zip(content: &[u8], deflated: bool) -> Vec<u8> {
        let name = b"on-demand-n1-1";
        let packed = match deflated {
            true => {
                let level = flate2::Compression::default();
                let mut into = flate2::write::DeflateEncoder::new(Vec::new(), level);
                into.write_all(content).unwrap();
                into.finish().unwrap()
            }
            false => content.to_vec(),
        };
        let mut crc = Crc::new();
        crc.update(content);
        let method: u16 = if deflated { 8 } else { 0 };
        let mut zip = b"PK\x03\x04\x14\0\x08\0".to_vec();
        zip.extend(method.to_le_bytes());
        zip.extend([0; 16]);
        zip.extend((name.len() as u16).to_le_bytes());
        zip.extend([0; 2]);
        zip.extend(name);
        zip.extend(&packed);
        let sums = [crc.sum(), packed.len() as u32, content.len() as u32].map(u32::to_le_bytes);
        zip.extend(b"PK\x07\x08");
        zip.extend(sums.concat());
        let directory = zip.len();
        zip.extend(b"PK\x01\x02\x14\x03\x14\0\x08\0");
        zip.extend(method.to_le_bytes());
        zip.extend([0; 4]);
        zip.extend(sums.concat());
        zip.extend((name.len() as u16).to_le_bytes());
        zip.extend([0; 16]);
        zip.extend(name);
        let size = zip.len() - directory;
        zip.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        zip.extend((size as u32).to_le_bytes());
        zip.extend((directory as u32).to_le_bytes());
        zip.extend([0; 2]);
        zip
    }

    fn look(bytes: &[u8], zipped: bool) -> Snapshot {
        let records = [record_of(TOKEN).unwrap()];
        snapshot(&mut Cursor::new(bytes), zipped, &records).unwrap()
    }

    #[test]
    fn a_token_names_its_record_by_its_password() {
        // As the stand-in and K3s v1.32.2 have it.
        assert_eq!(record_of(TOKEN).unwrap(), "/bootstrap/2bb80d537b1d");
        assert_eq!(record_of(b"secret").unwrap(), "/bootstrap/2bb80d537b1d");
        assert_eq!(record_of(b"\n"), None);
    }

    #[test]
    fn a_snapshot_is_good_with_its_own_checksum_and_the_record_of_a_token() {
        let record = record_of(TOKEN).unwrap();
        // At its beginning, over the end of a piece, at its end.
        for at in [0, PIECE - 40, PIECE - 11, 2 * PIECE - 20, 200 * 1024 - 23] {
            let good = made(at, record.as_bytes());
            assert_eq!(look(&good, false), Snapshot::Good, "{at}");
        }
        let other = made(77, b"/bootstrap/000000000000");
        assert_eq!(look(&other, false), Snapshot::OtherToken);
        let mut good = made(77, record.as_bytes());
        for cut in [0, 1, 31, 32, 40, 512 + 32, good.len() - 512] {
            let found = look(&good[..cut], false);
            assert!(matches!(found, Snapshot::Broken(_)), "{cut}");
        }
        good[3] ^= 1;
        assert!(matches!(look(&good, false), Snapshot::Broken(_)));
    }

    #[test]
    fn what_is_in_a_zip_is_held_to_the_same() {
        let good = made(PIECE - 11, record_of(TOKEN).unwrap().as_bytes());
        for deflated in [true, false] {
            let packed = zip(&good, deflated);
            assert_eq!(look(&packed, true), Snapshot::Good);
            let other = zip(&made(5, b"x"), deflated);
            assert_eq!(look(&other, true), Snapshot::OtherToken);
            let cut = zip(&good[..good.len() - 512], deflated);
            assert!(matches!(look(&cut, true), Snapshot::Broken(_)));
            for cut in [0, 2, 21, 100, packed.len() / 2, packed.len() - 1] {
                let found = look(&packed[..cut], true);
                assert!(matches!(found, Snapshot::Broken(_)), "{cut}");
            }
            let mut bad = packed.clone();
            bad[packed.len() / 2] ^= 0x10;
            assert!(matches!(look(&bad, true), Snapshot::Broken(_)));
        }
        assert!(matches!(look(b"PK", true), Snapshot::Broken(_)));
        assert!(matches!(look(&good, true), Snapshot::Broken(_)));
    }

    #[test]
    fn a_database_of_sqlite_says_so() {
        assert!(is_sqlite(&mut &b"SQLite format 3\0rest"[..]).unwrap());
        assert!(!is_sqlite(&mut &b"SQLite"[..]).unwrap());
        assert!(!is_sqlite(&mut &b""[..]).unwrap());
    }
}
