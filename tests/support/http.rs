//! A small HTTP server on the loopback interface that behaves as told: ranges, cut connections, redirects, wrong sizes.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How a path answers.
#[derive(Clone, Debug)]
pub struct Page {
    pub status: u16,
    pub body: Vec<u8>,
    pub etag: Option<String>,
    /// Whether it understands Range.
    pub ranges: bool,
    pub location: Option<String>,
    /// The connection breaks after so many bytes of the body: one for each request that is to break.
    pub cuts: Vec<usize>,
    /// Promises another length than it gives.
    pub length: Option<usize>,
    /// The first requests get this status instead.
    pub busy: Vec<u16>,
}

impl Page {
    pub fn of(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            body: body.into(),
            etag: Some("\"one\"".to_owned()),
            ranges: true,
            location: None,
            cuts: Vec::new(),
            length: None,
            busy: Vec::new(),
        }
    }
}

#[derive(Default)]
struct State {
    pages: HashMap<String, Page>,
    log: Vec<String>,
}

/// The server; ends with the test.
pub struct Server {
    pub base: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                // A client that went away is its own business.
                std::thread::spawn(move || serve(stream, &shared).ok());
            }
        });
        Self { base, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn page(&self, path: &str, page: Page) {
        self.state
            .lock()
            .unwrap()
            .pages
            .insert(path.to_owned(), page);
    }

    /// Requests so far: `GET /path` and, where it had one, its range.
    pub fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut range, mut if_range) = (None, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => range = Some(value.trim().to_owned()),
            "if-range" => if_range = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let (page, cut, busy) = {
        let mut state = state.lock().unwrap();
        let words = range
            .as_ref()
            .map_or(String::new(), |range| format!(" {range}"));
        state.log.push(format!("GET {path}{words}"));
        match state.pages.get_mut(&path) {
            Some(page) => {
                let take = |list: &mut Vec<usize>| (!list.is_empty()).then(|| list.remove(0));
                let cut = take(&mut page.cuts);
                let busy = (!page.busy.is_empty()).then(|| page.busy.remove(0));
                (page.clone(), cut, busy)
            }
            None => (
                Page {
                    status: 404,
                    ..Page::of("no such page")
                },
                None,
                None,
            ),
        }
    };
    answer(&mut stream, &page, (range, if_range), cut, busy)
}

fn answer(
    stream: &mut TcpStream,
    page: &Page,
    (range, if_range): (Option<String>, Option<String>),
    cut: Option<usize>,
    busy: Option<u16>,
) -> std::io::Result<()> {
    if let Some(status) = busy {
        let head = format!(
            "HTTP/1.1 {status} Busy\r\nContent-Length: 0\r\nRetry-After: 0\r\nConnection: close\r\n\r\n"
        );
        return stream.write_all(head.as_bytes());
    }
    let same = if_range.is_none() || if_range == page.etag;
    let start = range.filter(|_| page.ranges && same).and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    let total = page.body.len();
    let mut head = String::new();
    let body = match start {
        Some(start) if start >= total => {
            head.push_str("HTTP/1.1 416 Range Not Satisfiable\r\n");
            &[]
        }
        Some(start) => {
            head.push_str("HTTP/1.1 206 Partial Content\r\n");
            head.push_str(&format!(
                "Content-Range: bytes {start}-{}/{total}\r\n",
                total - 1
            ));
            &page.body[start..]
        }
        None => {
            head.push_str(&format!("HTTP/1.1 {} Word\r\n", page.status));
            &page.body[..]
        }
    };
    if let Some(etag) = &page.etag {
        head.push_str(&format!("ETag: {etag}\r\n"));
    }
    if let Some(location) = &page.location {
        head.push_str(&format!("Location: {location}\r\n"));
    }
    let length = page.length.unwrap_or(body.len());
    head.push_str(&format!(
        "Content-Length: {length}\r\nConnection: close\r\n\r\n"
    ));
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body[..cut.unwrap_or(body.len()).min(body.len())])
}
