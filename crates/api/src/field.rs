//! Field paths and validation errors with Kubernetes' wording (apimachinery `util/validation/field`).

use std::fmt;

use crate::error::Cause;

/// A path to a field, printed as `spec.containers[0].name` or `metadata.labels[key]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// The object itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// A path that starts at the field `name`.
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The field `name` below this path.
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The list element at `index`.
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The map entry at `key`.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// What is wrong with a field; each kind has its own `reason` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A referenced thing does not exist.
    NotFound,
    /// A value that must be given is absent.
    Required,
    /// The same key or value occurs twice.
    Duplicate,
    /// The value is malformed.
    Invalid,
    /// The value is none of the supported ones.
    NotSupported,
    /// The value may not be set here.
    Forbidden,
    /// The text or list is too long.
    TooLong,
    /// The list has too many items.
    TooMany,
    /// The server failed.
    Internal,
    /// The value has the wrong JSON type.
    TypeInvalid,
}

impl ErrorKind {
    /// The `reason` of the status cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

/// One field's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where.
    pub field: Path,
    /// The whole sentence without the field, as Kubernetes words it.
    pub message: String,
}

/// All errors of one object, in the order found.
pub type ErrorList = Vec<Error>;

impl Error {
    fn new(kind: ErrorKind, field: &Path, message: String) -> Self {
        Self { kind, field: field.clone(), message }
    }

    /// `Required value` with an optional explanation.
    pub fn required(field: &Path, detail: &str) -> Self {
        Self::new(ErrorKind::Required, field, with_detail("Required value".to_owned(), detail))
    }

    /// `Invalid value: V: detail`; strings are quoted, other values printed as JSON.
    pub fn invalid(field: &Path, value: impl Into<serde_json::Value>, detail: &str) -> Self {
        Self::new(ErrorKind::Invalid, field, with_detail(format!("Invalid value: {}", shown(&value.into())), detail))
    }

    /// The value has the wrong JSON type.
    pub fn type_invalid(field: &Path, value: impl Into<serde_json::Value>, detail: &str) -> Self {
        Self::new(ErrorKind::TypeInvalid, field, with_detail(format!("Invalid value: {}", shown(&value.into())), detail))
    }

    /// `Duplicate value: V`.
    pub fn duplicate(field: &Path, value: impl Into<serde_json::Value>) -> Self {
        Self::new(ErrorKind::Duplicate, field, format!("Duplicate value: {}", shown(&value.into())))
    }

    /// `Unsupported value: V: supported values: "a", "b"`, with the values sorted.
    pub fn not_supported(field: &Path, value: impl Into<serde_json::Value>, supported: &[&str]) -> Self {
        let mut names: Vec<&str> = supported.to_vec();
        names.sort_unstable();
        let names: Vec<String> = names.iter().map(|n| format!("{n:?}")).collect();
        let detail = if names.is_empty() { String::new() } else { format!("supported values: {}", names.join(", ")) };
        Self::new(ErrorKind::NotSupported, field, with_detail(format!("Unsupported value: {}", shown(&value.into())), &detail))
    }

    /// `Forbidden: detail`.
    pub fn forbidden(field: &Path, detail: &str) -> Self {
        Self::new(ErrorKind::Forbidden, field, with_detail("Forbidden".to_owned(), detail))
    }

    /// `Not found: V`.
    pub fn not_found(field: &Path, value: impl Into<serde_json::Value>) -> Self {
        Self::new(ErrorKind::NotFound, field, format!("Not found: {}", shown(&value.into())))
    }

    /// `Too long: may not be more than N bytes`.
    pub fn too_long(field: &Path, max_bytes: usize) -> Self {
        Self::new(ErrorKind::TooLong, field, format!("Too long: may not be more than {max_bytes} bytes"))
    }

    /// `Too many: N: must have at most M items`.
    pub fn too_many(field: &Path, actual: usize, max: usize) -> Self {
        Self::new(ErrorKind::TooMany, field, format!("Too many: {actual}: must have at most {max} items"))
    }

    /// `Internal error: detail`.
    pub fn internal(field: &Path, detail: &str) -> Self {
        Self::new(ErrorKind::Internal, field, format!("Internal error: {detail}"))
    }

    /// This error as a cause of a `Status`.
    pub fn to_cause(&self) -> Cause {
        Cause { reason: self.kind.reason().to_owned(), message: self.message.clone(), field: self.field.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

fn with_detail(head: String, detail: &str) -> String {
    if detail.is_empty() { head } else { format!("{head}: {detail}") }
}

fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}
