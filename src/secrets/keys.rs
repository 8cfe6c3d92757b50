//! The store key: 32 random bytes that make the seals, encrypted to every reader; and how one follows another.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::cipher::{self, OpenError};
use super::format::Header;
use super::identity::Identities;
use super::manifest::Heir;
use super::recipients::Recipient;
use crate::model::outcome::Failure;

/// The name in the header of an encrypted store key. No value can have it: the file is reserved.
const NAME: &str = "manifest/key";

/// A store key. Zeroed when dropped, shown by nothing.
#[derive(Clone)]
pub struct StoreKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<store key>")
    }
}

impl StoreKey {
    /// A new one.
    ///
    /// # Errors
    ///
    /// The system gives no random numbers.
    pub fn generate() -> Result<Self, Failure> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(|error| {
            Failure::new(format!("the system gives no random numbers: {error}"))
        })?;
        Ok(Self(key))
    }

    fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    /// What names the key without showing it: 32 hex digits.
    pub fn id(&self) -> String {
        let mut id = self.mac::<&str>("id", &[]);
        id.truncate(32);
        id
    }

    /// MAC over parts, for one purpose: 64 hex digits. No two lists of parts give the same bytes to it.
    pub fn mac<S: AsRef<str>>(&self, purpose: &str, parts: &[S]) -> String {
        hex(&self.digest(purpose, parts).finalize().into_bytes())
    }

    /// Whether this is the MAC over the parts; takes the same time whichever digit is wrong.
    pub fn is_mac<S: AsRef<str>>(&self, purpose: &str, parts: &[S], mac: &str) -> bool {
        unhex(mac).is_some_and(|mac| self.digest(purpose, parts).verify_slice(&mac).is_ok())
    }

    fn digest<S: AsRef<str>>(&self, purpose: &str, parts: &[S]) -> Hmac<Sha256> {
        // A block of SHA-256 that begins with the key and ends in zeros: what HMAC makes of a short key by itself.
        let mut block = Zeroizing::new([0; 64]);
        for (to, from) in block.iter_mut().zip(self.0.iter()) {
            *to = *from;
        }
        let mut hmac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
        let first = format!("hmco-boot/1 {purpose}");
        for part in std::iter::once(first.as_str()).chain(parts.iter().map(AsRef::as_ref)) {
            hmac.update(&(part.len() as u64).to_be_bytes());
            hmac.update(part.as_bytes());
        }
        hmac
    }

    /// Encrypted to readers: base64 of a binary age file.
    pub fn encrypted(&self, store: &str, readers: &[&Recipient]) -> Result<String, Failure> {
        let header = Header::new(
            store,
            NAME,
            false,
            readers.iter().map(|one| one.fingerprint()),
        );
        let keys: Vec<_> = readers.iter().map(|one| &one.key).collect();
        Ok(STANDARD.encode(cipher::encrypt_binary(&header, self.0.as_slice(), &keys)?))
    }

    /// Opens an encrypted one.
    pub fn open(text: &str, store: &str, identities: &Identities) -> Result<Self, OpenError> {
        let binary = STANDARD
            .decode(text)
            .map_err(|_| OpenError::Damaged("the store key is not base64".into()))?;
        let opened = cipher::decrypt_binary(&binary, identities)?;
        if opened.header.store != store || opened.header.name != NAME {
            return Err(OpenError::NoValue(
                "what stands for the store key was made for something else".into(),
            ));
        }
        Self::from_slice(opened.value.expose())
            .ok_or_else(|| OpenError::NoValue("the store key has not 32 bytes".into()))
    }

    /// The line that says that `next` follows this key.
    pub fn heir(&self, store: &str, next: &Self) -> Heir {
        let (from, to) = (self.id(), next.id());
        let pad = next.pad(store, &from);
        let wrapped: Vec<u8> = self.0.iter().zip(pad.iter()).map(|(a, b)| a ^ b).collect();
        Heir {
            mac: self.mac("heir", &[store, &from, &to]),
            wrapped: hex(&wrapped),
            from,
            to,
        }
    }

    /// The key before this one, where the line is true.
    fn before(&self, store: &str, heir: &Heir) -> Option<Self> {
        let pad = self.pad(store, &heir.from);
        let wrapped = unhex(&heir.wrapped)?;
        let bytes: Zeroizing<Vec<u8>> =
            Zeroizing::new(wrapped.iter().zip(pad.iter()).map(|(a, b)| a ^ b).collect());
        let before = Self::from_slice(&bytes)?;
        let parts = [store, &heir.from, &heir.to];
        (before.id() == heir.from
            && heir.to == self.id()
            && before.is_mac("heir", &parts, &heir.mac))
        .then_some(before)
    }

    /// What wraps the key with this id: used for nothing else, since a key follows another once.
    fn pad(&self, store: &str, from: &str) -> Zeroizing<Vec<u8>> {
        let digest = self.digest("wrap", &[store, from]).finalize().into_bytes();
        Zeroizing::new(digest.to_vec())
    }

    /// All keys that led to this one, as far as the lines prove it; the nearest first.
    pub fn line_of(&self, store: &str, heirs: &[Heir]) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        let mut next = vec![self.clone()];
        while let Some(key) = next.pop() {
            let id = key.id();
            for heir in heirs.iter().filter(|heir| heir.to == id) {
                if let Some(before) = key.before(store, heir)
                    && found.iter().all(|one| one.id() != before.id())
                {
                    found.push(before.clone());
                    next.insert(0, before);
                }
            }
        }
        found
    }
}

