//! ImageLocality: prefers nodes that hold the pod's images, weighed by how many nodes do.

use std::collections::HashMap;

use crate::framework::{Cycle, MAX_SCORE, Plugin, Score};
use crate::node_info::NodeInfo;

const MIB: i64 = 1024 * 1024;
/// Smaller sums count as nothing: pulling that takes no time.
const MIN: i64 = 23 * MIB;
/// Larger sums count no more, per container.
const MAX_PER_CONTAINER: i64 = 1000 * MIB;

/// The plugin.
pub struct ImageLocality;

struct Prepared {
    /// The pod's images, each with the share of nodes that hold it.
    images: Vec<(String, f64)>,
    containers: i64,
}

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn score<'a>(&'a self, cycle: &Cycle<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let spec = cycle.pod.pod.spec.as_ref()?;
        let of_containers = spec.init_containers.iter().flatten().chain(&spec.containers).filter_map(|c| c.image.as_deref());
        let of_volumes = spec.volumes.iter().flatten().filter_map(|v| v.image.as_ref()?.reference.as_deref());
        let names: Vec<String> = of_containers.chain(of_volumes).map(normalized).collect();
        let mut holders: HashMap<&str, usize> = HashMap::new();
        let mut nodes = 0usize;
        for node in cycle.cache.nodes() {
            nodes += 1;
            for name in names.iter().filter(|n| node.images.contains_key(*n)) {
                *holders.entry(name).or_default() += 1;
            }
        }
        if holders.is_empty() {
            return None;
        }
        let containers = spec.containers.len() + spec.init_containers.as_ref().map_or(0, Vec::len);
        let share = |name: &String| holders.get(name.as_str()).copied().unwrap_or(0) as f64 / nodes as f64;
        let images = names.iter().map(|n| (n.clone(), share(n))).collect();
        Some(Box::new(Prepared { images, containers: i64::try_from(containers).unwrap_or(1).max(1) }))
    }
}

impl Score for Prepared {
    fn rate(&self, node: &NodeInfo) -> i64 {
        let size = |(name, share): &(String, f64)| node.images.get(name).map_or(0, |size| (*size as f64 * share) as i64);
        let max = MAX_PER_CONTAINER * self.containers;
        let sum = self.images.iter().map(size).sum::<i64>().clamp(MIN, max);
        MAX_SCORE * (sum - MIN) / (max - MIN)
    }
}

/// A name without a tag means the tag `latest`.
fn normalized(image: &str) -> String {
    if image.rfind(':') <= image.rfind('/') { format!("{image}:latest") } else { image.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_tag() {
        for (given, expected) in [("web", "web:latest"), ("web:1", "web:1"), ("reg:5000/web", "reg:5000/web:latest")] {
            assert_eq!(normalized(given), expected);
        }
    }
}
