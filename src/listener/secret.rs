//! Comparing secrets without telling where they differ.

use sha2::{Digest, Sha256};

/// What is kept and compared instead of a secret of several parts.
#[derive(Debug, Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Each part with its length, so that no two lists of parts look alike.
    pub fn of(parts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    /// Looks at every byte, wherever the first difference is.
    pub fn is(&self, other: &SecretHash) -> bool {
        std::hint::black_box(self.0.iter().zip(&other.0).fold(0, |found, (a, b)| found | (a ^ b))) == 0
    }
}
