//! As much of HTTP/1.1 as apt speaks with a proxy: requests in, heads of answers out. Pure.

/// The most bytes of a request's head.
pub const MAX_HEAD: usize = 16 * 1024;

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// `HEAD`: the answer has no body.
    pub head_only: bool,
    /// The whole URL.
    pub url: String,
    /// The other side does not want to ask again.
    pub close: bool,
    /// `If-Modified-Since`.
    pub unless_modified_at: Option<String>,
    /// First byte wanted.
    pub from: Option<u64>,
    /// `If-Range`: the range counts only for this state of the file.
    pub range_if: Option<String>,
}

/// Why a request is refused: status and words.
pub type Refusal = (u16, &'static str);

/// Reads the head of a request, without the empty line that ends it.
///
/// # Errors
/// What to answer instead.
pub fn parse(head: &str) -> Result<Request, Refusal> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next(), first.next().unwrap_or_default());
    let version = first.next().unwrap_or_default();
    let head_only = match method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err((405, "only GET and HEAD: lab nodes have no uplink")),
    };
    if !version.starts_with("HTTP/1.") || first.next().is_some() {
        return Err((400, "not HTTP/1.1"));
    }
    let headers: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let header = |name: &str| {
        let found = headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| *value)
    };
    if header("content-length").is_some_and(|length| length != "0")
        || header("transfer-encoding").is_some()
    {
        return Err((400, "a request with a body"));
    }
    let url = if target.starts_with('/') {
        format!("http://{}{target}", header("host").unwrap_or_default())
    } else {
        target.to_owned()
    };
    let close = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Request {
        head_only,
        url,
        close: close || version == "HTTP/1.0",
        unless_modified_at: header("if-modified-since").map(str::to_owned),
        from: header("range").and_then(|value| {
            let bytes = value.strip_prefix("bytes=")?.strip_suffix('-')?;
            bytes.parse().ok()
        }),
        range_if: header("if-range").map(str::to_owned),
    })
}

/// What to answer for a file that is at hand: the head, and from where to where its bytes follow.
pub fn answer(
    request: &Request,
    size: u64,
    modified: Option<&str>,
) -> (String, std::ops::Range<u64>) {
    if modified.is_some() && request.unless_modified_at.as_deref() == modified {
        return (head(304, "Not Modified", 0, modified, ""), 0..0);
    }
    let same = request.range_if.is_none() || request.range_if.as_deref() == modified;
    match request.from.filter(|_| same) {
        Some(from) if from < size => {
            let range = format!("Content-Range: bytes {from}-{}/{size}\r\n", size - 1);
            let head = head(206, "Partial Content", size - from, modified, &range);
            (head, from..size)
        }
        Some(_) => {
            let range = format!("Content-Range: bytes */{size}\r\n");
            (
                head(416, "Range Not Satisfiable", 0, modified, &range),
                0..0,
            )
        }
        None => (head(200, "OK", size, modified, ""), 0..size),
    }
}

/// The head of an answer.
pub fn head(status: u16, reason: &str, length: u64, modified: Option<&str>, more: &str) -> String {
    let modified = modified.map_or_else(String::new, |date| format!("Last-Modified: {date}\r\n"));
    format!(
        "HTTP/1.1 {status} {reason}\r\nServer: hmco-boot-lab\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\n{modified}{more}\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(more: &str) -> Request {
        parse(&format!(
            "GET http://deb.debian.org/debian/x HTTP/1.1\r\nHost: deb.debian.org{more}"
        ))
        .unwrap()
    }

    #[test]
    fn a_url_comes_whole_or_in_two_parts() {
        assert_eq!(get("").url, "http://deb.debian.org/debian/x");
        let other = parse("HEAD /debian/x HTTP/1.1\r\nHOST:  deb.debian.org ").unwrap();
        assert_eq!(other.url, "http://deb.debian.org/debian/x");
        assert!(other.head_only && !other.close);
        assert!(parse("GET / HTTP/1.0").unwrap().close);
    }

    #[test]
    fn tunnels_bodies_and_nonsense_are_refused() {
        assert_eq!(parse("CONNECT x:443 HTTP/1.1").unwrap_err().0, 405);
        assert_eq!(
            parse("GET / HTTP/1.1\r\nContent-Length: 3").unwrap_err().0,
            400
        );
        assert_eq!(parse("GET / SPDY/3").unwrap_err().0, 400);
        assert_eq!(parse("").unwrap_err().0, 405);
    }

    #[test]
    fn a_file_that_the_node_has_is_not_sent_again() {
        let date = "Sat, 21 Nov 2026 10:00:00 GMT";
        let request = get(&format!("\r\nIf-Modified-Since: {date}"));
        assert!(
            answer(&request, 9, Some(date))
                .0
                .starts_with("HTTP/1.1 304")
        );
        assert!(
            answer(&request, 9, Some("another"))
                .0
                .starts_with("HTTP/1.1 200")
        );
        assert!(answer(&request, 9, None).0.starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn a_download_is_gone_on_with_where_it_ended() {
        let (head, range) = answer(&get("\r\nRange: bytes=4-"), 9, None);
        assert!(
            head.starts_with("HTTP/1.1 206") && head.contains("Content-Range: bytes 4-8/9\r\n")
        );
        assert_eq!(range, 4..9);
        let (head, range) = answer(&get("\r\nRange: bytes=9-"), 9, None);
        assert!(head.starts_with("HTTP/1.1 416") && range.is_empty());
        // Of a file that is another one now, all of it is sent.
        let (head, range) = answer(&get("\r\nRange: bytes=4-\r\nIf-Range: old"), 9, Some("new"));
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("Content-Length: 9\r\n"));
        assert_eq!(range, 0..9);
    }
}
