//! Epochs: the key that items are sealed to for a time, itself sealed to each custodian.

use crate::clock::Random;
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::vault::seal::{Identity, Recipient, open_bytes, seal_bytes};

/// A vault's encryption key for a time. Its identity is kept nowhere but sealed to custodians.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Epoch {
    /// Its name; part of the keys under which its identity is stored.
    pub name: Name,
    /// Whom items are sealed to.
    pub recipient: Recipient,
}

impl Epoch {
    /// An epoch whose recipient is known.
    #[must_use]
    pub fn new(name: Name, recipient: Recipient) -> Self {
        Self { name, recipient }
    }

    /// A fresh epoch, and its identity for [`seal`](Self::seal).
    #[must_use]
    pub fn generate(name: Name, random: &dyn Random) -> (Self, Identity) {
        let identity = Identity::generate(random);
        (Self::new(name, identity.recipient().clone()), identity)
    }

    /// Seals the epoch's identity to a custodian: the content of `keys/EPOCH.CUSTODIAN.age`.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if it is another epoch's.
    pub fn seal(&self, identity: &Identity, custodian: &Recipient, random: &dyn Random) -> Result<Vec<u8>> {
        self.check(identity, ErrorKind::Invalid)?;
        seal_bytes(identity.to_text().expose().as_bytes(), std::slice::from_ref(custodian), random)
    }

    /// Opens what [`seal`](Self::seal) made. It counts only if it yields this epoch's recipient.
    ///
    /// # Errors
    /// [`Denied`](ErrorKind::Denied) if it is sealed to another custodian, [`Corrupt`](ErrorKind::Corrupt) if it is damaged,
    /// [`Untrusted`](ErrorKind::Untrusted) if it holds another identity.
    pub fn open(&self, sealed: &[u8], custodian: &Identity) -> Result<Identity> {
        let at = |error: Error| error.operation("open the epoch key").with("epoch", &self.name);
        let text = open_bytes(sealed, &[custodian]).map_err(at)?;
        let text = std::str::from_utf8(text.expose())
            .map_err(|_| at(Error::new(ErrorKind::Corrupt, "the sealed epoch key is not text")))?;
        let identity = Identity::parse(text).map_err(at)?;
        self.check(&identity, ErrorKind::Untrusted)?;
        Ok(identity)
    }

    fn check(&self, identity: &Identity, otherwise: ErrorKind) -> Result<()> {
        if *identity.recipient() == self.recipient {
            return Ok(());
        }
        Err(Error::new(otherwise, "the identity is not this epoch's")
            .with("epoch", &self.name)
            .with("expected", &self.recipient)
            .with("found", identity.recipient()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandom;

    #[test]
    fn only_the_custodian_opens_an_epoch_and_only_the_right_one_counts() {
        let custodian = Identity::generate(&SystemRandom);
        let (epoch, identity) = Epoch::generate(Name::new("epoch-1").unwrap(), &SystemRandom);
        let sealed = epoch.seal(&identity, custodian.recipient(), &SystemRandom).unwrap();
        assert_eq!(epoch.open(&sealed, &custodian).unwrap().recipient(), &epoch.recipient);
        assert_eq!(epoch.open(&sealed, &identity).unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(epoch.open(&sealed[1..], &custodian).unwrap_err().kind(), ErrorKind::Corrupt);

        let (other, foreign) = Epoch::generate(Name::new("epoch-1").unwrap(), &SystemRandom);
        let swapped = other.seal(&foreign, custodian.recipient(), &SystemRandom).unwrap();
        assert_eq!(epoch.open(&swapped, &custodian).unwrap_err().kind(), ErrorKind::Untrusted);
        assert_eq!(epoch.seal(&foreign, custodian.recipient(), &SystemRandom).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
