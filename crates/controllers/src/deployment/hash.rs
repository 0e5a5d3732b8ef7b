//! The `pod-template-hash`: a short name for a pod template.

use k8s_openapi::api::core::v1::PodTemplateSpec;

/// The label that tells the pods of one template from those of another.
pub const LABEL: &str = "pod-template-hash";

const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;
/// Kubernetes' alphabet for names: no vowels and no look-alikes.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a of the template's JSON (fields in a fixed order, absent ones left out) and the collision count. It only has to be
/// stable within this cluster: an existing ReplicaSet is found by its template, not by this hash.
pub fn of(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let text = serde_json::to_vec(template).unwrap_or_default();
    let mut hash = fnv1a(FNV_OFFSET, &text);
    if let Some(count) = collisions {
        hash = fnv1a(hash, &i64::from(count).to_le_bytes());
    }
    let safe = |digit: u8| ALPHABET.get(usize::from(digit) % ALPHABET.len()).map_or('x', |c| char::from(*c));
    hash.to_string().bytes().map(safe).collect()
}

fn fnv1a(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_the_same_for_ever_and_differs_with_template_and_collisions() {
        let template = |image: &str| -> PodTemplateSpec {
            serde_json::from_value(serde_json::json!({
                "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}
            }))
            .unwrap()
        };
        let one = of(&template("a:1"), None);
        assert_eq!(one, "6b8d4796bd", "a changed hash would restart every application at an upgrade");
        assert_ne!(one, of(&template("a:2"), None));
        assert_ne!(one, of(&template("a:1"), Some(1)));
        assert_ne!(of(&template("a:1"), Some(2)), of(&template("a:1"), Some(1)));
    }
}
