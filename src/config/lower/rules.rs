//! What names and addresses of other systems look like.

/// Whether a text is an RFC 1123 label: what host names are made of.
pub(super) fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| plain(b) || b == b'-')
        && text.bytes().next().is_some_and(plain)
        && text.bytes().next_back().is_some_and(plain)
}

/// Whether a text is an RFC 1123 host name (in any case).
pub(super) fn is_hostname(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.len() <= 253
        && text.split('.').all(is_label)
        // All digits and dots, and no IP address: a slip, not a name.
        && !text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Whether a text is `TYPE BASE64`, as in a known_hosts line after the host.
pub(super) fn is_host_key(text: &str) -> bool {
    use base64::Engine as _;
    let mut words = text.split(' ');
    let (Some(kind), Some(body), None) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    // The first field of the blob repeats the type, which also tells a key that was cut short.
    let blob = base64::engine::general_purpose::STANDARD.decode(body);
    blob.is_ok_and(|blob| {
        blob.split_first_chunk::<4>().is_some_and(|(length, rest)| {
            usize::try_from(u32::from_be_bytes(*length))
                .is_ok_and(|length| rest.get(..length) == Some(kind.as_bytes()))
        })
    })
}

/// Whether a text can name a Kubernetes label.
pub(super) fn is_label_key(text: &str) -> bool {
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    domain.is_none_or(is_hostname) && !name.is_empty() && is_label_value(name)
}

/// Whether a text can be the value of a Kubernetes label.
pub(super) fn is_label_value(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && edge(text.bytes().next())
        && edge(text.bytes().next_back())
}
