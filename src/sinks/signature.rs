//! Standard Webhooks 1.0: `v1,` and the HMAC-SHA256 of `id.timestamp.body`, once for each secret.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
/// By the standard: 24 to 64 random bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a webhook's secret is whsec_ and the base64 of 24 to 64 random bytes; make one with: echo whsec_$(openssl rand -base64 32)"
)]
pub struct WrongSecret;

/// Signs with every secret of a sink: while one is replaced by the next, receivers know either.
pub struct Signer(Vec<Vec<u8>>);

impl Signer {
    pub fn new(secrets: &[SecretString]) -> Result<Signer, WrongSecret> {
        let keys: Vec<Vec<u8>> = secrets.iter().map(|secret| key(secret.expose_secret())).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(WrongSecret) } else { Ok(Signer(keys)) }
    }

    /// The value of `webhook-signature`. `timestamp` is in seconds.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signatures = self.0.iter().map(|key| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

/// Nothing of a key is shown.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({} secrets)", self.0.len())
    }
}

fn key(secret: &str) -> Result<Vec<u8>, WrongSecret> {
    let text = secret.strip_prefix(PREFIX).ok_or(WrongSecret)?;
    BASE64_STANDARD.decode(text).ok().filter(|key| LENGTHS.contains(&key.len())).ok_or(WrongSecret)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the Standard Webhooks libraries' own tests.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let signer = Signer::new(&[SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]).unwrap();
        let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_make_two_signatures_and_no_secret_is_shown() {
        let secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];
        let signer = Signer::new(&secrets.map(SecretString::from)).unwrap();
        assert_eq!(signer.sign("a", 1, b"{}").split(' ').count(), 2);
        assert_eq!(format!("{signer:?}"), "Signer(2 secrets)");
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for wrong in ["", "whsec_", "whsec_abc", "whsec_!!!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ="] {
            assert!(Signer::new(&[SecretString::from(wrong)]).is_err(), "{wrong}");
        }
        assert!(Signer::new(&[]).is_err());
    }
}