/// Hex digits of bytes.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        })
        .collect();
    bytes.map(Zeroizing::new)
}

/// `sha256:` and the hex digest.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &str = "0123456789abcdef";

    #[test]
    fn a_mac_is_bound_to_its_purpose_and_to_where_parts_end() {
        let key = StoreKey::generate().unwrap();
        let mac = key.mac("line", &["ab", "c"]);
        assert!(key.is_mac("line", &["ab", "c"], &mac));
        assert!(!key.is_mac("seal", &["ab", "c"], &mac));
        assert!(!key.is_mac("line", &["a", "bc"], &mac));
        assert!(!key.is_mac("line", &["ab", "c", ""], &mac));
        assert!(
            !StoreKey::generate()
                .unwrap()
                .is_mac("line", &["ab", "c"], &mac)
        );
        assert!(!key.is_mac("line", &["ab", "c"], "zz"));
        assert!(!key.is_mac("line", &["ab", "c"], ""));
    }

    #[test]
    fn a_key_leads_back_to_those_before_it_and_to_no_others() {
        let keys: Vec<StoreKey> = (0..4).map(|_| StoreKey::generate().unwrap()).collect();
        let heirs: Vec<Heir> = keys
            .windows(2)
            .map(|two| two[0].heir(STORE, &two[1]))
            .collect();
        let ids = |keys: &[StoreKey]| keys.iter().map(StoreKey::id).collect::<Vec<_>>();
        let line = keys[3].line_of(STORE, &heirs);
        assert_eq!(ids(&line), [keys[2].id(), keys[1].id(), keys[0].id()]);
        assert!(keys[0].line_of(STORE, &heirs).is_empty());
        assert!(keys[3].line_of("fedcba9876543210", &heirs).is_empty());
        // Somebody who knows the public keys of readers but no store key.
        let foreign = StoreKey::generate().unwrap();
        let mut forged = StoreKey::generate().unwrap().heir(STORE, &foreign);
        forged.from = keys[3].id();
        assert!(foreign.line_of(STORE, &[forged]).is_empty());
    }

    #[test]
    fn two_keys_that_both_follow_one_are_both_led_back_to_it() {
        let [old, left, right, joined] = [(); 4].map(|()| StoreKey::generate().unwrap());
        let heirs = [
            old.heir(STORE, &left),
            old.heir(STORE, &right),
            left.heir(STORE, &joined),
            right.heir(STORE, &joined),
        ];
        let ids: Vec<String> = joined
            .line_of(STORE, &heirs)
            .iter()
            .map(StoreKey::id)
            .collect();
        assert_eq!(ids.len(), 3);
        for key in [&old, &left, &right] {
            assert!(ids.contains(&key.id()));
        }
    }
}
