//! Which encoding a request's body has, and which one the answer shall have.

use api::{ApiError, Reason};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

/// How bytes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`.
    #[default]
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// What an answer shall be turned into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// The object itself.
    #[default]
    Object,
    /// A `Table`.
    Table,
    /// Only its metadata (`PartialObjectMetadata`, or its list).
    Metadata,
}

/// What the client wants to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    /// The encoding.
    pub encoding: Encoding,
    /// The view.
    pub view: View,
    /// JSON is for human eyes.
    pub pretty: bool,
}

const SUPPORTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

impl Encoding {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    fn of(media: &str) -> Option<Self> {
        match media {
            "application/json" | "*/*" | "application/*" => Some(Self::Json),
            "application/yaml" => Some(Self::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }

    /// The encoding of a request's body; none given means JSON. Patch types are not for here.
    pub fn of_request(headers: &HeaderMap) -> Result<Self, ApiError> {
        let media = media_type(headers);
        if media.is_empty() {
            return Ok(Self::Json);
        }
        Self::of(&media).filter(|_| !media.contains('*')).ok_or_else(|| unsupported(SUPPORTED))
    }
}

/// The body's media type without parameters, lower-case; empty when none is given.
pub fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// 415 naming what would have been taken.
pub fn unsupported(accepted: &str) -> ApiError {
    let message = format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    ApiError::new(415, Reason::UnsupportedMediaType, message)
}

/// 406 naming what can be had.
pub fn not_acceptable() -> ApiError {
    ApiError::new(406, Reason::NotAcceptable, format!("only the following media types are accepted: {SUPPORTED}"))
}

impl Accept {
    /// The first thing in the header that the server can do; `views` says whether this endpoint has tables and metadata.
    pub fn parse(headers: &HeaderMap, views: Views) -> Result<Self, ApiError> {
        let values: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
        let text = values.join(",");
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut clauses: Vec<(f32, &str)> = text.split(',').map(|c| (quality(c), c.trim())).collect();
        // Stable: equal quality keeps the client's order.
        clauses.sort_by(|a, b| b.0.total_cmp(&a.0));
        clauses.iter().find_map(|(_, clause)| Self::clause(clause, views)).ok_or_else(not_acceptable)
    }

    fn clause(clause: &str, views: Views) -> Option<Self> {
        let mut parts = clause.split(';').map(str::trim);
        let encoding = Encoding::of(&parts.next()?.to_ascii_lowercase())?;
        let mut accept = Self { encoding, ..Self::default() };
        let (mut kind, mut group, mut version) = ("", "", "");
        for part in parts {
            match part.split_once('=').unwrap_or((part, "")) {
                ("as", v) => kind = v,
                ("g", v) => group = v,
                ("v", v) => version = v,
                ("pretty", v) => accept.pretty = v != "0" && v != "false",
                ("stream", v) if v != "watch" => return None,
                _ => {}
            }
        }
        accept.view = match kind {
            "" => View::Object,
            _ if group != "meta.k8s.io" || version != "v1" || views == Views::ObjectOnly => return None,
            "Table" => View::Table,
            "PartialObjectMetadata" | "PartialObjectMetadataList" => View::Metadata,
            _ => return None,
        };
        Some(accept)
    }

    /// The media type of the answer.
    pub fn media_type(&self) -> &'static str {
        self.encoding.media_type()
    }
}

/// Which views an endpoint has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Views {
    /// Only the object.
    ObjectOnly,
    /// Also tables and metadata.
    All,
}

fn quality(clause: &str) -> f32 {
    let found = clause.split(';').find_map(|p| p.trim().strip_prefix("q="));
    found.and_then(|q| q.parse().ok()).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str, views: Views) -> Result<(Encoding, View), u16> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, text.parse().unwrap());
        Accept::parse(&headers, views).map(|a| (a.encoding, a.view)).map_err(|e| e.code)
    }

    #[test]
    fn the_first_possible_clause_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(accept(kubectl, Views::All), Ok((Encoding::Json, View::Table)));
        assert_eq!(accept(kubectl, Views::ObjectOnly), Ok((Encoding::Json, View::Object)));
        assert_eq!(accept("application/json;as=Table;v=v1;g=meta.k8s.io", Views::ObjectOnly), Err(406));
        assert_eq!(accept("application/vnd.kubernetes.protobuf, */*", Views::All), Ok((Encoding::Protobuf, View::Object)));
        assert_eq!(accept("text/html;q=0.9,*/*;q=0.1", Views::All), Ok((Encoding::Json, View::Object)));
        assert_eq!(accept("image/png", Views::All), Err(406));
    }
}
