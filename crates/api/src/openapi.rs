//! OpenAPI documents from the schema table: v3, one per group and version, and v2, one for all.
//!
//! Custom resources bring their own schemas as JSON; everything else is made here. There are no field descriptions,
//! since the table has none.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

mod definitions;
pub mod gnostic;
mod operations;

use crate::meta::gvk::api_version;
use crate::resources::ResourceDescriptor;
use crate::schema::builtin;
use definitions::Definitions;

/// The media type of v3 documents.
pub const V3_MEDIA_TYPE: &str = "application/json";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// One served resource and, if it is a custom one, its published schema in the dialect of the document.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    /// The resource.
    pub resource: &'a ResourceDescriptor,
    /// A custom resource's schema; `None` for built-in kinds.
    pub schema: Option<&'a Value>,
}

/// Which OpenAPI is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Swagger 2.0: `/openapi/v2`.
    V2,
    /// OpenAPI 3.0: `/openapi/v3/…`.
    V3,
}

impl Dialect {
    fn reference(self, name: &str) -> Value {
        match self {
            Self::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Self::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }
}

/// The path of a group-version's v3 document below `/openapi/v3/`: `api/v1` or `apis/apps/v1`.
pub fn v3_path(group: &str, version: &str) -> String {
    let root = if group.is_empty() { "api" } else { "apis" };
    format!("{root}/{}", api_version(group, version))
}

/// `/openapi/v3`: the documents with hashes that change with their content.
pub fn v3_index(served: &[Served<'_>]) -> Value {
    let versions: BTreeSet<(&str, &str)> = served.iter().map(|s| (s.resource.group.as_str(), s.resource.version.as_str())).collect();
    let paths: Map<String, Value> = versions
        .into_iter()
        .map(|(group, version)| {
            let path = v3_path(group, version);
            let url = format!("/openapi/v3/{path}?hash={}", v3_hash(group, version, served));
            (path, json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// The hash of a group-version's document, made from all that the document is made of.
pub fn v3_hash(group: &str, version: &str, served: &[Served<'_>]) -> String {
    let mut digest = Sha256::new();
    digest.update(env!("CARGO_PKG_VERSION"));
    for s in of(group, version, served) {
        digest.update(format!("{:?}", s.resource));
        digest.update(s.schema.map(Value::to_string).unwrap_or_default());
    }
    hex::encode_upper(digest.finalize())
}

fn of<'a, 'b>(group: &'a str, version: &'a str, served: &'a [Served<'b>]) -> impl Iterator<Item = &'a Served<'b>> {
    served.iter().filter(move |s| s.resource.group == group && s.resource.version == version)
}

/// The v3 document of a group-version; `None` if nothing of it is served. `release` is the server's version, `v1.36.2`.
pub fn v3_document(group: &str, version: &str, served: &[Served<'_>], release: &str) -> Option<Value> {
    let ours: Vec<Served<'_>> = of(group, version, served).copied().collect();
    if ours.is_empty() {
        return None;
    }
    let (paths, schemas) = contents(&ours, Dialect::V3);
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": release},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"BearerToken": {
                "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication",
            }},
        },
    }))
}

/// The v2 document of everything that is served.
pub fn v2_document(served: &[Served<'_>], release: &str) -> Value {
    let (paths, schemas) = contents(served, Dialect::V2);
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": release},
        "paths": paths,
        "definitions": schemas,
        "securityDefinitions": {"BearerToken": {
            "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication",
        }},
        "security": [{"BearerToken": []}],
    })
}

fn contents(served: &[Served<'_>], dialect: Dialect) -> (Map<String, Value>, Map<String, Value>) {
    let mut definitions = Definitions::new(dialect);
    for name in [STATUS, DELETE_OPTIONS] {
        definitions.need(name);
    }
    definitions.put(PATCH, json!({"type": "object"}));
    let mut paths = Map::new();
    for s in served {
        let name = definition_name(s);
        match s.schema {
            None => definitions.need(&name),
            Some(schema) => definitions.custom(s.resource, &name, schema),
        }
        for sub in &s.resource.subresources {
            if let Some(ty) = builtin().by_gvk(&sub.group, &sub.version, &sub.kind) {
                definitions.need(&ty.name);
            }
        }
        let list = list_name(s, &name);
        if s.schema.is_none() {
            definitions.need(&list);
        }
        operations::add(&mut paths, s.resource, &name, &list, dialect);
    }
    (paths, definitions.finish())
}

/// The definition's name: the table's for built-in kinds, the reversed group for custom ones (`com.example.v1.Foo`).
pub fn definition_name(s: &Served<'_>) -> String {
    let r = s.resource;
    match (s.schema, r.schema()) {
        (None, Some(ty)) => ty.name.to_string(),
        _ => {
            let reversed: Vec<&str> = r.group.rsplit('.').collect();
            format!("{}.{}.{}", reversed.join("."), r.version, r.kind)
        }
    }
}

fn list_name(s: &Served<'_>, name: &str) -> String {
    let r = s.resource;
    let listed = builtin().by_gvk(&r.group, &r.version, &format!("{}List", r.kind)).filter(|_| s.schema.is_none());
    listed.map_or_else(|| format!("{name}List"), |ty| ty.name.to_string())
}

#[cfg(test)]
mod tests;
