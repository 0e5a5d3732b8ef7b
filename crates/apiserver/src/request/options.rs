//! The options of the writing verbs, from the query or a body, checked with Kubernetes' words.

use api::codec::FieldValidation;
use api::{ApiError, field};
use serde_json::Value;

use super::Query;

pub(crate) const META: &str = "meta.k8s.io";
/// The longest field manager's name.
const LONGEST_MANAGER: usize = 128;

/// Whether a write really happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DryRun {
    /// It does.
    #[default]
    No,
    /// Everything but the store takes part.
    All,
}

/// Options of create, update and patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether the write really happens.
    pub dry_run: DryRun,
    /// Who is noted in managedFields.
    pub field_manager: Option<String>,
    /// What becomes of unknown fields.
    pub field_validation: FieldValidation,
    /// Apply takes fields from their owners.
    pub force: Option<bool>,
}

impl WriteOptions {
    /// Reads and checks the options; `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`.
    pub fn parse(query: &Query, kind: &str) -> Result<Self, ApiError> {
        let mut errors = field::ErrorList::new();
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let word = query.text("fieldValidation").unwrap_or_default();
        let field_validation = FieldValidation::parse(word).unwrap_or_else(|| {
            let path = field::Path::new("fieldValidation");
            errors.push(field::Error::not_supported(&path, word, &["Ignore", "Warn", "Strict"]));
            FieldValidation::Warn
        });
        let field_manager = query.text("fieldManager").map(str::to_owned);
        if field_manager.as_ref().is_some_and(|m| m.len() > LONGEST_MANAGER) {
            errors.push(field::Error::too_long(&field::Path::new("fieldManager"), LONGEST_MANAGER));
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(META, kind, "", &errors));
        }
        let force = query.last("force").map(|_| query.flag("force"));
        Ok(Self { dry_run, field_manager, field_validation, force })
    }
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut field::ErrorList) -> DryRun {
    let mut all = DryRun::No;
    for value in values.filter(|v| !v.is_empty()) {
        if value == "All" {
            all = DryRun::All;
        } else {
            errors.push(field::Error::not_supported(&field::Path::new("dryRun"), value, &["All"]));
        }
    }
    all
}

/// What happens to an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without their owner.
    Orphan,
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
}

/// Options of delete and deletecollection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// How long the object may take to go.
    pub grace_period_seconds: Option<i64>,
    /// The UID it must have.
    pub uid: Option<String>,
    /// The resourceVersion it must have.
    pub resource_version: Option<String>,
    /// What happens to dependents; `None` leaves it to the kind.
    pub propagation: Option<Propagation>,
    /// Whether the deletion really happens.
    pub dry_run: DryRun,
}

impl DeleteOptions {
    /// Reads and checks the options from a decoded body or else the query.
    pub fn parse(body: Option<&Value>, query: &Query) -> Result<Self, ApiError> {
        let mut errors = field::ErrorList::new();
        let (policy, orphan, mut options) = match body {
            Some(body) => Self::from_body(body, &mut errors),
            None => Self::from_query(query, &mut errors)?,
        };
        let path = field::Path::new("propagationPolicy");
        if let (Some(policy), Some(_)) = (&policy, orphan) {
            errors.push(field::Error::invalid(&path, policy.clone(), "orphanDependents and deletionPropagation cannot be both set"));
        }
        options.propagation = match policy.as_deref() {
            None => orphan.map(|o| if o { Propagation::Orphan } else { Propagation::Background }),
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some(other) => {
                errors.push(field::Error::not_supported(&path, other, &["Background", "Foreground", "Orphan"]));
                None
            }
        };
        if errors.is_empty() { Ok(options) } else { Err(ApiError::invalid(META, "DeleteOptions", "", &errors)) }
    }

    fn from_body(body: &Value, errors: &mut field::ErrorList) -> (Option<String>, Option<bool>, Self) {
        let text = |p: &str| body.pointer(p).and_then(Value::as_str).map(str::to_owned);
        let dry: Vec<&str> = body.get("dryRun").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let options = Self {
            grace_period_seconds: body.get("gracePeriodSeconds").and_then(Value::as_i64),
            uid: text("/preconditions/uid"),
            resource_version: text("/preconditions/resourceVersion"),
            propagation: None,
            dry_run: dry_run(dry.into_iter(), errors),
        };
        (text("/propagationPolicy"), body.get("orphanDependents").and_then(Value::as_bool), options)
    }

    fn from_query(query: &Query, errors: &mut field::ErrorList) -> Result<(Option<String>, Option<bool>, Self), ApiError> {
        let options = Self {
            grace_period_seconds: number(query, "gracePeriodSeconds")?,
            dry_run: dry_run(query.all("dryRun"), errors),
            ..Self::default()
        };
        let orphan = query.last("orphanDependents").map(|_| query.flag("orphanDependents"));
        Ok((query.text("propagationPolicy").map(str::to_owned), orphan, options))
    }
}

/// A whole number in the query.
pub(crate) fn number(query: &Query, key: &str) -> Result<Option<i64>, ApiError> {
    let Some(text) = query.text(key) else { return Ok(None) };
    let parsed = text.parse::<i64>();
    parsed.map(Some).map_err(|_| ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
}
