//! The paths of resources and what can be done there.

use serde_json::{Map, Value, json};

use super::{DELETE_OPTIONS, Dialect, PATCH, STATUS};
use crate::meta::gvk::api_version;
use crate::resources::{ResourceDescriptor, Subresource};
use crate::schema::{Shape, builtin};

const TEXT: &str = "string";
const FLAG: &str = "boolean";
const NUMBER: &str = "integer";

/// What a write understands; kubectl looks for `fieldValidation` here.
const WRITE: [(&str, &str); 3] = [("dryRun", TEXT), ("fieldManager", TEXT), ("fieldValidation", TEXT)];
const LIST: [(&str, &str); 10] = [
    ("allowWatchBookmarks", FLAG),
    ("continue", TEXT),
    ("fieldSelector", TEXT),
    ("labelSelector", TEXT),
    ("limit", NUMBER),
    ("resourceVersion", TEXT),
    ("resourceVersionMatch", TEXT),
    ("sendInitialEvents", FLAG),
    ("timeoutSeconds", NUMBER),
    ("watch", FLAG),
];
const DELETE: [(&str, &str); 5] = [
    ("dryRun", TEXT),
    ("gracePeriodSeconds", NUMBER),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", FLAG),
    ("orphanDependents", FLAG),
    ("propagationPolicy", TEXT),
];
const JSON_TYPES: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const PATCH_TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// One operation before it is written down.
struct Operation<'a> {
    verb: &'a str,
    /// `x-kubernetes-action`.
    action: &'a str,
    id: String,
    parameters: Vec<(&'a str, &'a str)>,
    body: Option<&'a str>,
    answer: Option<&'a str>,
    kind: (&'a str, &'a str, &'a str),
}

struct Site<'a> {
    r: &'a ResourceDescriptor,
    dialect: Dialect,
}

/// Adds the paths of a resource. `name` and `list` are the definitions of its objects and lists.
pub(super) fn add(paths: &mut Map<String, Value>, r: &ResourceDescriptor, name: &str, list: &str, dialect: Dialect) {
    let site = Site { r, dialect };
    let root = if r.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}", api_version(&r.group, &r.version)) };
    let scope = if r.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{root}{scope}/{}", r.plural);
    let mut put = |path: String, operations: Vec<Operation<'_>>| {
        if !operations.is_empty() {
            let item = site.path_item(&path, operations);
            paths.insert(path, item);
        }
    };
    if r.namespaced && r.has_verb("list") {
        let all = site.operation("get", "list", &format!("list{}ForAllNamespaces", site.id_base()), LIST.to_vec(), None, list);
        put(format!("{root}/{}", r.plural), vec![all]);
    }
    put(collection.clone(), site.on_collection(name, list));
    put(format!("{collection}/{{name}}"), site.on_object(name));
    for s in &r.subresources {
        put(format!("{collection}/{{name}}/{}", s.name), site.on_subresource(s, name));
    }
}

impl<'a> Site<'a> {
    fn id_base(&self) -> String {
        let capital = |word: &str| {
            let mut chars = word.chars();
            chars.next().map(|c| c.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default()
        };
        let group = if self.r.group.is_empty() { "core" } else { self.r.group.trim_end_matches(".k8s.io") };
        let group: String = group.split(['.', '-']).map(capital).collect();
        format!("{group}{}{}", capital(&self.r.version), self.r.kind)
    }

    fn scoped_id(&self, verb: &str) -> String {
        let scope = if self.r.namespaced { "Namespaced" } else { "" };
        let base = self.id_base();
        let at = base.len() - self.r.kind.len();
        let (group, kind) = base.split_at_checked(at).unwrap_or((&base, ""));
        format!("{verb}{group}{scope}{kind}")
    }

    fn operation<'o>(
        &self,
        verb: &'o str,
        action: &'o str,
        id: &str,
        parameters: Vec<(&'o str, &'o str)>,
        body: Option<&'o str>,
        answer: &'o str,
    ) -> Operation<'o>
    where
        'a: 'o,
    {
        let kind = (self.r.group.as_str(), self.r.version.as_str(), self.r.kind.as_str());
        Operation { verb, action, id: id.to_owned(), parameters, body, answer: Some(answer), kind }
    }

