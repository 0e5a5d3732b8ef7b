//! A watch's frames in the encoding and view that the client wants.

use api::ApiError;
use api::meta::Gvk;
use api::table::Headers;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::Revision;

use crate::cache::event::{Seen, frame, json_frame};
use crate::cache::{Change, WatchEvent};
use crate::call::Call;
use crate::negotiate::{Accept, Encoding, View};
use crate::object::Object;
use crate::respond::{Made, view, wire};

const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Makes frames.
pub(super) struct Frames {
    pub(super) call: Call,
    marks_initial_end: bool,
    headed: AtomicBool,
}

impl Frames {
    pub(super) fn new(mut call: Call, marks_initial_end: bool) -> Self {
        call.accept.pretty = false;
        Self { call, marks_initial_end, headed: AtomicBool::new(false) }
    }

    pub(super) fn marks_initial_end(&self) -> bool {
        self.marks_initial_end
    }

    fn shares_bytes(&self) -> bool {
        let plain = Accept { encoding: Encoding::Json, view: View::Object, pretty: false };
        self.call.accept == plain && self.call.resource.stored.is_none()
    }

    /// The event as everybody sees it.
    pub(super) fn event(&self, event: &WatchEvent) -> Bytes {
        if self.shares_bytes() { event.frame().clone() } else { self.object(event.change, &event.object) }
    }

    /// The event as a selector sees it.
    pub(super) fn seen(&self, event: &WatchEvent, change: Change, seen: &Seen<'_>) -> Bytes {
        match seen {
            Seen::Object(_) if change == event.change => self.event(event),
            _ => self.object(change, &seen.object()),
        }
    }

    /// Only the first table of a watch names its columns.
    fn headers(&self) -> Headers {
        if self.headed.swap(true, Ordering::Relaxed) { Headers::LeftOut } else { Headers::Shown }
    }

    /// One object under a change.
    pub(super) fn object(&self, change: Change, object: &Arc<Object>) -> Bytes {
        let call = &self.call;
        match (call.accept.encoding, call.accept.view) {
            (Encoding::Protobuf, _) => {
                let bytes = view::single(call, &Made::Stored(object.clone())).unwrap_or_default();
                Bytes::from(api::protobuf::watch_frame(change.word(), &bytes))
            }
            (_, View::Object) => json_frame(change, view::served_json(call, object)),
            (_, View::Metadata) => json_frame(change, &view::partial_json(view::served_json(call, object))),
            (_, View::Table) => {
                let version = json!({"resourceVersion": object.revision().0.to_string()});
                match view::rows(call, &[Made::Stored(object.clone())], version, self.headers()) {
                    Ok(table) => self.tree(change.word(), &table),
                    Err(error) => self.error(&error),
                }
            }
        }
    }

    /// A bookmark at the revision.
    pub(super) fn bookmark(&self, revision: Revision, initial_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.0.to_string(), "creationTimestamp": null});
        if let (true, Some(fields)) = (initial_end, metadata.as_object_mut()) {
            fields.insert("annotations".to_owned(), json!({INITIAL_EVENTS_END: "true"}));
        }
        let gvk = match self.call.accept.view {
            View::Object => self.call.resource.gvk(),
            View::Metadata => Gvk::new("meta.k8s.io", "v1", "PartialObjectMetadata"),
            View::Table => {
                let table = view::rows(&self.call, &[], metadata.clone(), self.headers()).unwrap_or_default();
                return self.tree("BOOKMARK", &table);
            }
        };
        self.tree("BOOKMARK", &json!({"kind": gvk.kind, "apiVersion": gvk.api_version(), "metadata": metadata}))
    }

    /// The end of a watch that cannot go on.
    pub(super) fn error(&self, error: &ApiError) -> Bytes {
        self.tree("ERROR", &error.to_status())
    }

    fn tree(&self, word: &str, tree: &Value) -> Bytes {
        let bytes = wire::encode(tree, self.call.accept).unwrap_or_default();
        match self.call.accept.encoding {
            Encoding::Protobuf => Bytes::from(api::protobuf::watch_frame(word, &bytes)),
            _ => frame(word, &bytes),
        }
    }
}
