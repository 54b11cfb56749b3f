//! The keys of one role, in a folder of their own.

use std::path::{Path, PathBuf};

use crate::clock::SystemRandom;
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::vault::epoch::Epoch;
use crate::vault::key_folder::{
    ALLOWED_SIGNERS, CUSTODIAN, EPOCH, Folder, PUBLIC_KEY, SIGNING_KEY, VAULT_ID, epoch_lines, parse_epochs,
    public_line,
};
use crate::vault::role::Role;
use crate::vault::seal::Identity;
use crate::vault::sign::SigningKey;
use crate::vault::trust::AllowedSigners;
use crate::vault::vault_id::VaultId;

/// What one role holds, [issued](crate::vault::Keyring::issue) from a keyring. Whoever takes it can do what the role can,
/// with the store rights of its credential, and nothing more.
///
/// | file | what | in the folder of |
/// |---|---|---|
/// | `role` | the role, and a name for people | every role |
/// | `vault-id` | the vault's id | every role |
/// | `allowed_signers` | whom to trust | every role |
/// | `signing-key`, `signing-key.pub` | signs for this role only | every role but the restorer |
/// | `epoch` | names and recipients of epochs, public; new items and logs are sealed to the last | writer, pruner, keeper |
/// | `custodian.txt` | age identity that opens epochs, once they are sealed to it | restorer, keeper |
///
/// ```
/// use backstay_core::vault::{Keyring, Role, RoleKeys};
///
/// let place = tempfile::tempdir()?;
/// let mut keyring = Keyring::create(place.path().join("keys"))?;
/// keyring.issue(Role::Writer, &"host-7".parse()?)?.save(place.path().join("host-7"))?;
///
/// let keys = RoleKeys::open(place.path().join("host-7"))?;
/// assert_eq!(keys.role(), Role::Writer);
/// assert!(keys.custodian().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RoleKeys {
    role: Role,
    name: Name,
    vault_id: VaultId,
    allowed_signers: AllowedSigners,
    signing_key: Option<SigningKey>,
    epochs: Vec<Epoch>,
    custodian: Option<Identity>,
    /// Where it is kept; nowhere if it is only in memory.
    path: Option<PathBuf>,
}

const ROLE: &str = "role";

impl RoleKeys {
    pub(super) fn new(
        role: Role,
        name: Name,
        vault_id: VaultId,
        allowed_signers: AllowedSigners,
        signing_key: Option<SigningKey>,
        epochs: Vec<Epoch>,
        custodian: Option<Identity>,
    ) -> Self {
        Self { role, name, vault_id, allowed_signers, signing_key, epochs, custodian, path: None }
    }

