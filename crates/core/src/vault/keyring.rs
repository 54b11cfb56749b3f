//! One folder with every key of a small place, each file a standard one that works by hand.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::clock::{Random, SystemRandom};
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::vault::epoch::Epoch;
use crate::vault::seal::Identity;
use crate::vault::sign::SigningKey;
use crate::vault::trust::{AllowedSigner, AllowedSigners};
use crate::vault::vault_id::VaultId;

/// Every key that a vault needs, for a place where one program and one person do everything. Whoever has it can write,
/// read and delete: keep it away from the vault, and a copy of it in a safe.
///
/// | file | what | use by hand |
/// |---|---|---|
/// | `vault-id` | the vault's id | |
/// | `signing-key`, `signing-key.pub` | `OpenSSH` key that signs points and marks | `ssh-keygen -Y sign` |
/// | `allowed_signers` | whom to trust | `ssh-keygen -Y verify` |
/// | `custodian.txt` | age identity that opens the epoch's | `age -d -i` |
/// | `epoch` | name and recipient of the epoch that items are sealed to | `age -r` |
/// | `EPOCH.keyring.age` | the epoch's identity, sealed to the custodian; the vault holds it too | |
///
/// ```
/// use backstay_core::vault::Keyring;
///
/// let place = tempfile::tempdir()?;
/// let made = Keyring::create(place.path().join("keys"))?;
/// let opened = Keyring::open(place.path().join("keys"))?;
/// assert_eq!(opened.vault_id(), made.vault_id());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Keyring {
    vault_id: VaultId,
    signing_key: SigningKey,
    allowed_signers: AllowedSigners,
    custodian_name: Name,
    custodian: Identity,
    epoch: Epoch,
    sealed_epoch: Vec<u8>,
}

const VAULT_ID: &str = "vault-id";
const SIGNING_KEY: &str = "signing-key";
const PUBLIC_KEY: &str = "signing-key.pub";
const ALLOWED_SIGNERS: &str = "allowed_signers";
const CUSTODIAN: &str = "custodian.txt";
const EPOCH: &str = "epoch";

/// The custodian's name in the vault, and the signer's in `allowed_signers`.
const HOLDER: &str = "keyring";
const FIRST_EPOCH: &str = "epoch-1";
/// No file of a keyring is near it.
const LONGEST_FILE: u64 = 1 << 20;

impl Keyring {
    /// Fresh keys, in memory only: for tests and examples.
    ///
    /// # Errors
    /// None in practice; the parts are fresh and fit.
    pub fn generate() -> Result<Self> {
        Self::generate_from(&SystemRandom)
    }

    /// As [`generate`](Self::generate), from a randomness of one's own: a simulation's.
    ///
    /// # Errors
    /// None in practice.
    pub fn generate_from(random: &dyn Random) -> Result<Self> {
        let custodian = Identity::generate(random);
        let signing_key = SigningKey::generate(random);
        let mut allowed_signers = AllowedSigners::default();
        allowed_signers.add(AllowedSigner::new(HOLDER, signing_key.public()))?;
        // The epoch's identity is dropped here: from now on it exists only sealed.
        let (epoch, identity) = Epoch::generate(Name::new(FIRST_EPOCH)?, random);
        let sealed_epoch = epoch.seal(&identity, custodian.recipient(), random)?;
        let (vault_id, custodian_name) = (VaultId::new(random), Name::new(HOLDER)?);
        Ok(Self { vault_id, signing_key, allowed_signers, custodian_name, custodian, epoch, sealed_epoch })
    }

