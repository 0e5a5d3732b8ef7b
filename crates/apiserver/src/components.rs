//! Which components of the control plane live in this process: those whose way to the server is still held by somebody.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Value, json};

use crate::identity::UserInfo;
use crate::server::Server;

/// The scheduler's user.
const SCHEDULER: &str = "system:kube-scheduler";
/// How the controllers' users begin.
const CONTROLLERS: &str = "system:serviceaccount:kube-system:";

/// The users of all ways into the server that components hold. Ways that were dropped are forgotten with the next new one.
#[derive(Debug, Default)]
pub struct Components(Mutex<Vec<Weak<UserInfo>>>);

impl Components {
    /// Remembers a component's user as long as the component lives.
    pub(crate) fn note(&self, user: &Arc<UserInfo>) {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|u| u.strong_count() > 0);
        users.push(Arc::downgrade(user));
    }

    fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        let users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        users.iter().filter_map(Weak::upgrade).any(|u| is(&u.name))
    }
}

/// The `ComponentStatus` objects, by name.
pub(crate) fn statuses(server: &Server) -> Vec<Value> {
    let alive = |lives: bool| if lives { Ok(()) } else { Err("it does not run in this server".to_owned()) };
    let all = [
        ("controller-manager", alive(server.components.any(|u| u.starts_with(CONTROLLERS)))),
        ("etcd-0", server.storage.healthy().map_err(|e| e.to_string())),
        ("scheduler", alive(server.components.any(|u| u == SCHEDULER))),
    ];
    all.map(|(name, health)| status(name, health)).to_vec()
}

fn status(name: &str, health: Result<(), String>) -> Value {
    let condition = match health {
        Ok(()) => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Err(why) => json!({"type": "Healthy", "status": "False", "error": why}),
    };
    json!({"apiVersion": "v1", "kind": "ComponentStatus", "metadata": {"name": name}, "conditions": [condition]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_forgotten_when_it_ends() {
        let components = Components::default();
        let user = Arc::new(UserInfo::new(SCHEDULER, &[]));
        components.note(&user);
        assert!(components.any(|u| u == SCHEDULER));
        drop(user);
        assert!(!components.any(|u| u == SCHEDULER));
        assert_eq!(status("a", Err("why".to_owned()))["conditions"][0]["status"], "False");
    }
}