    /// Keeps the keys in the new folder `path`, readable by its owner only.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if something is there; keys are never written over.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let role = format!("{} {}\n", self.role, self.name);
        let (vault_id, signers) = (format!("{}\n", self.vault_id), self.allowed_signers.to_string());
        let mut files: Vec<(&str, &[u8])> =
            vec![(ROLE, role.as_bytes()), (VAULT_ID, vault_id.as_bytes()), (ALLOWED_SIGNERS, signers.as_bytes())];
        let signing = self
            .signing_key
            .as_ref()
            .map(|key| (key.to_openssh(self.name.as_str(), &SystemRandom), public_line(key, self.name.as_str())));
        if let Some((secret, public)) = &signing {
            files.extend([(SIGNING_KEY, secret.expose().as_bytes()), (PUBLIC_KEY, public.as_bytes())]);
        }
        let epochs = epoch_lines(&self.epochs);
        if self.role.seals() {
            files.push((EPOCH, epochs.as_bytes()));
        }
        let custodian = self.custodian.as_ref().map(Identity::to_text);
        files.extend(custodian.iter().map(|text| (CUSTODIAN, text.expose().as_bytes())));
        Folder::new(path.as_ref(), "save the keys").create(&files)
    }

    /// Reads such a folder.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) or [`Invalid`](ErrorKind::Invalid) with the file that is missing or wrong,
    /// [`Refused`](ErrorKind::Refused) if others can read a secret.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let folder = Folder::new(path.as_ref(), "open the keys");
        let (role, name) = folder.parse(ROLE, |text| {
            let (role, name) = text
                .trim()
                .split_once(' ')
                .ok_or_else(|| Error::new(ErrorKind::Invalid, "a role is written `ROLE NAME`"))?;
            Ok((role.parse::<Role>()?, name.parse()?))
        })?;
        let signs = !role.purposes().is_empty();
        Ok(Self {
            role,
            name,
            vault_id: folder.parse(VAULT_ID, |text| text.trim().parse())?,
            allowed_signers: folder.parse(ALLOWED_SIGNERS, str::parse)?,
            signing_key: signs.then(|| folder.parse_secret(SIGNING_KEY, SigningKey::from_openssh)).transpose()?,
            epochs: if role.seals() { folder.parse(EPOCH, parse_epochs)? } else { Vec::new() },
            custodian: role.opens().then(|| folder.parse_secret(CUSTODIAN, Identity::parse)).transpose()?,
            path: Some(path.as_ref().to_owned()),
        })
    }

    /// Seals new items and logs to another epoch from now on, in the folder too. It is public, but has to come on a way that
    /// nobody else can write to: whoever chooses it can read what is backed up from then on.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a role that seals nothing, and what the file system answers.
    pub fn pin_epoch(&mut self, epoch: &Epoch) -> Result<()> {
        if !self.role.seals() {
            return Err(Error::new(ErrorKind::Invalid, format!("a {} seals nothing", self.role)));
        }
        self.epochs.retain(|known| known != epoch);
        self.epochs.push(epoch.clone());
        match &self.path {
            Some(path) => Folder::new(path, "pin the epoch").replace(EPOCH, epoch_lines(&self.epochs).as_bytes()),
            None => Ok(()),
        }
    }

    /// Trusts from now on whom the keyring's `allowed_signers` tell, and nobody else, in the folder too. Keys that are issued
    /// later, or distrusted, are known to no folder that was made before: hand the list out again after each such change,
    /// on a way that nobody else can write to.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if this folder's own key is not in the list: it is another vault's, or older than the
    /// folder; and what the file system answers.
    pub fn take_signers(&mut self, signers: &AllowedSigners) -> Result<()> {
        if let Some(key) = self.signing_key.as_ref().map(SigningKey::public)
            && !signers.iter().any(|line| line.key == key)
        {
            return Err(Error::new(ErrorKind::Invalid, "the list does not have the key of this folder")
                .operation("take the signers over")
                .with("name", &self.name)
                .with("key", key.id())
                .advise("give it the `allowed_signers` of the keyring that issued the folder, as they are now"));
        }
        if let Some(path) = &self.path {
            Folder::new(path, "take the signers over").replace(ALLOWED_SIGNERS, signers.to_string().as_bytes())?;
        }
        self.allowed_signers = signers.clone();
        Ok(())
    }

    /// Whose keys these are.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The holder: the principal in `allowed_signers`, and a good name for the custodian.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The vault that they are for.
    #[must_use]
    pub fn vault_id(&self) -> &VaultId {
        &self.vault_id
    }

    /// Whose points and marks count.
    #[must_use]
    pub fn allowed_signers(&self) -> &AllowedSigners {
        &self.allowed_signers
    }

    /// Signs for the role, where it signs.
    #[must_use]
    pub fn signing_key(&self) -> Option<&SigningKey> {
        self.signing_key.as_ref()
    }

    /// The epochs that it knows; new items and logs are sealed to the last.
    #[must_use]
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// Opens epochs that are sealed to it, where the role opens.
    #[must_use]
    pub fn custodian(&self) -> Option<&Identity> {
        self.custodian.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::vault::Keyring;

    #[test]
    fn a_folder_holds_what_its_role_needs_and_is_read_back() {
        let place = tempfile::tempdir().unwrap();
        let mut keyring = Keyring::create(place.path().join("keys")).unwrap();
        let common = ["allowed_signers", "role", "vault-id"];
        for role in Role::ALL {
            let path = place.path().join(role.name());
            let made = keyring.issue(role, &role.name().parse().unwrap()).unwrap();
            made.save(&path).unwrap();
            let read = RoleKeys::open(&path).unwrap();
            assert_eq!(read.signing_key().map(SigningKey::public), made.signing_key().map(SigningKey::public));
            assert_eq!(read.epochs(), made.epochs());
            assert_eq!(read.custodian().map(Identity::recipient), made.custodian().map(Identity::recipient));
            assert_eq!(made.save(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
            let mut names: Vec<String> = Vec::new();
            for entry in fs::read_dir(&path).unwrap() {
                let entry = entry.unwrap();
                assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600);
                names.push(entry.file_name().into_string().unwrap());
            }
            names.sort();
            let mut expected = common.map(str::to_owned).to_vec();
            if !role.purposes().is_empty() {
                expected.extend([SIGNING_KEY.to_owned(), PUBLIC_KEY.to_owned()]);
            }
            expected.extend(role.seals().then(|| EPOCH.to_owned()));
            expected.extend(role.opens().then(|| CUSTODIAN.to_owned()));
            expected.sort();
            assert_eq!(names, expected, "{role}");
        }
        // The keyring trusts them all from now on, also when it is read again.
        let again = Keyring::open(place.path().join("keys")).unwrap();
        assert_eq!(again.allowed_signers().iter().count(), 1 + Role::ALL.len() - 1);
        assert_eq!(again.allowed_signers(), keyring.allowed_signers());
    }

    #[test]
    fn what_a_person_added_to_the_allowed_signers_stays() {
        let place = tempfile::tempdir().unwrap();
        let mut keyring = Keyring::create(place.path().join("keys")).unwrap();
        let file = place.path().join("keys").join(ALLOWED_SIGNERS);
        let theirs = fs::read_to_string(&file).unwrap() + "# an old host\n";
        fs::write(&file, &theirs).unwrap();
        keyring.issue(Role::Writer, &"host-7".parse().unwrap()).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with(&theirs) && text.contains("host-7 namespaces=\"backstay-point-v1,"), "{text}");
    }

    #[test]
    fn signers_that_were_taken_over_stay_and_a_list_without_the_own_key_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let mut keyring = Keyring::create(place.path().join("keys")).unwrap();
        let path = place.path().join("night");
        let before = keyring.allowed_signers().clone();
        keyring.issue(Role::Pruner, &"night".parse().unwrap()).unwrap().save(&path).unwrap();
        keyring.issue(Role::Keeper, &"ann".parse().unwrap()).unwrap();
        let mut night = RoleKeys::open(&path).unwrap();
        assert_eq!(night.take_signers(&before).unwrap_err().kind(), ErrorKind::Invalid);
        night.take_signers(keyring.allowed_signers()).unwrap();
        for keys in [&night, &RoleKeys::open(&path).unwrap()] {
            assert_eq!(keys.allowed_signers(), keyring.allowed_signers());
        }
        // Who only reads has no key of his own in it.
        let mut reader = keyring.issue(Role::Restorer, &"bob".parse().unwrap()).unwrap();
        reader.take_signers(&before).unwrap();
        assert_eq!(reader.allowed_signers(), &before);
    }

    #[test]
    fn a_pinned_epoch_stays_pinned() {
        let place = tempfile::tempdir().unwrap();
        let mut keyring = Keyring::generate().unwrap();
        let path = place.path().join("host-7");
        keyring.issue(Role::Writer, &"host-7".parse().unwrap()).unwrap().save(&path).unwrap();
        let (epoch, _) = Epoch::generate("epoch-2".parse().unwrap(), &SystemRandom);
        RoleKeys::open(&path).unwrap().pin_epoch(&epoch).unwrap();
        assert_eq!(RoleKeys::open(&path).unwrap().epochs().last(), Some(&epoch));
        let mut verifier = keyring.issue(Role::Verifier, &"night".parse().unwrap()).unwrap();
        assert_eq!(verifier.pin_epoch(&epoch).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
