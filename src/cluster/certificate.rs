//! Until when a certificate is valid: the one thing in X.509 that has to be told to people here. Whether a certificate is
//! good is for rustls and for the server to say.

use base64::Engine as _;
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Tags of DER (X.690 8.1.2) that are met on the way (RFC 5280 4.1).
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of the validity of the first certificate of a PEM text; `None` where there is none that can be read.
pub(super) fn valid_until(pem: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let body: String = body.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(body)
        .ok()?;
    not_after(&der)
}

/// Certificate, tbsCertificate, and of that: version, serial number, algorithm, issuer, validity.
fn not_after(der: &[u8]) -> Option<Timestamp> {
    let certificate = element(der)?.inside(SEQUENCE)?;
    let mut next = element(element(certificate)?.inside(SEQUENCE)?)?;
    if next.tag == VERSION {
        next = element(next.rest)?;
    }
    let algorithm = element(next.rest)?;
    let issuer = element(algorithm.rest)?;
    let validity = element(issuer.rest)?.inside(SEQUENCE)?;
    let not_before = element(validity)?;
    time(&element(not_before.rest)?)
}

/// One value, and what comes behind it.
struct Element<'a> {
    tag: u8,
    value: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Element<'a> {
    fn inside(&self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.value)
    }
}

fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let (digits, behind) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        length = digits
            .iter()
            .fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = behind;
    }
    let (value, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, value, rest })
}

/// `YYMMDDhhmmssZ` of 1950 to 2049, or `YYYYMMDDhhmmssZ` (RFC 5280 4.1.2.5).
fn time(element: &Element<'_>) -> Option<Timestamp> {
    let digits = element.value.strip_suffix(b"Z")?;
    let number = |digits: &[u8]| -> Option<i16> { std::str::from_utf8(digits).ok()?.parse().ok() };
    let (year, rest) = match element.tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut parts = rest.chunks_exact(2).map(number);
    let mut part = || i8::try_from(parts.next()??).ok();
    let (month, day) = (part()?, part()?);
    let day = Date::new(year, month, day).ok()?;
    let time = Time::new(part()?, part()?, part()?, 0).ok()?;
    Offset::UTC.to_timestamp(day.to_datetime(time)).ok()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn pem(until: (i32, u8, u8)) -> String {
        let mut params = rcgen::CertificateParams::new(vec!["api.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        let key = rcgen::KeyPair::generate().unwrap();
        format!("words before\n{}", params.self_signed(&key).unwrap().pem())
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_ways_of_writing_it() {
        let midnight = |year, month, day| {
            let midnight = date(year, month, day).at(0, 0, 0, 0);
            Some(Offset::UTC.to_timestamp(midnight).unwrap())
        };
        assert_eq!(
            valid_until(pem((2026, 11, 22)).as_bytes()),
            midnight(2026, 11, 22)
        );
        assert_eq!(
            valid_until(pem((2061, 2, 28)).as_bytes()),
            midnight(2061, 2, 28)
        );
    }

    #[test]
    fn what_is_no_certificate_or_is_cut_off_has_no_end() {
        assert_eq!(valid_until(b"nothing"), None);
        let whole = pem((2026, 11, 22));
        let (_, rest) = whole.split_once(BEGIN).unwrap();
        let body: String = rest.split_once(END).unwrap().0.split_whitespace().collect();
        let der = base64::engine::general_purpose::STANDARD
            .decode(body)
            .unwrap();
        assert!(not_after(&der).is_some());
        for length in 0..der.len() {
            assert_eq!(not_after(&der[..length]), None, "{length} bytes");
        }
    }
}
