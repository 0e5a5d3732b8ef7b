//! Volumes of a pod, and what containers do with them.

use std::collections::{BTreeMap, BTreeSet};

use super::env;
use crate::field::{Error, ErrorList};
use crate::validation::at::At;
use crate::validation::{amount, format, labels, meta};

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
/// All permission bits of a file.
const MAX_MODE: i64 = 0o777;
/// The fields of a volume that say what kind it is, in the order in which the first one counts.
const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// The good volumes by name, and whether each may be a block device.
pub(super) type Volumes<'a> = BTreeMap<&'a str, bool>;

pub(super) fn volumes<'v>(list: &At<'_, 'v>, metadata: Option<&At<'_, 'v>>, errs: &mut ErrorList) -> Volumes<'v> {
    let pod_name = metadata.map(|m| m.get("name").str()).unwrap_or_default();
    let made = |v: &At<'_, '_>| v.get("ephemeral").is_set().then(|| format!("{pod_name}-{}", v.get("name").str()));
    let claims: BTreeSet<String> = if pod_name.is_empty() { BTreeSet::new() } else { list.items().filter_map(|v| made(&v)).collect() };
    let mut good = Volumes::new();
    for v in list.items() {
        let before = errs.len();
        source(&v, pod_name, errs);
        let name = v.get("name");
        if name.is_empty() {
            name.required(errs, "");
        } else {
            name.complain(errs, format::label_1123(name.str()));
        }
        if good.contains_key(name.str()) {
            name.duplicate(errs);
        }
        if errs.len() == before {
            good.insert(name.str(), v.get("persistentVolumeClaim").is_set() || v.get("ephemeral").is_set());
        }
        let claim = v.get("persistentVolumeClaim");
        let claim = claim.get("claimName");
        if claims.contains(claim.str()) {
            claim.invalid(errs, "must not reference a PVC that gets created for an ephemeral volume");
        }
    }
    good
}

fn source(v: &At<'_, '_>, pod_name: &str, errs: &mut ErrorList) {
    let mut found = false;
    for kind in SOURCES {
        let at = v.get(kind);
        if !at.is_set() {
            continue;
        }
        if found {
            at.forbidden(errs, "may not specify more than 1 volume type");
            continue;
        }
        found = true;
        one_source(kind, &at, v, pod_name, errs);
    }
    if !found {
        v.required(errs, "must specify a volume type");
    }
}

fn one_source(kind: &str, at: &At<'_, '_>, v: &At<'_, '_>, pod_name: &str, errs: &mut ErrorList) {
    match kind {
        "emptyDir" if at.get("sizeLimit").is_set() && amount::quantity(&at.get("sizeLimit")).signum() < 0 => {
            at.get("sizeLimit").forbidden(errs, "SizeLimit field must be a valid resource quantity");
        }
        "hostPath" => host_path(at, errs),
        "gitRepo" => {
            needed(at, &["repository"], errs);
            relative(at.get("directory").str(), &at.get("directory"), errs);
        }
        "secret" | "configMap" => {
            needed(at, &[if kind == "secret" { "secretName" } else { "name" }], errs);
            mode(&at.get("defaultMode"), errs);
            at.get("items").items().for_each(|item| key_to_path(&item, errs));
        }
        "persistentVolumeClaim" => needed(at, &["claimName"], errs),
        "nfs" => {
            needed(at, &["server", "path"], errs);
            let path = at.get("path");
            if !path.is_empty() && !path.str().starts_with('/') {
                path.invalid(errs, "must be an absolute path");
            }
        }
        "downwardAPI" => {
            mode(&at.get("defaultMode"), errs);
            at.get("items").items().for_each(|item| downward_file(&item, at, errs));
        }
        "projected" => {
            mode(&at.get("defaultMode"), errs);
            projected(at, errs);
        }
        "csi" => csi(at, errs),
        "ephemeral" => ephemeral(at, v, pod_name, errs),
        "image" => {
            needed(at, &["reference"], errs);
            at.get("pullPolicy").required_one_of(errs, &["Always", "IfNotPresent", "Never"], "");
        }
        "glusterfs" => needed(at, &["endpoints", "path"], errs),
        "rbd" => needed(at, &["monitors", "image"], errs),
        "cephfs" => needed(at, &["monitors"], errs),
        "cinder" | "portworxVolume" => needed(at, &["volumeID"], errs),
        "gcePersistentDisk" => needed(at, &["pdName"], errs),
        "awsElasticBlockStore" => needed(at, &["volumeID"], errs),
        "flexVolume" => needed(at, &["driver"], errs),
        "azureFile" => needed(at, &["secretName", "shareName"], errs),
        "azureDisk" => needed(at, &["diskName", "diskURI"], errs),
        "vsphereVolume" => needed(at, &["volumePath"], errs),
        "photonPersistentDisk" => needed(at, &["pdID"], errs),
        "scaleIO" => needed(at, &["gateway", "system", "volumeName"], errs),
        "iscsi" => needed(at, &["targetPortal", "iqn"], errs),
        _ => {}
    }
}

