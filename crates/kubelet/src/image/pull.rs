//! Pulls: at most one at a time per image and credentials, in the background, with backoff after failures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::EventType;
use cri::{ImageService, v1};
use k8s_openapi::api::core::v1::{Pod, Secret};
use stdx::Backoff;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::auth;
use super::name::{self, Name};
use crate::container::security::ImageUser;
use crate::machine::Machine;
use crate::spec;
use crate::time;

/// Waits after failed pulls, as upstream.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(300));
/// How long a failed pull shows as `ErrImagePull` before it shows as a back-off.
const SHOW_FAILURE: Duration = Duration::from_secs(3);

/// An image that is needed.
pub struct Wanted<'a> {
    /// Its name as the user wrote it.
    pub image: &'a str,
    /// The pull policy.
    pub policy: Option<&'a str>,
    /// The part of the pod that needs it, for events.
    pub field_path: String,
}

/// Why a container's image is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The waiting reason.
    pub reason: &'static str,
    /// The waiting message.
    pub message: String,
    /// When it is worth trying again.
    pub retry: Option<Duration>,
}

/// What is known of a container's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is on the node.
    Present {
        /// The runtime's name for it.
        image_ref: String,
        /// The user that it names.
        user: ImageUser,
    },
    /// It is being pulled; the pod is notified.
    Pulling,
    /// It is not there.
    Failed(Failure),
}

