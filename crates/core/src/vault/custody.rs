//! What a person should know about who can open the vault, before the day on which somebody has to.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::error::Result;
use crate::name::Name;
use crate::vault::{Custodian, Vault};

/// A custodian who has not shown to be able to open the vault for so long may have lost the key.
const PROVED_WITHIN: SignedDuration = SignedDuration::from_hours(90 * 24);

impl Vault {
    /// Warnings about custodians, one line each. A key file alone proves nothing, because anybody who may create objects
    /// can plant one: who counts is who opened the epoch and signed that he did.
    pub(crate) async fn custody(&self, now: Timestamp) -> Result<Vec<String>> {
        let custodians = self.custodians().await?;
        let pinned: BTreeSet<&Name> = self.pinned_epochs().iter().map(|epoch| &epoch.name).collect();
        let listed = || custodians.iter().map(|custodian| &custodian.epoch).collect();
        // Who writes and keeps knows the epochs; others take the vault's word.
        let epochs: BTreeSet<&Name> = if pinned.is_empty() { listed() } else { pinned };
        Ok(epochs.into_iter().flat_map(|epoch| warnings(epoch, &custodians, now)).collect())
    }
}

fn warnings(epoch: &Name, custodians: &[Custodian], now: Timestamp) -> Vec<String> {
    let proofs: Vec<(&Name, Timestamp)> = custodians
        .iter()
        .filter(|custodian| custodian.epoch == *epoch)
        .filter_map(|custodian| Some((&custodian.name, custodian.proved?)))
        .collect();
    let mut warnings = Vec::new();
    match proofs.as_slice() {
        [] => warnings.push(format!("{epoch}: no custodian has shown to be able to open it; `check_custodian` does")),
        [(only, _)] => {
            warnings.push(format!("{epoch}: only {only} has shown to be able to open it; a lost key is a lost vault"));
        }
        _ => {}
    }
    let newest = proofs.iter().map(|(_, at)| *at).max();
    if let Some(newest) = newest.filter(|newest| now.duration_since(*newest) > PROVED_WITHIN) {
        warnings.push(format!("{epoch}: last opened by a custodian at {newest}, more than 90 days ago"));
    }
    warnings
}
