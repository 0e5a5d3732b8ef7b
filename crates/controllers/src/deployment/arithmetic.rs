//! The arithmetic of a rolling update (upstream `deployment_util` and `rolling`).

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How a percentage that gives no whole number is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// To the next higher number.
    Up,
    /// To the next lower number.
    Down,
}

/// A count, or a percentage of `total`. What is no percentage counts as zero; the API server does not let it in.
pub fn scaled(value: Option<&IntOrString>, total: i32, round: Round) -> i32 {
    match value {
        None => 0,
        Some(IntOrString::Int(count)) => *count,
        Some(IntOrString::String(text)) => {
            let percent: i64 = text.strip_suffix('%').and_then(|p| p.parse().ok()).unwrap_or(0);
            let product = percent.saturating_mul(i64::from(total));
            let rounded = match round {
                Round::Up => product.saturating_add(99).div_euclid(100),
                Round::Down => product.div_euclid(100),
            };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        }
    }
}

/// How a deployment replaces its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Old pods go first.
    Recreate,
    /// Step by step.
    RollingUpdate {
        /// How many pods there may be too many.
        surge: i32,
        /// How many pods may be missing.
        unavailable: i32,
    },
}

impl Strategy {
    /// The strategy with its limits resolved for the wanted number of replicas.
    pub fn of(deployment: &Deployment) -> Self {
        let strategy = deployment.spec.as_ref().and_then(|s| s.strategy.as_ref());
        if strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate") {
            return Self::Recreate;
        }
        let limits = strategy.and_then(|s| s.rolling_update.as_ref());
        let replicas = replicas(deployment);
        let surge = scaled(limits.and_then(|l| l.max_surge.as_ref()), replicas, Round::Up);
        let unavailable = scaled(limits.and_then(|l| l.max_unavailable.as_ref()), replicas, Round::Down);
        // Both may be zero by rounding; without one of them nothing could ever move.
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self::RollingUpdate { surge, unavailable }
    }

    /// How many pods there may be too many.
    pub fn max_surge(self) -> i32 {
        match self {
            Self::Recreate => 0,
            Self::RollingUpdate { surge, .. } => surge,
        }
    }

    /// How many of `replicas` pods may be missing.
    pub fn max_unavailable(self, replicas: i32) -> i32 {
        match self {
            Self::Recreate => 0,
            Self::RollingUpdate { unavailable, .. } => unavailable.min(replicas),
        }
    }
}

/// The wanted number of pods.
pub fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

/// The size of the new set: as large as the surge allows. `total` counts the pods that all sets ask for.
pub fn new_set_size(strategy: Strategy, replicas: i32, total: i32, size: i32) -> i32 {
    match strategy {
        Strategy::Recreate => replicas,
        Strategy::RollingUpdate { surge, .. } => {
            let room = replicas.saturating_add(surge).saturating_sub(total);
            if room <= 0 { size } else { size + room.min(replicas - size) }
        }
    }
}

/// By how much one set grows (or shrinks) when `to_add` pods are shared out in proportion and `added` are given already.
/// `base` is the deployment's maximum when the set got its size.
pub fn proportion(size: i32, replicas: i32, surge: i32, base: i32, to_add: i32, added: i32) -> i32 {
    if size == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let share = if replicas == 0 {
        -size
    } else if base == 0 {
        0
    } else {
        let (size, base) = (i64::from(size), i64::from(base));
        let wanted = size * (i64::from(replicas) + i64::from(surge));
        // Rounded to the nearest, halves away from zero: all of these are positive.
        let rounded = (2 * wanted + base).div_euclid(2 * base);
        i32::try_from(rounded - size).unwrap_or(0)
    };
    let allowed = to_add - added;
    if to_add > 0 { share.min(allowed) } else { share.max(allowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let percent = |p: &str| IntOrString::String(p.to_owned());
        for (value, total, up, down) in
            [("25%", 10, 3, 2), ("25%", 3, 1, 0), ("100%", 7, 7, 7), ("0%", 5, 0, 0), ("50%", 1, 1, 0), ("junk", 4, 0, 0)]
        {
            assert_eq!(scaled(Some(&percent(value)), total, Round::Up), up, "{value} of {total}");
            assert_eq!(scaled(Some(&percent(value)), total, Round::Down), down, "{value} of {total}");
        }
        assert_eq!(scaled(Some(&IntOrString::Int(4)), 2, Round::Up), 4);
    }

    #[test]
    fn the_new_set_grows_into_the_surge() {
        let rolling = |surge| Strategy::RollingUpdate { surge, unavailable: 0 };
        // (surge, replicas, total, size) -> new size
        for ((surge, replicas, total, size), expected) in
            [((2, 10, 10, 0), 2), ((2, 10, 12, 2), 2), ((2, 10, 5, 0), 7), ((5, 10, 5, 0), 10), ((0, 10, 10, 0), 0), ((1, 3, 0, 0), 3)]
        {
            assert_eq!(new_set_size(rolling(surge), replicas, total, size), expected);
        }
        assert_eq!(new_set_size(Strategy::Recreate, 4, 9, 0), 4);
    }

    #[test]
    fn scaling_in_the_middle_of_a_rollout_keeps_the_proportions() {
        // 10 replicas with surge 3 have 8 old and 5 new pods; 30 replicas with surge 3 make it 20 and 13.
        let to_add = 33 - 13;
        let first = proportion(8, 30, 3, 13, to_add, 0);
        let second = proportion(5, 30, 3, 13, to_add, first);
        assert_eq!((8 + first, 5 + second), (20, 13));
        assert_eq!(proportion(8, 0, 0, 13, -13, 0), -8);
        assert_eq!(proportion(8, 5, 0, 0, -3, 0), 0);
    }
}