enum State {
    Pulling,
    Pulled { image_ref: String },
    Failed { failures: u32, at: Instant, reason: &'static str, message: String, told: bool },
}

/// The pulls of all pods, by pod and image. Bounded by the pods' containers; a pod's entries go with [`Pulls::forget`].
#[derive(Default)]
pub struct Pulls {
    states: Mutex<HashMap<(String, String), State>>,
}

impl Pulls {
    /// Forgets a pod's pulls.
    pub fn forget(&self, uid: &str) {
        self.lock().retain(|(pod, _), _| pod != uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure of an image, by its pull policy. Never waits for a pull.
    pub async fn ensure(self: &Arc<Self>, machine: &Arc<Machine>, pod: &Arc<Pod>, wanted: &Wanted<'_>, wake: &Arc<Notify>) -> Outcome {
        let asked = wanted.image;
        let event = |type_, reason: &str, message: &str| machine.events.event_at(pod.as_ref(), &wanted.field_path, type_, reason, message);
        let image = match name::with_default_tag(asked) {
            Ok(image) => image,
            Err(error) => {
                let message = format!("Failed to apply default image tag {asked:?}: {error}");
                event(EventType::Warning, "InspectFailed", &message);
                return Outcome::Failed(Failure { reason: "InvalidImageName", message, retry: None });
            }
        };
        let key = (spec::uid(pod).to_owned(), image.clone());
        let always = wanted.policy == Some("Always");
        let pulled = match self.known(&key, &image, &event) {
            Some(Known::Outcome(outcome)) => return outcome,
            Some(Known::Pulled(image_ref)) => Some(image_ref),
            None => None,
        };
        if pulled.is_some() || !always {
            // What a pull has just brought is looked up by the name that the pull gave it.
            let found = inspect(machine.deps.images.as_ref(), pulled.as_deref().unwrap_or(&image)).await;
            match found {
                Err(error) => {
                    let message = format!("Failed to inspect image {image:?}: {error}");
                    event(EventType::Warning, "InspectFailed", &message);
                    return Outcome::Failed(Failure { reason: "ImageInspectError", message, retry: Some(BACKOFF.first) });
                }
                Ok(Some((image_ref, user))) => {
                    if pulled.is_none() {
                        let message = format!("Container image {asked:?} already present on machine and can be accessed by the pod");
                        event(EventType::Normal, "Pulled", &message);
                    }
                    return Outcome::Present { image_ref, user };
                }
                Ok(None) => {}
            }
        }
        if wanted.policy == Some("Never") {
            let message = format!("Container image {asked:?} is not present with pull policy of Never");
            event(EventType::Warning, "ErrImageNeverPull", &message);
            return Outcome::Failed(Failure { reason: "ErrImageNeverPull", message, retry: Some(BACKOFF.first) });
        }
        event(EventType::Normal, "Pulling", &format!("Pulling image {asked:?}"));
        let failures = self.start(&key);
        let task = Task {
            machine: machine.clone(),
            pod: pod.clone(),
            field_path: wanted.field_path.clone(),
            asked: asked.to_owned(),
            key,
            wake: wake.clone(),
            failures,
        };
        tokio::spawn(task.run(self.clone()));
        Outcome::Pulling
    }

    fn known(&self, key: &(String, String), image: &str, event: &impl Fn(EventType, &str, &str)) -> Option<Known> {
        let mut states = self.lock();
        match states.get_mut(key)? {
            State::Pulling => Some(Known::Outcome(Outcome::Pulling)),
            State::Pulled { .. } => match states.remove(key) {
                // An image pulled for a container serves its one start; a restart asks its policy again.
                Some(State::Pulled { image_ref }) => Some(Known::Pulled(image_ref)),
                _ => None,
            },
            State::Failed { failures, at, reason, message, told } => {
                let wait = BACKOFF.after(*failures).saturating_sub(at.elapsed());
                if wait.is_zero() {
                    return None;
                }
                let show = SHOW_FAILURE.saturating_sub(at.elapsed());
                if !show.is_zero() {
                    let failure = Failure { reason, message: message.clone(), retry: Some(wait.min(show)) };
                    return Some(Known::Outcome(Outcome::Failed(failure)));
                }
                if !std::mem::replace(told, true) {
                    event(EventType::Normal, "BackOff", &format!("Back-off pulling image {image:?}"));
                    event(EventType::Warning, "Failed", "Error: ImagePullBackOff");
                }
                let message = format!("Back-off pulling image {image:?}: {reason}: {message}");
                Some(Known::Outcome(Outcome::Failed(Failure { reason: "ImagePullBackOff", message, retry: Some(wait) })))
            }
        }
    }

    fn start(&self, key: &(String, String)) -> u32 {
        match self.lock().insert(key.clone(), State::Pulling) {
            Some(State::Failed { failures, .. }) => failures,
            _ => 0,
        }
    }
}

enum Known {
    Outcome(Outcome),
    Pulled(String),
}

/// One pull in the background.
struct Task {
    machine: Arc<Machine>,
    pod: Arc<Pod>,
    field_path: String,
    asked: String,
    key: (String, String),
    wake: Arc<Notify>,
    failures: u32,
}

impl Task {
    async fn run(self, pulls: Arc<Pulls>) {
        let started = Instant::now();
        let result = self.pull().await;
        let event = |type_, reason: &str, message: String| {
            self.machine.events.event_at(self.pod.as_ref(), &self.field_path, type_, reason, message)
        };
        let asked = &self.asked;
        let state = match result {
            Ok(image_ref) => {
                let took = time::go(started.elapsed());
                let size = inspect_size(self.machine.deps.images.as_ref(), &image_ref).await;
                event(
                    EventType::Normal,
                    "Pulled",
                    format!("Successfully pulled image {asked:?} in {took} ({took} including waiting). Image size: {size} bytes."),
                );
                State::Pulled { image_ref }
            }
            Err(error) => {
                event(EventType::Warning, "Failed", format!("Failed to pull image {asked:?}: {error}"));
                event(EventType::Warning, "Failed", "Error: ErrImagePull".to_owned());
                let failures = self.failures.saturating_add(1);
                State::Failed { failures, at: Instant::now(), reason: "ErrImagePull", message: error.to_string(), told: false }
            }
        };
        {
            let mut states = pulls.lock();
            // The pod may have been forgotten meanwhile.
            if let Some(entry) = states.get_mut(&self.key) {
                *entry = state;
            }
        }
        self.wake.notify_one();
    }

    async fn pull(&self) -> Result<String, cri::Error> {
        let name = Name::parse(&self.key.1).map_err(|e| cri::Error::InvalidArgument(e.to_string()))?;
        let namespace = spec::namespace(&self.pod);
        let mut secrets: Vec<Arc<Secret>> = Vec::new();
        for reference in spec::of(&self.pod).image_pull_secrets.iter().flatten() {
            match self.machine.objects.get::<Secret>(namespace, &reference.name).await {
                Ok(secret) => secrets.push(secret),
                Err(error) => {
                    let message = format!(
                        "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                        reference.name
                    );
                    tracing::debug!(%error, secret = reference.name, "reading a pull secret");
                    self.machine.event(&self.pod, EventType::Warning, "FailedToRetrieveImagePullSecret", message);
                }
            }
        }
        let image = v1::ImageSpec { image: self.key.1.clone(), user_specified_image: self.asked.clone(), ..v1::ImageSpec::default() };
        let candidates = auth::matching(&secrets, &name);
        let attempts = if candidates.is_empty() { vec![None] } else { candidates.into_iter().map(Some).collect() };
        let mut last = cri::Error::Internal("no pull was tried".into());
        for auth in attempts {
            let request = v1::PullImageRequest { image: Some(image.clone()), auth, sandbox_config: None };
            match self.machine.deps.images.pull_image(request).await {
                Ok(answer) => return Ok(answer.image_ref),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The runtime's name for an image on the node and the user that it names.
async fn inspect(images: &dyn ImageService, image: &str) -> cri::Result<Option<(String, ImageUser)>> {
    let spec = v1::ImageSpec { image: image.to_owned(), ..v1::ImageSpec::default() };
    let answer = images.image_status(v1::ImageStatusRequest { image: Some(spec), verbose: false }).await?;
    Ok(answer.image.map(|image| {
        let user = match (&image.uid, image.username.as_str()) {
            (Some(uid), _) => ImageUser { uid: Some(uid.value), name: String::new() },
            (None, "") => ImageUser { uid: Some(0), name: String::new() },
            (None, name) => ImageUser { uid: None, name: name.to_owned() },
        };
        (image.id, user)
    }))
}

async fn inspect_size(images: &dyn ImageService, image: &str) -> u64 {
    let spec = v1::ImageSpec { image: image.to_owned(), ..v1::ImageSpec::default() };
    let answer = images.image_status(v1::ImageStatusRequest { image: Some(spec), verbose: false }).await;
    answer.ok().and_then(|a| a.image).map_or(0, |i| i.size)
}