    fn on_collection<'o>(&self, name: &'o str, list: &'o str) -> Vec<Operation<'o>>
    where
        'a: 'o,
    {
        let mut out = Vec::new();
        if self.r.has_verb("list") {
            out.push(self.operation("get", "list", &self.scoped_id("list"), LIST.to_vec(), None, list));
        }
        if self.r.has_verb("create") {
            out.push(self.operation("post", "post", &self.scoped_id("create"), WRITE.to_vec(), Some(name), name));
        }
        if self.r.has_verb("deletecollection") {
            let mut parameters = DELETE.to_vec();
            parameters.extend(LIST.iter().filter(|(p, _)| !matches!(*p, "watch" | "allowWatchBookmarks")));
            out.push(self.operation(
                "delete",
                "deletecollection",
                &self.scoped_id("deleteCollection"),
                parameters,
                Some(DELETE_OPTIONS),
                STATUS,
            ));
        }
        out
    }

    fn on_object<'o>(&self, name: &'o str) -> Vec<Operation<'o>>
    where
        'a: 'o,
    {
        let mut out = Vec::new();
        if self.r.has_verb("get") {
            out.push(self.operation("get", "get", &self.scoped_id("read"), Vec::new(), None, name));
        }
        if self.r.has_verb("update") {
            out.push(self.operation("put", "put", &self.scoped_id("replace"), WRITE.to_vec(), Some(name), name));
        }
        if self.r.has_verb("patch") {
            out.push(self.operation("patch", "patch", &self.scoped_id("patch"), patch_parameters(), Some(PATCH), name));
        }
        if self.r.has_verb("delete") {
            out.push(self.operation("delete", "delete", &self.scoped_id("delete"), DELETE.to_vec(), Some(DELETE_OPTIONS), STATUS));
        }
        out
    }

    fn on_subresource<'o>(&self, s: &'o Subresource, parent: &'o str) -> Vec<Operation<'o>>
    where
        'a: 'o,
    {
        let ty = builtin().by_gvk(&s.group, &s.version, &s.kind);
        let same = (&s.group, &s.version, &s.kind) == (&self.r.group, &self.r.version, &self.r.kind);
        let name = if same { parent } else { ty.map_or(parent, |t| t.name.as_ref()) };
        let suffix =
            s.name.split('/').map(|w| w.get(..1).unwrap_or_default().to_uppercase() + w.get(1..).unwrap_or_default()).collect::<String>();
        let kind = (s.group.as_str(), s.version.as_str(), s.kind.as_str());
        let id = |verb: &str| format!("{}{suffix}", self.scoped_id(verb));
        // The options of a connection are query parameters.
        let connect = ty.filter(|t| t.short_name().ends_with("Options"));
        let options: Vec<(&str, &str)> = connect
            .iter()
            .flat_map(|t| &t.fields)
            .filter_map(|f| {
                let word = match f.shape() {
                    Shape::Bool => FLAG,
                    Shape::Int32 | Shape::Int64 => NUMBER,
                    _ => TEXT,
                };
                (!matches!(f.name.as_ref(), "kind" | "apiVersion")).then_some((f.name.as_ref(), word))
            })
            .collect();
        s.verbs
            .iter()
            .filter_map(|verb| {
                let (http, action, parameters, body) = match verb.as_str() {
                    "get" => ("get", "get", Vec::new(), None),
                    "create" => ("post", "post", WRITE.to_vec(), Some(name)),
                    "update" => ("put", "put", WRITE.to_vec(), Some(name)),
                    "patch" => ("patch", "patch", patch_parameters(), Some(PATCH)),
                    "delete" => ("delete", "delete", DELETE.to_vec(), None),
                    _ => return None,
                };
                Some(if connect.is_some() {
                    Operation {
                        verb: http,
                        action: "connect",
                        id: id(&format!("connect{}", http_word(http))),
                        parameters: options.clone(),
                        body: None,
                        answer: None,
                        kind,
                    }
                } else {
                    Operation { verb: http, action, id: id(id_verb(http)), parameters, body, answer: Some(name), kind }
                })
            })
            .collect()
    }

    fn path_item(&self, path: &str, operations: Vec<Operation<'_>>) -> Value {
        let mut item = Map::new();
        let mut shared = Vec::new();
        for part in ["name", "namespace"] {
            if path.contains(&format!("{{{part}}}")) {
                let mut p = parameter(self.dialect, part, TEXT, "path");
                p.insert("required".into(), json!(true));
                shared.push(Value::Object(p));
            }
        }
        shared.push(Value::Object(parameter(self.dialect, "pretty", TEXT, "query")));
        item.insert("parameters".into(), Value::Array(shared));
        for o in operations {
            item.insert(o.verb.to_owned(), self.written(&o));
        }
        Value::Object(item)
    }

    fn written(&self, o: &Operation<'_>) -> Value {
        let (group, version, kind) = o.kind;
        let tag = if self.r.group.is_empty() { format!("core_{}", self.r.version) } else { self.tag() };
        let mut parameters: Vec<Value> = o.parameters.iter().map(|(n, t)| Value::Object(parameter(self.dialect, n, t, "query"))).collect();
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
        put("operationId", json!(o.id));
        put("tags", json!([tag]));
        put("x-kubernetes-action", json!(o.action));
        put("x-kubernetes-group-version-kind", json!({"group": group, "version": version, "kind": kind}));
        let schema = o.answer.map_or_else(|| json!({"type": "string"}), |name| self.dialect.reference(name));
        let types: &[&str] = if o.verb == "patch" { &PATCH_TYPES } else { &JSON_TYPES };
        match self.dialect {
            Dialect::V3 => {
                let content = |schema: &Value, types: &[&str]| -> Value {
                    types.iter().map(|t| ((*t).to_owned(), json!({"schema": schema}))).collect::<Map<_, _>>().into()
                };
                if let Some(body) = o.body {
                    put("requestBody", json!({"content": content(&self.dialect.reference(body), types)}));
                }
                put(
                    "responses",
                    json!({"200": {"description": "OK", "content": content(&schema, &JSON_TYPES)}, "401": {"description": "Unauthorized"}}),
                );
            }
            Dialect::V2 => {
                if let Some(body) = o.body {
                    let required = o.verb != "delete";
                    parameters.push(json!({"name": "body", "in": "body", "required": required, "schema": self.dialect.reference(body)}));
                }
                put("consumes", if o.verb == "patch" { json!(types) } else { json!(["*/*"]) });
                put("produces", json!(JSON_TYPES));
                put("schemes", json!(["https"]));
                put("responses", json!({"200": {"description": "OK", "schema": schema}, "401": {"description": "Unauthorized"}}));
            }
        }
        if !parameters.is_empty() {
            put("parameters", Value::Array(parameters));
        }
        Value::Object(out)
    }

    fn tag(&self) -> String {
        let group = self.r.group.trim_end_matches(".k8s.io").replace(['.', '-'], "_");
        format!("{group}_{}", self.r.version)
    }
}

fn patch_parameters() -> Vec<(&'static str, &'static str)> {
    let mut out = WRITE.to_vec();
    out.push(("force", FLAG));
    out
}

fn http_word(verb: &str) -> &'static str {
    match verb {
        "get" => "Get",
        "post" => "Post",
        "put" => "Put",
        "patch" => "Patch",
        _ => "Delete",
    }
}

fn id_verb(verb: &str) -> &'static str {
    match verb {
        "get" => "read",
        "post" => "create",
        "put" => "replace",
        "patch" => "patch",
        _ => "delete",
    }
}

fn parameter(dialect: Dialect, name: &str, ty: &str, place: &str) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("name".into(), json!(name));
    out.insert("in".into(), json!(place));
    match dialect {
        Dialect::V2 => {
            out.insert("type".into(), json!(ty));
            out.insert("uniqueItems".into(), json!(true));
        }
        Dialect::V3 => {
            out.insert("schema".into(), json!({"type": ty, "uniqueItems": true}));
        }
    }
    out
}
