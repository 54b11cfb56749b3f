//! One folder with every key of a small place, each file a standard one that works by hand.

use std::path::{Path, PathBuf};

use crate::clock::{Random, SystemRandom};
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::vault::epoch::Epoch;
use crate::vault::key_folder::{
    ALLOWED_SIGNERS, CUSTODIAN, EPOCH, Folder, PUBLIC_KEY, SIGNING_KEY, VAULT_ID, epoch_lines, parse_epochs,
    public_line,
};
use crate::vault::role::Role;
use crate::vault::role_keys::RoleKeys;
use crate::vault::rotate::Rotation;
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
/// | `epoch` | name and recipient of the epoch that items are sealed to; with older ones the last line counts | `age -r` |
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
    /// Epochs before the one in use.
    older: Vec<Epoch>,
    epoch: Epoch,
    sealed_epoch: Vec<u8>,
    /// Where it is kept; nowhere if it is only in memory.
    path: Option<PathBuf>,
}

/// The custodian's name in the vault, and the signer's in `allowed_signers`.
const HOLDER: &str = "keyring";
const FIRST_EPOCH: &str = "epoch-1";

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
        let (mut epoch, identity) = Epoch::generate(Name::new(FIRST_EPOCH)?, random);
        let sealed_epoch = epoch.seal(&identity, custodian.recipient(), random)?;
        let (vault_id, custodian_name) = (VaultId::new(random), Name::new(HOLDER)?);
        // The name tells whose it is: a replica keeps the sealed keys of both vaults side by side.
        epoch.name = Name::new(format!("{FIRST_EPOCH}-{:.8}", vault_id.as_str()))?;
        let older = Vec::new();
        Ok(Self {
            vault_id,
            signing_key,
            allowed_signers,
            custodian_name,
            custodian,
            older,
            epoch,
            sealed_epoch,
            path: None,
        })
    }

    /// Makes fresh keys and keeps them in the new folder `path`, readable by its owner only.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if something is there; keys are never written over.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let mut keyring = Self::generate()?;
        let folder = Folder::new(path.as_ref(), "create the keyring");
        keyring.write(&folder, &SystemRandom)?;
        keyring.path = Some(path.as_ref().to_owned());
        Ok(keyring)
    }

    /// Reads a keyring's folder.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) or [`Invalid`](ErrorKind::Invalid) with the file that is missing or wrong,
    /// [`Refused`](ErrorKind::Refused) if others can read a secret.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let folder = Folder::new(path.as_ref(), "open the keyring");
        let (older, epoch, sealed_epoch) = folder.parse(EPOCH, |text| {
            let mut epochs = parse_epochs(text)?;
            let epoch =
                epochs.pop().ok_or_else(|| Error::new(ErrorKind::Invalid, "an epoch is written `NAME RECIPIENT`"))?;
            let sealed = folder.read(&sealed_name(&epoch), false)?;
            Ok((epochs, epoch, sealed))
        })?;
        let keyring = Self {
            vault_id: folder.parse(VAULT_ID, |text| text.trim().parse())?,
            signing_key: folder.parse_secret(SIGNING_KEY, SigningKey::from_openssh)?,
            allowed_signers: folder.parse(ALLOWED_SIGNERS, str::parse)?,
            custodian_name: Name::new(HOLDER)?,
            custodian: folder.parse_secret(CUSTODIAN, Identity::parse)?,
            older,
            epoch,
            sealed_epoch,
            path: Some(path.as_ref().to_owned()),
        };
        // A keyring that cannot open what is sealed with it is found out now, not on the day of the restore.
        keyring.unlock().map_err(|error| error.with("path", path.as_ref().display()))?;
        Ok(keyring)
    }

    /// Makes keys for one role, to be [saved](RoleKeys::save) where it works: the vault's ID, the trusted signers, and of
    /// secrets only what the role needs. A role that signs gets a key of its own, trusted for that role's uses and no
    /// other; one that opens gets an identity of its own, which opens nothing until
    /// [`add_custodian`](crate::vault::Vault::add_custodian) seals the epochs to it. The keyring trusts the new key from
    /// now on; programs that have an older copy of `allowed_signers` do when they get the new one. So issue the keys of all
    /// roles first, then hand the one list out to each of them ([`RoleKeys::take_signers`]), and to replicas
    /// ([`VaultBuilder::origin`](crate::vault::VaultBuilder::origin)); the same after each later change.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where the keyring's folder holds no `allowed_signers` any more, and what the file
    /// system answers.
    pub fn issue(&mut self, role: Role, name: &Name) -> Result<RoleKeys> {
        self.issue_from(role, name, &SystemRandom)
    }

    /// As [`issue`](Self::issue), from a randomness of one's own: a simulation's.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub fn issue_from(&mut self, role: Role, name: &Name, random: &dyn Random) -> Result<RoleKeys> {
        let uses: Vec<&str> = role.purposes().into_iter().map(super::Purpose::namespace).collect();
        let signing_key = (!uses.is_empty()).then(|| SigningKey::generate(random));
        if let Some(key) = &signing_key {
            let line = AllowedSigner::new(name.as_str(), key.public()).namespaces(uses);
            if let Some(path) = &self.path {
                let folder = Folder::new(path, "issue keys");
                // The file's own text stays: a person may have added lines and comments.
                let mut text = folder.parse(ALLOWED_SIGNERS, |text| Ok(text.trim_end().to_owned()))?;
                text.push_str(&format!("\n{line}\n"));
                self.allowed_signers = text.parse()?;
                folder.replace(ALLOWED_SIGNERS, text.as_bytes())?;
            } else {
                self.allowed_signers.add(line)?;
            }
        }
        Ok(RoleKeys::new(
            role,
            name.clone(),
            self.vault_id.clone(),
            self.allowed_signers.clone(),
            signing_key,
            if role.seals() { self.epochs() } else { Vec::new() },
            role.opens().then(|| Identity::generate(random)),
        ))
    }

    /// Takes over a new epoch, which a [`rotate`](crate::vault::Vault::rotate) made and sealed to this keyring's custodian
    /// among others. Vaults that are opened with the keyring from now on seal to it.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if it was not sealed to this keyring's custodian, else as [`Epoch::open`].
    pub fn take_epoch(&mut self, rotation: &Rotation) -> Result<()> {
        let sealed = rotation.sealed_to(&self.custodian_name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the epoch was not sealed to the keyring's custodian")
                .with("epoch", &rotation.epoch.name)
                .with("custodian", &self.custodian_name)
        })?;
        rotation.epoch.open(sealed, &self.custodian)?;
        if rotation.epoch == self.epoch {
            return Ok(());
        }
        if let Some(path) = &self.path {
            let folder = Folder::new(path, "take the epoch over");
            folder.replace(&sealed_name(&rotation.epoch), sealed)?;
            let epochs = self.epochs().into_iter().chain([rotation.epoch.clone()]).collect::<Vec<_>>();
            folder.replace(EPOCH, epoch_lines(&epochs).as_bytes())?;
        }
        self.older.push(std::mem::replace(&mut self.epoch, rotation.epoch.clone()));
        self.sealed_epoch = sealed.to_vec();
        Ok(())
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

    /// Every epoch that it knows, the one in use last.
    #[must_use]
    pub fn epochs(&self) -> Vec<Epoch> {
        self.older.iter().chain([&self.epoch]).cloned().collect()
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

    fn write(&self, folder: &Folder<'_>, random: &dyn Random) -> Result<()> {
        folder.create(&[
            (VAULT_ID, format!("{}\n", self.vault_id).as_bytes()),
            (SIGNING_KEY, self.signing_key.to_openssh(HOLDER, random).expose().as_bytes()),
            (PUBLIC_KEY, public_line(&self.signing_key, HOLDER).as_bytes()),
            (ALLOWED_SIGNERS, self.allowed_signers.to_string().as_bytes()),
            (CUSTODIAN, self.custodian.to_text().expose().as_bytes()),
            (EPOCH, epoch_lines(&self.epochs()).as_bytes()),
            (&sealed_name(&self.epoch), &self.sealed_epoch),
        ])
    }
}

fn sealed_name(epoch: &Epoch) -> String {
    format!("{}.{HOLDER}.age", epoch.name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

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
        let theirs = Keyring::create(foreign.path().join("keys")).unwrap();
        for name in [VAULT_ID, SIGNING_KEY, ALLOWED_SIGNERS, CUSTODIAN, EPOCH, "sealed"] {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("keys");
            let made = Keyring::create(&path).unwrap();
            let (sealed, foreign_sealed) = (sealed_name(&made.epoch), sealed_name(&theirs.epoch));
            let (name, foreign_name) = if name == "sealed" { (&*sealed, &*foreign_sealed) } else { (name, name) };
            fs::write(path.join(name), "\u{1}nonsense").unwrap();
            let error = Keyring::open(&path).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Corrupt), "{name}: {error:?}");
            fs::remove_file(path.join(name)).unwrap();
            let error = Keyring::open(&path).unwrap_err();
            assert_eq!((error.kind(), error.to_string().contains(name)), (ErrorKind::NotFound, true), "{error}");
            if [CUSTODIAN, EPOCH, &sealed].contains(&name) {
                fs::copy(foreign.path().join("keys").join(foreign_name), path.join(name)).unwrap();
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