fn needed(at: &At<'_, '_>, fields: &[&'static str], errs: &mut ErrorList) {
    for field in fields {
        if at.get(field).is_empty() {
            at.get(field).required(errs, "");
        }
    }
}

fn mode(at: &At<'_, '_>, errs: &mut ErrorList) {
    if at.int().is_some_and(|m| !(0..=MAX_MODE).contains(&m)) {
        at.invalid(errs, MODE);
    }
}

/// A host path of a pod's or a persistent volume.
pub(in crate::validation) fn host_path(at: &At<'_, '_>, errs: &mut ErrorList) {
    let path = at.get("path");
    if path.is_empty() {
        return path.required(errs, "");
    }
    no_backsteps(path.str(), &path, errs);
    if at.get("type").is_set() {
        let kinds = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
        at.get("type").one_of(errs, &kinds);
    }
}

fn no_backsteps(text: &str, at: &At<'_, '_>, errs: &mut ErrorList) {
    if text.split('/').any(|part| part == "..") {
        at.invalid_shown(errs, text, "must not contain '..'");
    }
}

/// A path below a volume's root.
pub(super) fn relative(text: &str, at: &At<'_, '_>, errs: &mut ErrorList) {
    if text.starts_with('/') {
        at.invalid_shown(errs, text, "must be a relative path");
    }
    no_backsteps(text, at, errs);
}

fn not_reserved(text: &str, at: &At<'_, '_>, errs: &mut ErrorList) {
    relative(text, at, errs);
    if text.starts_with("..") && !text.starts_with("../") {
        at.invalid_shown(errs, text, "must not start with '..'");
    }
}

fn key_to_path(item: &At<'_, '_>, errs: &mut ErrorList) {
    needed(item, &["key", "path"], errs);
    not_reserved(item.get("path").str(), &item.get("path"), errs);
    mode(&item.get("mode"), errs);
}

/// Upstream reports below the volume, not below the item.
fn downward_file(item: &At<'_, '_>, volume: &At<'_, '_>, errs: &mut ErrorList) {
    let path = item.get("path").str();
    let path_at = volume.get("path");
    if path.is_empty() {
        path_at.required(errs, "");
    }
    not_reserved(path, &path_at, errs);
    let (field, resource) = (item.get("fieldRef"), item.get("resourceFieldRef"));
    if field.is_set() {
        env::field_ref(&field, env::FILE_FIELDS, errs);
        if resource.is_set() {
            volume.invalid_shown(errs, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
        }
    } else if resource.is_set() {
        env::resource_field_ref(&resource, env::Place::File, errs);
    } else {
        volume.required(errs, "one of fieldRef and resourceFieldRef is required");
    }
    mode(&item.get("mode"), errs);
}

fn projected(at: &At<'_, '_>, errs: &mut ErrorList) {
    let mut paths = BTreeSet::new();
    for source in at.get("sources").items() {
        let mut kinds = 0_u32;
        for kind in ["secret", "configMap"] {
            let one = source.get(kind);
            if !one.is_set() {
                continue;
            }
            kinds += 1;
            needed(&one, &["name"], errs);
            for item in one.get("items").items() {
                key_to_path(&item, errs);
                claim_path(item.get("path").str(), one.get("name").str(), &mut paths, at, errs);
            }
        }
        let downward = source.get("downwardAPI");
        if downward.is_set() {
            kinds += 1;
            for item in downward.get("items").items() {
                downward_file(&item, &downward, errs);
                let path = item.get("path").str();
                claim_path(path, path, &mut paths, at, errs);
            }
        }
        let token = source.get("serviceAccountToken");
        if token.is_set() {
            kinds += 1;
            service_account_token(&token, at, errs);
        }
        let bundle = source.get("clusterTrustBundle");
        if bundle.is_set() {
            kinds += 1;
            trust_bundle(&bundle, errs);
            let path = bundle.get("path").str();
            claim_path(path, path, &mut paths, at, errs);
        }
        if source.get("podCertificate").is_set() {
            kinds += 1;
        }
        if kinds > 1 {
            source.forbidden(errs, "may not specify more than 1 volume type per source");
        }
    }
}

fn claim_path<'v>(path: &'v str, shown: &str, taken: &mut BTreeSet<&'v str>, at: &At<'_, '_>, errs: &mut ErrorList) {
    if !path.is_empty() && !taken.insert(path) {
        at.invalid_shown(errs, shown, "conflicting duplicate paths");
    }
}

fn service_account_token(token: &At<'_, '_>, volume: &At<'_, '_>, errs: &mut ErrorList) {
    let life = token.get("expirationSeconds");
    match life.int() {
        Some(seconds) if seconds < 600 => life.invalid(errs, "may not specify a duration less than 10 minutes"),
        Some(seconds) if seconds > 1 << 32 => life.invalid(errs, "may not specify a duration larger than 2^32 seconds"),
        _ => {}
    }
    let path = volume.get("path");
    match token.get("path").str() {
        "" => path.required(errs, ""),
        text => not_reserved(text, &path, errs),
    }
}

fn trust_bundle(at: &At<'_, '_>, errs: &mut ErrorList) {
    let (name, signer) = (at.get("name"), at.get("signerName"));
    match (name.is_set(), signer.is_set()) {
        (true, true) => at.invalid(errs, "only one of name and signerName may be used"),
        (true, false) => {
            if name.is_empty() {
                name.required(errs, "must be a valid object name");
            }
            if at.get("labelSelector").is_set() {
                at.get("labelSelector").invalid(errs, "labelSelector must be unset if name is specified");
            }
        }
        (false, true) => {
            if signer.is_empty() {
                signer.required(errs, "must be a valid signer name");
            }
            labels::selector(&at.get("labelSelector"), errs);
        }
        (false, false) => at.required(errs, "either name or signerName must be specified"),
    }
    needed(at, &["path"], errs);
    not_reserved(at.get("path").str(), &at.get("path"), errs);
}

/// The name of a CSI driver.
pub(in crate::validation) fn csi_driver_name(at: &At<'_, '_>, errs: &mut ErrorList) {
    if at.is_empty() {
        return at.required(errs, "");
    }
    if at.str().len() > format::MAX_LABEL {
        at.too_long(errs, format::MAX_LABEL);
    }
    at.complain(errs, format::subdomain(&at.str().to_lowercase()));
}

fn csi(at: &At<'_, '_>, errs: &mut ErrorList) {
    csi_driver_name(&at.get("driver"), errs);
    let secret = at.get("nodePublishSecretRef");
    if secret.is_set() {
        let name = secret.get("name");
        if name.is_empty() {
            name.required(errs, "");
        } else {
            name.complain(errs, format::subdomain(name.str()));
        }
    }
}

fn ephemeral(at: &At<'_, '_>, v: &At<'_, '_>, pod_name: &str, errs: &mut ErrorList) {
    let template = at.get("volumeClaimTemplate");
    if !template.is_set() {
        return template.required(errs, "");
    }
    let metadata = template.get("metadata");
    meta::annotations(&metadata.get("annotations"), errs);
    labels::labels(&metadata.get("labels"), errs);
    for (key, value) in metadata.entries() {
        if !matches!(key, "annotations" | "labels" | "creationTimestamp") && !value.is_empty() {
            errs.push(Error::forbidden(&metadata.path().child(key), "cannot be set"));
        }
    }
    claim_spec(&template.get("spec"), errs);
    let name = v.get("name");
    if !pod_name.is_empty() && !name.is_empty() {
        let claim = format!("{pod_name}-{}", name.str());
        for detail in format::subdomain(&claim) {
            name.invalid(errs, &format!("PVC name {claim:?}: {detail}"));
        }
    }
}

/// The spec of a persistent volume claim.
pub(in crate::validation) fn claim_spec(spec: &At<'_, '_>, errs: &mut ErrorList) {
    access_modes(&spec.get("accessModes"), "at least 1 access mode is required", errs);
    labels::selector(&spec.get("selector"), errs);
    let resources = spec.get("resources");
    let requests = resources.get("requests");
    let storage = requests.entry("storage");
    let path = resources.path().key("storage");
    if !storage.is_set() {
        errs.push(Error::required(&path, ""));
    } else if amount::quantity(&storage).signum() <= 0 {
        errs.push(Error::invalid(&path, amount::quantity(&storage).to_string(), "must be greater than zero"));
    }
    for field in ["storageClassName", "volumeAttributesClassName"] {
        let class = spec.get(field);
        if !class.is_empty() {
            class.complain(errs, format::subdomain(class.str()));
        }
    }
    if spec.get("volumeMode").is_set() {
        spec.get("volumeMode").one_of(errs, &["Block", "Filesystem"]);
    }
    for field in ["dataSource", "dataSourceRef"] {
        data_source(&spec.get(field), errs);
    }
}

/// How a volume may be mounted; by one pod alone excludes the other ways.
pub(in crate::validation) fn access_modes(modes: &At<'_, '_>, missing: &str, errs: &mut ErrorList) {
    const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    if modes.is_empty() {
        modes.required(errs, missing);
    }
    for mode in modes.items().filter(|m| !MODES.contains(&m.str())) {
        errs.push(Error::not_supported(&modes.path(), mode.str(), MODES));
    }
    let known = modes.items().filter(|m| MODES.contains(&m.str())).count();
    let alone = modes.items().filter(|m| m.str() == "ReadWriteOncePod").count();
    if alone > 0 && known > alone {
        modes.forbidden(errs, "may not use ReadWriteOncePod with other access modes");
    }
}

fn data_source(at: &At<'_, '_>, errs: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    needed(at, &["name", "kind"], errs);
    let group = at.get("apiGroup");
    if group.is_empty() && at.get("kind").str() != "PersistentVolumeClaim" {
        at.invalid_shown(errs, at.get("kind").str(), "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    }
    if !group.is_empty() {
        group.complain(errs, format::subdomain(group.str()));
    }
}

/// Where a container mounts volumes.
pub(super) fn mounts(c: &At<'_, '_>, volumes: &Volumes<'_>, errs: &mut ErrorList) {
    let (list, devices) = (c.get("volumeMounts"), c.get("volumeDevices"));
    let mut taken = BTreeSet::new();
    for mount in list.items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        needed(&mount, &["name"], errs);
        if !volumes.contains_key(name.str()) {
            name.not_found(errs);
        }
        needed(&mount, &["mountPath"], errs);
        if !taken.insert(path.str()) {
            path.invalid_str(errs, "must be unique");
        }
        if devices.items().any(|d| d.get("name").str() == name.str()) {
            name.invalid_str(errs, "must not already exist in volumeDevices");
        }
        if devices.items().any(|d| d.get("devicePath").str() == path.str()) {
            path.invalid_str(errs, "must not already exist as a path in volumeDevices");
        }
        let (sub, expression) = (mount.get("subPath").str(), mount.get("subPathExpr").str());
        relative(sub, &list.get("subPath"), errs);
        if !expression.is_empty() && !sub.is_empty() {
            mount.get("subPathExpr").invalid(errs, "subPathExpr and subPath are mutually exclusive");
        }
        relative(expression, &list.get("subPathExpr"), errs);
        propagation(&mount, &list, c, errs);
    }
}

/// Upstream reports these below the list, not below the mount.
fn propagation(mount: &At<'_, '_>, list: &At<'_, '_>, c: &At<'_, '_>, errs: &mut ErrorList) {
    let (mode, path) = (mount.get("mountPropagation"), list.get("mountPropagation").path());
    if mode.is_set() {
        let modes = ["Bidirectional", "HostToContainer", "None"];
        if !modes.contains(&mode.str()) {
            errs.push(Error::not_supported(&path, mode.str(), &modes));
        }
        let context = c.get("securityContext");
        if mode.str() == "Bidirectional" && !context.get("privileged").is_true() {
            errs.push(Error::forbidden(&path, "Bidirectional mount propagation is available only to privileged containers"));
        }
    }
    let (recursive, path) = (mount.get("recursiveReadOnly"), list.get("recursiveReadOnly").path());
    match recursive.str() {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.get("readOnly").is_true() {
                errs.push(Error::forbidden(&path, "may only be specified when readOnly is true"));
            }
            if mode.is_set() && mode.str() != "None" {
                errs.push(Error::forbidden(&path, "may only be specified when mountPropagation is None or not specified"));
            }
        }
        other if recursive.is_set() => errs.push(Error::not_supported(&path, other, &["Disabled", "Enabled", "IfPossible"])),
        _ => {}
    }
}

/// The block devices of a container.
pub(super) fn devices(c: &At<'_, '_>, volumes: &Volumes<'_>, errs: &mut ErrorList) {
    let (list, mounts) = (c.get("volumeDevices"), c.get("volumeMounts"));
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for device in list.items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        needed(&device, &["name"], errs);
        if !names.insert(name.str()) {
            name.invalid_str(errs, "must be unique");
        }
        match volumes.get(name.str()) {
            Some(false) => {
                name.invalid_str(errs, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
            }
            Some(true) => {}
            None => name.not_found(errs),
        }
        needed(&device, &["devicePath"], errs);
        if paths.contains(path.str()) {
            path.invalid_str(errs, "must be unique");
        }
        if path.str().split('/').any(|part| part == "..") {
            path.invalid_str(errs, "can not contain backsteps ('..')");
        } else {
            paths.insert(path.str());
        }
        if mounts.items().any(|m| m.get("name").str() == name.str()) {
            name.invalid_str(errs, "must not already exist in volumeMounts");
        }
        if mounts.items().any(|m| m.get("mountPath").str() == path.str()) {
            path.invalid_str(errs, "must not already exist as a path in volumeMounts");
        }
    }
}
