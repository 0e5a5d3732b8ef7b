//! Who owns which field (`metadata.managedFields`), noted at every write.

mod reset;

use api::ApiError;
use api::apply::{self, Force, Target};
use api::codec::FieldValidation;
use http::header::USER_AGENT;
use serde_json::Value;

use crate::call::Call;
use crate::model;
use crate::registry::patch::{self, PatchType};
use crate::request::WriteOptions;

/// The longest manager's name that is taken from a user agent.
const LONGEST: usize = 128;

/// The name that goes into the list: the given one, or the program that the user agent names.
fn manager<'a>(call: &'a Call, options: &'a WriteOptions) -> &'a str {
    if let Some(name) = &options.field_manager {
        return name;
    }
    let agent = call.headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let program = agent.split('/').next().unwrap_or_default();
    program.get(..LONGEST.min(program.len())).unwrap_or_default()
}

/// Whether the request says itself who owns what.
fn applies(call: &Call) -> bool {
    call.info.verb == "patch" && matches!(PatchType::of(call), Ok(PatchType::Apply))
}

fn note(call: &Call, options: &WriteOptions, live: Option<&Value>, new: &mut Value) {
    if applies(call) {
        return;
    }
    let gvk = call.resource.gvk();
    let reset = reset::of(call);
    let target = Target { schema: model::schema(&gvk), gvk: &gvk, subresource: &call.info.subresource, reset: &reset };
    apply::update(&target, live, new, manager(call, options), call.server.clock.now());
}

/// Notes the creator.
pub fn on_create(call: &Call, options: &WriteOptions, tree: &mut Value) {
    model::default(&call.resource.gvk(), tree);
    note(call, options, None, tree);
}

/// Notes who changed what.
pub fn on_update(call: &Call, options: &WriteOptions, new: &mut Value, old: &Value) {
    model::default(&call.resource.gvk(), new);
    note(call, options, Some(old), new);
}

/// A change of nothing but ownership's times is none.
pub fn settle(new: &mut Value, old: &Value) {
    apply::settle(new, old);
}

/// An applied configuration that has been read.
pub struct Configuration(Value);

/// Reads an applied configuration (YAML, of which JSON is a part).
pub fn configuration(options: &WriteOptions, bytes: &[u8]) -> Result<Configuration, ApiError> {
    let (tree, twice) = api::yaml::parse(bytes).map_err(|e| ApiError::bad_request(format!("error decoding YAML: {e}")))?;
    match twice {
        Some(twice) if options.field_validation == FieldValidation::Strict => {
            Err(ApiError::bad_request(format!("error strict decoding YAML: {twice}")))
        }
        _ if !tree.is_object() => Err(ApiError::bad_request("error decoding YAML: the configuration is no object")),
        _ => Ok(Configuration(tree)),
    }
}

/// The object with the configuration applied.
pub fn apply(call: &Call, options: &WriteOptions, configuration: &Configuration, present: Option<&Value>) -> Result<Value, ApiError> {
    let gvk = call.resource.gvk();
    let reset = reset::of(call);
    let schema = model::schema(&gvk);
    let target = Target { schema, gvk: &gvk, subresource: &call.info.subresource, reset: &reset };
    let force = if options.force == Some(true) { Force::Yes } else { Force::No };
    let manager = options.field_manager.as_deref().unwrap_or_default();
    let applied = apply::apply(&target, present, &configuration.0, manager, force, call.server.clock.now())?;
    let decoded = patch::checked(&applied.object, schema, FieldValidation::Ignore, &gvk.kind, &call.info.name)?;
    let mut tree = decoded.object;
    crate::registry::fields::match_name(call, &mut tree)?;
    Ok(tree)
}
