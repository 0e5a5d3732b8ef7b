//! The options of list and watch.

use api::{ApiError, field};

use super::Query;
use super::options::{META, number};

/// `metadata.resourceVersion` of a read, with its match rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// As new as can be: consistent.
    Newest,
    /// Whatever is at hand (`0`).
    Any,
    /// At least this revision.
    NotOlderThan(u64),
    /// Exactly this revision.
    Exact(u64),
}

/// Options of list and watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOptions {
    /// The page's size; 0 is everything.
    pub limit: usize,
    /// The token of the page before.
    pub continue_token: Option<String>,
    /// How new the answer must be.
    pub as_of: AsOf,
    /// The label selector's text.
    pub label_selector: String,
    /// The field selector's text.
    pub field_selector: String,
    /// When the server ends a watch, in seconds.
    pub timeout_seconds: Option<u64>,
    /// Bookmarks may be sent.
    pub allow_bookmarks: bool,
    /// A watch starts with the present state.
    pub send_initial_events: Option<bool>,
}

impl ListOptions {
    /// Reads and checks the options; `watching` says for which verb.
    pub fn parse(query: &Query, watching: bool) -> Result<Self, ApiError> {
        let mut errors = field::ErrorList::new();
        let version = match query.text("resourceVersion").unwrap_or_default() {
            "" => None,
            text => Some(text.parse::<u64>().map_err(|_| bad_version(text))?),
        };
        let rule = query.text("resourceVersionMatch");
        let token = query.text("continue").map(str::to_owned);
        let initial = query.last("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
        if watching {
            check_watch_rule(rule, initial, &mut errors);
        } else {
            check_list_rule(rule, version, token.is_some(), initial, &mut errors);
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(META, "ListOptions", "", &errors));
        }
        if token.is_some() && version.is_some_and(|v| v != 0) {
            return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
        }
        let as_of = match (version, rule) {
            (None, _) => AsOf::Newest,
            (Some(v), Some("Exact")) => AsOf::Exact(v),
            (Some(0), _) => AsOf::Any,
            // Paged lists of old clients mean exactly this revision when they name one with a limit and no rule.
            (Some(v), None) if !watching && query.text("limit").is_some_and(|l| l != "0") => AsOf::Exact(v),
            (Some(v), _) => AsOf::NotOlderThan(v),
        };
        Ok(Self {
            limit: number(query, "limit")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
            continue_token: token,
            as_of,
            label_selector: query.text("labelSelector").unwrap_or_default().to_owned(),
            field_selector: query.text("fieldSelector").unwrap_or_default().to_owned(),
            timeout_seconds: number(query, "timeoutSeconds")?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0),
            allow_bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events: initial,
        })
    }
}

fn bad_version(text: &str) -> ApiError {
    let path = field::Path::new("resourceVersion");
    let parse = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
    ApiError::invalid(META, "ListOptions", "", &[field::Error::invalid(&path, text, &parse)])
}

fn check_watch_rule(rule: Option<&str>, initial: Option<bool>, errors: &mut field::ErrorList) {
    let path = field::Path::new("resourceVersionMatch");
    let forbidden = |detail: &str| field::Error::forbidden(&path, detail);
    match (rule, initial) {
        (None, Some(_)) => errors.push(forbidden("resourceVersionMatch is required when sendInitialEvents is set")),
        (Some(_), None) => errors.push(forbidden("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")),
        (Some(other), Some(_)) if other != "NotOlderThan" => {
            errors.push(field::Error::not_supported(&path, other, &["NotOlderThan"]));
        }
        _ => {}
    }
}

fn check_list_rule(rule: Option<&str>, version: Option<u64>, paging: bool, initial: Option<bool>, errors: &mut field::ErrorList) {
    let path = field::Path::new("resourceVersionMatch");
    let forbidden = |detail: &str| field::Error::forbidden(&path, detail);
    if initial.is_some() {
        errors.push(field::Error::forbidden(&field::Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list"));
    }
    match rule {
        Some(_) if version.is_none() => errors.push(forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided")),
        Some(_) if paging => errors.push(forbidden("resourceVersionMatch is forbidden when continue is provided")),
        Some("Exact") if version == Some(0) => {
            errors.push(forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
        }
        Some("Exact" | "NotOlderThan") | None => {}
        Some(other) => errors.push(field::Error::not_supported(&path, other, &["Exact", "NotOlderThan", ""])),
    }
}
