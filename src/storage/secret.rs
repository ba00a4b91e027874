//! What only this machine knows, for what others must not work out (SPEC.md, `manifest`).

use super::sys;
use std::net::IpAddr;

/// The secret, where the system has one.
pub(crate) struct Secret(Option<Vec<u8>>);

impl Secret {
    pub(crate) fn of_machine() -> Self {
        Self(sys::machine_id())
    }

    /// What a receiver at `address` is told of a source's identity. Who knew what another one is
    /// told could leave a content of its own there, under that name, for a resume.
    pub(crate) fn identity_for(&self, address: IpAddr, identity: Option<u64>) -> Option<u64> {
        let secret = self.0.as_deref()?;
        let key = blake3::derive_key("xfer identity of a source for a receiver", secret);
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(&identity?.to_le_bytes());
        hasher.update(address.to_string().as_bytes());
        let hash = hasher.finalize();
        hash.as_bytes()
            .first_chunk()
            .copied()
            .map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_receiver_is_told_another_identity() {
        // SPEC: R-manifest-4
        let address = |last| IpAddr::from([192, 168, 122, last]);
        let told = |last, secret: &[u8], identity| {
            let secret = Secret(Some(secret.to_vec()));
            secret.identity_for(address(last), Some(identity)).unwrap()
        };
        let first = told(1, b"secret", 7);
        assert_eq!(told(1, b"secret", 7), first);
        let others = [
            told(2, b"secret", 7),
            told(1, b"other", 7),
            told(1, b"secret", 8),
        ];
        assert!(others.iter().all(|other| *other != first && *other != 7));
        let secret = Secret(Some(b"secret".to_vec()));
        assert_eq!(secret.identity_for(address(1), None), None);
        assert_eq!(Secret(None).identity_for(address(1), Some(7)), None);
    }
}
