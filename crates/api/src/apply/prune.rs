//! Takes out of the merged object what an applier has given up and nobody else owns.

use serde_json::Value;

use super::collect::{fields_of, with_named_fields};
use super::entries::Entry;
use super::problem::Problems;
use super::remove::without;
use super::set::FieldSet;
use super::spot::Spot;

/// The merged object without the fields that were in `last`, the applier's former set, and that no owner (the applier's
/// new set among them) holds. Fields that nobody ever owned stay, unless what they are part of goes.
pub(super) fn prune(spot: Spot<'_>, merged: Value, owners: &[Entry<'_>], last: &FieldSet<'_>) -> Result<Value, Problems> {
    let named = |mut set: FieldSet<'_>| -> FieldSet<'static> {
        with_named_fields(&mut set, Some(spot));
        set.into_owned()
    };
    let last = named(last.clone());
    let held = owners.iter().fold(FieldSet::default(), |all, o| all.union(o.set.clone()));
    let held = named(held);
    let all = named(fields_of(spot, &merged)?);

    // Without all that was ever applied, then with back what anyone holds.
    let bare = without(spot, &merged, &last).unwrap_or_default();
    let mut surplus = all.clone();
    surplus.subtract(&named(fields_of(spot, &bare)?).union(held));
    let kept = without(spot, &merged, &surplus).unwrap_or_default();

    // What went by accident, since it was never the applier's, comes back too.
    let mut gone = all;
    gone.subtract(&named(fields_of(spot, &kept)?));
    let gone = gone.intersection(&last);
    Ok(if gone.is_empty() { merged } else { without(spot, &merged, &gone).unwrap_or_default() })
}
