//! Watches: a position in the resource's window, moved along as fast as the client reads.

mod frames;

use std::sync::Arc;
use std::time::Duration;

use api::ApiError;
use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use store::Revision;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::selection::Selection;
use super::{list, store_failed};
use crate::body::{self, Body, BoxError};
use crate::cache::{Cache, Change, Page};
use crate::call::Call;
use crate::negotiate::{Encoding, not_acceptable};
use crate::object::Object;
use crate::request::{AsOf, ListOptions};
use frames::Frames;

/// How often an idle watcher's position moves up to the present, with a bookmark if the client takes them.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How many objects of the present state go into one chunk.
const INITIAL_TURN: usize = 256;

/// Answers the request.
pub async fn serve(call: &Call) -> Result<Response<Body>, ApiError> {
    let options = ListOptions::parse(&call.query, true)?;
    let selection = Selection::parse(call, &options.label_selector, &options.field_selector)?;
    if call.accept.encoding == Encoding::Yaml {
        return Err(not_acceptable());
    }
    let watcher = Watcher::start(call, &options, selection).await?;
    let media = match call.accept.encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        _ => "application/json",
    };
    let stream = futures::stream::unfold(watcher, |mut w| async move { w.next().await.map(|chunk| (Ok::<_, BoxError>(chunk), w)) });
    let mut response = Response::new(body::stream(stream));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(response)
}

struct Watcher {
    frames: Frames,
    cache: Arc<Cache>,
    selection: Selection,
    prefix: String,
    /// Every event up to here has been sent.
    position: Revision,
    changes: watch::Receiver<Revision>,
    initial: Initial,
    bookmarks: Bookmarks,
    next_bookmark: Instant,
    deadline: Instant,
    ended: bool,
}

/// The present state that is still to be sent.
enum Initial {
    None,
    Objects(std::vec::IntoIter<Arc<Object>>),
    /// The bookmark that ends it.
    End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bookmarks {
    Wanted,
    Unwanted,
}

impl Watcher {
    async fn start(call: &Call, options: &ListOptions, selection: Selection) -> Result<Self, ApiError> {
        let server = &call.server;
        let cache = server.storage.cache(&call.resource.prefix);
        let changes = cache.changes();
        let prefix = list::prefix(call);
        let with_state = match (options.send_initial_events, options.as_of) {
            (Some(initial), _) => initial,
            (None, AsOf::Newest | AsOf::Any) => true,
            (None, _) => false,
        };
        match options.as_of {
            AsOf::Newest => {
                server.storage.fresh().await.map_err(store_failed)?;
            }
            AsOf::NotOlderThan(revision) if with_state => list::not_older_than(call, revision).await?,
            _ => {}
        }
        let mut position = match options.as_of {
            AsOf::NotOlderThan(revision) | AsOf::Exact(revision) => Revision(revision),
            AsOf::Newest | AsOf::Any => server.storage.applied(),
        };
        let mut initial = Initial::None;
        if with_state {
            let page = Page { prefix: &prefix, from: "", limit: 0, at: None };
            let picture = cache.picture(&page, server.storage.applied(), |o| selection.matches(o));
            let picture = picture.map_err(|t| list::too_old_version(position, t))?;
            position = picture.revision;
            initial = Initial::Objects(picture.objects.into_iter());
        }
        let lasts = options.timeout_seconds.map_or_else(
            || {
                let shortest = server.config.shortest_watch;
                let jitter = server.prng.below(u64::try_from(shortest.as_millis()).unwrap_or(0));
                shortest.saturating_add(Duration::from_millis(jitter))
            },
            Duration::from_secs,
        );
        let now = Instant::now();
        let owned = call.about(call.resource.clone(), call.info.clone());
        Ok(Self {
            frames: Frames::new(owned, options.send_initial_events == Some(true)),
            cache,
            selection,
            prefix,
            position,
            changes,
            initial,
            bookmarks: if options.allow_bookmarks { Bookmarks::Wanted } else { Bookmarks::Unwanted },
            next_bookmark: now.checked_add(BOOKMARK_EVERY).unwrap_or(now),
            // A far future that the clock cannot hold is a day.
            deadline: now.checked_add(lasts).unwrap_or_else(|| now + Duration::from_secs(86_400)),
            ended: false,
        })
    }

    /// The next chunk of frames; `None` ends the watch.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(chunk) = self.initial() {
            return Some(chunk);
        }
        loop {
            if self.ended {
                return None;
            }
            self.changes.borrow_and_update();
            // Read before the window: whatever is in it up to here has then been seen.
            let applied = self.frames.call.server.storage.applied();
            if let Some(chunk) = self.drain(applied) {
                return Some(chunk);
            }
            let now = Instant::now();
            if now >= self.deadline {
                self.ended = true;
                return (self.bookmarks == Bookmarks::Wanted).then(|| self.frames.bookmark(self.position, false));
            }
            if now >= self.next_bookmark {
                self.next_bookmark = now.checked_add(BOOKMARK_EVERY).unwrap_or(self.deadline);
                if self.bookmarks == Bookmarks::Wanted {
                    return Some(self.frames.bookmark(self.position, false));
                }
            }
            tokio::select! {
                // The sender is in the cache, which `self` holds: it cannot close.
                _ = self.changes.changed() => {}
                () = sleep_until(self.deadline.min(self.next_bookmark)) => {}
            }
        }
    }

    fn initial(&mut self) -> Option<Bytes> {
        loop {
            match &mut self.initial {
                Initial::None => return None,
                Initial::Objects(objects) => {
                    let mut chunk = BytesMut::new();
                    for object in objects.by_ref().take(INITIAL_TURN) {
                        chunk.extend_from_slice(&self.frames.object(Change::Added, &object));
                    }
                    if chunk.is_empty() {
                        self.initial = Initial::End;
                    } else {
                        return Some(chunk.freeze());
                    }
                }
                Initial::End => {
                    self.initial = Initial::None;
                    if self.frames.marks_initial_end() && self.bookmarks == Bookmarks::Wanted {
                        return Some(self.frames.bookmark(self.position, true));
                    }
                }
            }
        }
    }

    /// What the window has after the position. Afterwards the position is at the window's end, or the chunk is full.
    fn drain(&mut self, applied: Revision) -> Option<Bytes> {
        loop {
            let events = match self.cache.after(self.position) {
                Ok(events) => events,
                Err(too_old) => {
                    self.ended = true;
                    return Some(self.frames.error(&list::too_old_version(self.position, too_old)));
                }
            };
            let Some(last) = events.last() else {
                self.position = self.position.max(applied);
                return None;
            };
            self.position = last.revision;
            let mut frames: Vec<Bytes> = Vec::new();
            for event in events.iter().filter(|e| e.object.key().starts_with(&self.prefix)) {
                if self.selection.is_empty() {
                    frames.push(self.frames.event(event));
                } else if let Some((change, seen)) = event.seen_by(|o| self.selection.matches(o)) {
                    frames.push(self.frames.seen(event, change, &seen));
                }
            }
            match frames.len() {
                0 => {}
                1 => return frames.pop(),
                _ => return Some(Bytes::from(frames.concat())),
            }
        }
    }
}
