//! Every engine keeps the same contract: each case of the suite runs on each engine.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "contract/suite.rs"]
mod suite;

use std::sync::Arc;

use store::{Embedded, Options, Store};

/// One test per case, each with a store of its own.
macro_rules! embedded_keeps {
    ($($case:ident),* $(,)?) => {
        mod embedded {
            $(
                #[tokio::test]
                async fn $case() {
                    let dir = tempfile::tempdir().unwrap();
                    let options = super::Options { tick: std::time::Duration::from_millis(5), ..super::Options::default() };
                    let store: super::Arc<dyn super::Store> = super::Embedded::open(dir.path(), options).unwrap();
                    super::suite::$case(store).await;
                }
            )*
        }
    };
}

embedded_keeps!(
    a_write_happens_only_when_its_expectation_holds,
    each_committed_write_takes_one_new_revision,
    removing_what_is_not_there_changes_nothing,
    of_racing_writers_exactly_one_wins,
    a_range_is_a_picture_of_one_revision,
    pages_of_one_revision_fit_together_while_writes_go_on,
    a_watch_delivers_every_change_after_its_revision_in_order,
    a_watch_sees_only_its_prefix_and_still_moves_on,
    a_watch_goes_from_the_past_into_the_present_without_a_gap,
    many_watchers_see_the_same_changes,
    compacted_history_is_refused_and_live_values_stay,
    the_future_is_refused,
    a_key_with_a_time_to_live_goes_away,
    a_value_over_the_limit_is_refused,
);
