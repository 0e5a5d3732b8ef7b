//! The files of configMap, secret, downwardAPI and projected volumes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use super::atomic::{File, Files};
use super::ownership;
use crate::downward::{self, Surroundings};
use crate::machine::Machine;
use crate::objects::{Error, Missing};
use crate::spec;

const DEFAULT_MODE: i32 = 0o644;

/// What a volume holds.
#[derive(Default)]
pub(super) struct Built {
    pub(super) files: Files,
    /// When a token in it must be renewed.
    pub(super) refresh: Option<Duration>,
}

struct Builder<'a> {
    machine: &'a Machine,
    pod: &'a Pod,
    around: &'a Surroundings,
    mode: i32,
    built: Built,
}

/// Collects the volume's files.
pub(super) async fn build(machine: &Machine, pod: &Pod, volume: &Volume, around: &Surroundings) -> Result<Built, String> {
    let mut builder = Builder { machine, pod, around, mode: DEFAULT_MODE, built: Built::default() };
    if let Some(source) = &volume.config_map {
        builder.mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        builder.config_map(&source.name, source.items.as_deref(), source.optional).await?;
    } else if let Some(source) = &volume.secret {
        builder.mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        builder.secret(source.secret_name.as_deref().unwrap_or_default(), source.items.as_deref(), source.optional).await?;
    } else if let Some(source) = &volume.downward_api {
        builder.mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        builder.downward(source.items.as_deref().unwrap_or_default())?;
    } else if let Some(source) = &volume.projected {
        builder.mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        for projection in source.sources.iter().flatten() {
            builder.projection(projection).await?;
        }
    }
    Ok(builder.built)
}

impl Builder<'_> {
    async fn projection(&mut self, projection: &VolumeProjection) -> Result<(), String> {
        if let Some(source) = &projection.config_map {
            self.config_map(&source.name, source.items.as_deref(), source.optional).await
        } else if let Some(source) = &projection.secret {
            self.secret(&source.name, source.items.as_deref(), source.optional).await
        } else if let Some(source) = &projection.downward_api {
            self.downward(source.items.as_deref().unwrap_or_default())
        } else if let Some(source) = &projection.service_account_token {
            self.token(source).await
        } else if projection.cluster_trust_bundle.is_some() {
            Err("this node does not support projected clusterTrustBundle sources yet".into())
        } else if projection.pod_certificate.is_some() {
            Err("this node does not support projected podCertificate sources yet".into())
        } else {
            Ok(())
        }
    }

    async fn config_map(&mut self, name: &str, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<(), String> {
        let got = self.machine.objects.get::<ConfigMap>(spec::namespace(self.pod), name).await;
        let Some(map) = lenient(got, optional)? else { return Ok(()) };
        let text = map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
        let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()));
        self.keys(text.chain(binary).collect(), items, optional)
    }

    async fn secret(&mut self, name: &str, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<(), String> {
        let got = self.machine.objects.get::<Secret>(spec::namespace(self.pod), name).await;
        let Some(secret) = lenient(got, optional)? else { return Ok(()) };
        self.keys(secret.data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone())).collect(), items, optional)
    }

    fn keys(&mut self, data: BTreeMap<String, Vec<u8>>, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<(), String> {
        let Some(items) = items.filter(|i| !i.is_empty()) else {
            data.into_iter().for_each(|(key, data)| self.put(key, data, self.mode, None));
            return Ok(());
        };
        for item in items {
            match data.get(&item.key) {
                Some(data) => self.put(item.path.clone(), data.clone(), item.mode.unwrap_or(self.mode), None),
                None if optional == Some(true) => {}
                None => return Err(format!("references non-existent config key: {}", item.key)),
            }
        }
        Ok(())
    }

    fn downward(&mut self, items: &[DownwardAPIVolumeFile]) -> Result<(), String> {
        for item in items {
            let value = if let Some(field) = &item.field_ref {
                downward::field(&field.field_path, self.pod, self.around)?
            } else if let Some(resource) = &item.resource_field_ref {
                let name = resource.container_name.as_deref().unwrap_or_default();
                let (_, container) = spec::find(spec::of(self.pod), name).ok_or_else(|| format!("container {name} not found"))?;
                downward::resource(resource, &container, self.around)?
            } else {
                String::new()
            };
            self.put(item.path.clone(), value.into_bytes(), item.mode.unwrap_or(self.mode), None);
        }
        Ok(())
    }

    async fn token(&mut self, source: &ServiceAccountTokenProjection) -> Result<(), String> {
        let (token, left) = self.machine.tokens.get(self.pod, source.audience.as_deref(), source.expiration_seconds).await?;
        self.built.refresh = Some(self.built.refresh.map_or(left, |r| r.min(left)));
        let owner = ownership::common_user(self.pod);
        // A token that only its owner or group needs to read is closed to others.
        let mode = if owner.is_some() || ownership::fs_group(self.pod).is_some() { 0o600 } else { self.mode };
        self.put(source.path.clone(), token.into_bytes(), mode, owner);
        Ok(())
    }

    fn put(&mut self, path: String, data: Vec<u8>, mode: i32, owner: Option<u32>) {
        let mode = u32::try_from(mode).unwrap_or(0o644);
        self.built.files.insert(path, File { data, mode, owner });
    }
}

fn lenient<K>(got: Result<Arc<K>, Error>, optional: Option<bool>) -> Result<Option<Arc<K>>, String> {
    match got {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.missing == Missing::Absent && optional == Some(true) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