    /// Makes fresh keys and keeps them in the new folder `path`, readable by its owner only.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if something is there; keys are never written over.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let keyring = Self::generate()?;
        keyring.write(path, &SystemRandom).map_err(|error| failed(error, "create the keyring", path))?;
        Ok(keyring)
    }

    /// Reads a keyring's folder.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) or [`Invalid`](ErrorKind::Invalid) with the file that is missing or wrong,
    /// [`Refused`](ErrorKind::Refused) if others can read a secret.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let folder = Folder(path.as_ref());
        let (epoch, sealed_epoch) = folder.parse(EPOCH, |text| {
            let (name, recipient) = text
                .trim()
                .split_once(' ')
                .ok_or_else(|| Error::new(ErrorKind::Invalid, "an epoch is written `NAME RECIPIENT`"))?;
            let epoch = Epoch::new(name.parse()?, recipient.trim().parse()?);
            let sealed = folder.read(&sealed_name(&epoch), false)?;
            Ok((epoch, sealed))
        })?;
        let keyring = Self {
            vault_id: folder.parse(VAULT_ID, |text| text.trim().parse())?,
            signing_key: folder.parse_secret(SIGNING_KEY, SigningKey::from_openssh)?,
            allowed_signers: folder.parse(ALLOWED_SIGNERS, str::parse)?,
            custodian_name: Name::new(HOLDER)?,
            custodian: folder.parse_secret(CUSTODIAN, Identity::parse)?,
            epoch,
            sealed_epoch,
        };
        // A keyring that cannot open what is sealed with it is found out now, not on the day of the restore.
        keyring.unlock().map_err(|error| error.with("path", folder.0.display()))?;
        Ok(keyring)
    }

    /// The vault that the keys are for.
    #[must_use]
    pub fn vault_id(&self) -> &VaultId {
        &self.vault_id
    }

    /// Signs points and marks.
    #[must_use]
    pub fn signing_key(&self) -> &SigningKey {
        &self.signing_key
    }

    /// Whose points and marks count.
    #[must_use]
    pub fn allowed_signers(&self) -> &AllowedSigners {
        &self.allowed_signers
    }

    /// Opens the epoch's identity.
    #[must_use]
    pub fn custodian(&self) -> &Identity {
        &self.custodian
    }

    /// What items are sealed to.
    #[must_use]
    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The epoch's identity, sealed to the custodian: what the vault keeps under `keys/`.
    #[must_use]
    pub fn sealed_epoch(&self) -> &[u8] {
        &self.sealed_epoch
    }

    /// The custodian's name in the vault.
    #[must_use]
    pub fn custodian_name(&self) -> &Name {
        &self.custodian_name
    }

    /// The epoch's identity, which opens items.
    ///
    /// # Errors
    /// As [`Epoch::open`].
    pub fn unlock(&self) -> Result<Identity> {
        self.epoch.open(&self.sealed_epoch, &self.custodian)
    }

    fn write(&self, path: &Path, random: &dyn Random) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)?;
        let public = format!("{} {HOLDER}\n", self.signing_key.public());
        let epoch = format!("{} {}\n", self.epoch.name, self.epoch.recipient);
        let signing_key = self.signing_key.to_openssh(HOLDER, random);
        let custodian = self.custodian.to_text();
        for (name, content) in [
            (VAULT_ID, format!("{}\n", self.vault_id).as_bytes()),
            (SIGNING_KEY, signing_key.expose().as_bytes()),
            (PUBLIC_KEY, public.as_bytes()),
            (ALLOWED_SIGNERS, self.allowed_signers.to_string().as_bytes()),
            (CUSTODIAN, custodian.expose().as_bytes()),
            (EPOCH, epoch.as_bytes()),
            (&sealed_name(&self.epoch), &self.sealed_epoch),
        ] {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path.join(name))?;
            file.write_all(content)?;
            file.sync_all()?;
        }
        File::open(path)?.sync_all()
    }
}

fn sealed_name(epoch: &Epoch) -> String {
    format!("{}.{HOLDER}.age", epoch.name)
}

