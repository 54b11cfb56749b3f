//! Doubt by content: a component that is suddenly another, much smaller, or does not compress any more.
//!
//! One rule for writers, who know what their process wrote, and for readers, who know what is signed.

use std::collections::VecDeque;

use crate::vault::manifest::Component;

/// So many points that were good make the measure: their middle one, so that a single odd night is no measure.
pub(crate) const RECENT: usize = 5;

/// Compression says nothing of less: headers would count too much.
const COMPRESSIBLE: u64 = 64 << 10;
/// Content of which compression takes away less, in thousandths, was never compressible.
const SAVED: u64 = 200;

/// What is compared of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) identity: Option<String>,
    /// Plain bytes.
    pub(crate) bytes: u64,
    /// Stored bytes.
    pub(crate) stored: u64,
    /// Stored objects and snapshots.
    pub(crate) objects: u64,
}

impl From<&Component> for Content {
    fn from(component: &Component) -> Self {
        Self {
            identity: component.identity.clone(),
            bytes: component.bytes,
            stored: component.objects.iter().map(|object| object.bytes).sum(),
            objects: (component.objects.len() + component.snapshots.len()) as u64,
        }
    }
}

/// What a component was lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Baseline(VecDeque<Content>);

impl Baseline {
    /// Why this content cannot be the same component's as before; none if it can, or if nothing is known.
    pub(crate) fn doubt(&self, now: &Content) -> Option<String> {
        let before = self.0.iter().rev().find_map(|content| content.identity.as_ref());
        match (before, &now.identity) {
            (Some(before), Some(now)) if before != now => return Some(format!("was {before} and is now {now}")),
            _ => {}
        }
        let bytes = self.middle(|content| Some(content.bytes))?;
        if now.bytes < bytes.div_ceil(2) {
            return Some(format!("has {} bytes, lately it had {bytes}", now.bytes));
        }
        let objects = self.middle(|content| Some(content.objects))?;
        if now.objects < objects.div_ceil(2) {
            return Some(format!("has {} objects, lately it had {objects}", now.objects));
        }
        let (before, now) = (self.middle(saved)?, saved(now)?);
        (before >= SAVED && now < before / 2).then(|| {
            let percent = |saved: u64| 100 - saved / 10;
            format!(
                "compresses to {} % of its size, lately to {} %: somebody may have enciphered it",
                percent(now),
                percent(before)
            )
        })
    }

    /// Takes what stands as good into the measure.
    pub(crate) fn add(&mut self, content: Content) {
        if self.0.len() == RECENT {
            self.0.pop_front();
        }
        self.0.push_back(content);
    }

    /// The middle one of the values that are known; of two, the lower.
    fn middle(&self, value: impl Fn(&Content) -> Option<u64>) -> Option<u64> {
        let mut values: Vec<u64> = self.0.iter().filter_map(value).collect();
        values.sort_unstable();
        values.get(values.len().checked_sub(1)? / 2).copied()
    }
}

/// How much compression takes away, in thousandths of the plain bytes.
fn saved(content: &Content) -> Option<u64> {
    let enough = content.bytes >= COMPRESSIBLE;
    enough.then(|| 1000_u64.saturating_sub(content.stored.saturating_mul(1000) / content.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(identity: &str, bytes: u64, stored: u64, objects: u64) -> Content {
        Content { identity: (!identity.is_empty()).then(|| identity.to_owned()), bytes, stored, objects }
    }

    #[test]
    fn each_way_of_not_being_the_same_is_told_apart() {
        const MIB: u64 = 1 << 20;
        let usual = content("one", 10 * MIB, 3 * MIB, 4);
        let mut baseline = Baseline::default();
        assert_eq!(baseline.doubt(&content("", 0, 0, 0)), None, "the first one has nothing to be compared with");
        (0..3).for_each(|_| baseline.add(usual.clone()));
        for (now, expected) in [
            (usual.clone(), ""),
            (content("", 10 * MIB, 3 * MIB, 4), ""),
            (content("one", 5 * MIB, 2 * MIB, 2), ""),
            (content("one", 100 * MIB, 30 * MIB, 40), ""),
            (content("one", 10 * MIB, 6 * MIB, 4), ""),
            (content("two", 10 * MIB, 3 * MIB, 4), "was one and is now two"),
            (content("one", 5 * MIB - 1, MIB, 4), "lately it had 10485760"),
            (content("one", 10 * MIB, 3 * MIB, 1), "has 1 objects, lately it had 4"),
            (content("one", 10 * MIB, 10 * MIB, 4), "to 100 % of its size, lately to 30 %"),
            (content("one", 10 * MIB, 10 * MIB + 900, 4), "enciphered"),
        ] {
            let doubt = baseline.doubt(&now);
            match expected {
                "" => assert_eq!(doubt, None, "{now:?}"),
                text => assert!(doubt.as_deref().is_some_and(|doubt| doubt.contains(text)), "{now:?}: {doubt:?}"),
            }
        }
    }

    #[test]
    fn one_odd_night_is_no_measure_and_small_content_need_not_compress() {
        let mut baseline = Baseline::default();
        [100, 100, 1000].into_iter().for_each(|bytes| baseline.add(content("", bytes, bytes, 1)));
        assert_eq!(baseline.doubt(&content("", 90, 500, 1)), None);
        let mut baseline = Baseline::default();
        (0..9).for_each(|_| baseline.add(content("", 1 << 20, 1 << 20, 1)));
        assert_eq!(baseline.doubt(&content("", 1 << 20, 2 << 20, 1)), None, "it never compressed");
        assert_eq!(baseline.0.len(), RECENT);
    }
}
