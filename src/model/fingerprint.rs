//! Keyed fingerprints: whether two values are the same, without the values.
//!
//! Journals, saved plans and reports keep fingerprints of wishes that may hold secrets. A bare hash would let anybody
//! who reads those files try passwords at home until one matches; with a key that lives outside of them (in the state
//! folder, 0600) there is nothing to try. So everything is fingerprinted this way, tainted or not: nobody has to
//! remember which.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Makes fingerprints under one key. Fingerprints under different keys cannot be compared.
#[derive(Clone)]
pub struct Fingerprinter {
    keyed: Hmac<Sha256>,
}

impl Fingerprinter {
    /// With the key of a state folder.
    pub fn new(key: [u8; 32]) -> Self {
        // HMAC pads a short key with zeros to the hash's block; done here, no key length is left that could be wrong.
        let mut block = [0; 64];
        for (padded, byte) in block.iter_mut().zip(key) {
            *padded = byte;
        }
        Self {
            keyed: Hmac::new(&block.into()),
        }
    }

    /// The HMAC-SHA256 of `label` and `bytes`, as 64 lowercase hex digits. The label says what the bytes are (`wish`,
    /// `fact`), so that equal bytes in different roles give different fingerprints; no choice of label and bytes gives
    /// the fingerprint of another choice.
    pub fn fingerprint(&self, label: &str, bytes: &[u8]) -> String {
        let mut mac = self.keyed.clone();
        mac.update(&(label.len() as u64).to_be_bytes());
        mac.update(label.as_bytes());
        mac.update(bytes);
        let tag = mac.finalize().into_bytes();
        tag.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprinter(<key>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_hmac_sha256_of_the_length_of_the_label_the_label_and_the_bytes() {
        // printf '\0\0\0\0\0\0\0\4wishhello' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0b0b...(32 bytes)
        assert_eq!(
            Fingerprinter::new([0x0b; 32]).fingerprint("wish", b"hello"),
            "b732bdadcaa56d9a848c14aa11f404b2206632f7bdb5e41e55003f8e57928ed5"
        );
    }

    #[test]
    fn label_bytes_and_key_each_change_it_and_their_border_cannot_be_moved() {
        let one = Fingerprinter::new([1; 32]);
        let base = one.fingerprint("ab", b"c");
        assert_eq!(base, one.fingerprint("ab", b"c"));
        assert_ne!(base, one.fingerprint("a", b"bc"));
        assert_ne!(base, one.fingerprint("ab", b"d"));
        assert_ne!(base, Fingerprinter::new([2; 32]).fingerprint("ab", b"c"));
        assert_eq!(base.len(), 64);
    }

    #[test]
    fn debug_output_does_not_show_the_key() {
        assert_eq!(
            format!("{:?}", Fingerprinter::new([7; 32])),
            "Fingerprinter(<key>)"
        );
    }
}