/// A keyring's folder as it is read.
struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn parse<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
        self.text(name, false, parse)
    }

    fn parse_secret<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
        self.text(name, true, parse)
    }

    fn text<T>(&self, name: &str, secret: bool, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
        let bytes = zeroize::Zeroizing::new(self.read(name, secret)?);
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::new(ErrorKind::Invalid, "the file is not text"));
        text.and_then(parse)
            .map_err(|error| error.operation("open the keyring").with("path", self.path(name).display()))
    }

    fn read(&self, name: &str, secret: bool) -> Result<Vec<u8>> {
        let path = self.path(name);
        let at = |error| failed(error, "open the keyring", &path);
        let file = File::open(&path).map_err(at)?;
        let meta = file.metadata().map_err(at)?;
        if secret && meta.mode() & 0o077 != 0 {
            return Err(Error::new(ErrorKind::Refused, "others than its owner can read or write this secret")
                .operation("open the keyring")
                .with("path", path.display())
                .with("mode", format!("{:o}", meta.mode() & 0o777))
                .advise("run `chmod 600` on it; if others may have read it, make a new keyring"));
        }
        // Room from the start: a buffer that moves leaves a copy of the secret behind.
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len().min(LONGEST_FILE)).unwrap_or(0) + 1);
        file.take(LONGEST_FILE).read_to_end(&mut bytes).map_err(at)?;
        Ok(bytes)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn failed(error: io::Error, operation: &'static str, path: &Path) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::StorageFull => ErrorKind::Exhausted,
        _ => ErrorKind::Other,
    };
    Error::new(kind, error.to_string()).operation(operation).with("path", path.display()).because(error)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::clock::SystemRandom;

    #[test]
    fn a_folder_is_read_back_and_never_written_over() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("keys");
        let made = Keyring::create(&path).unwrap();
        let read = Keyring::open(&path).unwrap();
        assert_eq!(read.vault_id, made.vault_id);
        assert_eq!(read.signing_key.public(), made.signing_key.public());
        assert_eq!(read.allowed_signers, made.allowed_signers);
        assert_eq!(read.custodian.recipient(), made.custodian.recipient());
        assert_eq!(read.epoch, made.epoch);
        assert_eq!(read.sealed_epoch(), made.sealed_epoch());
        assert_eq!(read.unlock().unwrap().recipient(), &made.epoch.recipient);
        assert_eq!(Keyring::create(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);

        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        for entry in fs::read_dir(&path).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn the_epochs_identity_lies_nowhere_in_plain() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("keys");
        let keyring = Keyring::create(&path).unwrap();
        let secret = keyring.unlock().unwrap().to_text().expose().lines().last().unwrap().to_owned();
        for entry in fs::read_dir(&path).unwrap() {
            let content = fs::read(entry.unwrap().path()).unwrap();
            assert!(!content.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }

    #[test]
    fn secrets_that_others_can_read_are_refused() {
        for (name, mode) in [(SIGNING_KEY, 0o640), (CUSTODIAN, 0o604), (CUSTODIAN, 0o620)] {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("keys");
            Keyring::create(&path).unwrap();
            fs::set_permissions(path.join(name), fs::Permissions::from_mode(mode)).unwrap();
            let error = Keyring::open(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused, "{name} {mode:o}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn a_missing_or_foreign_file_is_named() {
        let foreign = tempfile::tempdir().unwrap();
        Keyring::create(foreign.path().join("keys")).unwrap();
        let sealed = "epoch-1.keyring.age";
        for name in [VAULT_ID, SIGNING_KEY, ALLOWED_SIGNERS, CUSTODIAN, EPOCH, sealed] {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("keys");
            Keyring::create(&path).unwrap();
            fs::write(path.join(name), "\u{1}nonsense").unwrap();
            let error = Keyring::open(&path).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Corrupt), "{name}: {error:?}");
            fs::remove_file(path.join(name)).unwrap();
            let error = Keyring::open(&path).unwrap_err();
            assert_eq!((error.kind(), error.to_string().contains(name)), (ErrorKind::NotFound, true), "{error}");
            if [CUSTODIAN, EPOCH, sealed].contains(&name) {
                fs::copy(foreign.path().join("keys").join(name), path.join(name)).unwrap();
                assert!(Keyring::open(&path).is_err(), "a foreign {name} was taken");
            }
        }
        assert_eq!(Keyring::open("/nowhere/at/all").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn debug_shows_no_secret() {
        let keyring = Keyring::generate().unwrap();
        let debug = format!("{keyring:?} {keyring:#?}");
        let custodian = keyring.custodian.to_text();
        let signing_key = keyring.signing_key.to_openssh("", &SystemRandom);
        let canaries = custodian.expose().lines().skip(1).chain(signing_key.expose().lines().skip(3).take(2));
        for canary in canaries {
            assert!(canary.len() > 30 && !debug.contains(&canary[20..]), "{debug}");
        }
        assert!(!debug.contains("SECRET-KEY"));
    }
}
