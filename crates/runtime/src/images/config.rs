//! The image configuration: what the image's author says about running it (OCI image specification, `config.md`).

use serde::{Deserialize, Deserializer};

use crate::image::ImageConfig;

/// A whole configuration file.
#[derive(Debug, Deserialize)]
pub(super) struct ConfigFile {
    #[serde(default, deserialize_with = "null_is_default")]
    config: Section,
    pub(super) rootfs: RootFs,
}

/// The layers by the digests of their uncompressed tar files, lowest first.
#[derive(Debug, Deserialize)]
pub(super) struct RootFs {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) diff_ids: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Section {
    #[serde(deserialize_with = "null_is_default")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    env: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    working_dir: String,
    #[serde(deserialize_with = "null_is_default")]
    user: String,
    #[serde(deserialize_with = "null_is_default")]
    stop_signal: String,
}

impl ConfigFile {
    pub(super) fn image_config(&self) -> ImageConfig {
        let c = &self.config;
        ImageConfig {
            entrypoint: c.entrypoint.clone(),
            cmd: c.cmd.clone(),
            env: c.env.clone(),
            working_dir: c.working_dir.clone(),
            user: c.user.clone(),
            stop_signal: c.stop_signal.clone(),
        }
    }
}

/// Docker writes `null` where it means "nothing".
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_mean_nothing() {
        let text = r#"{"architecture":"amd64","config":{"Entrypoint":null,"Cmd":["sh"],"Volumes":{"/data":{}},"User":"65535:65535"},
            "rootfs":{"type":"layers","diff_ids":null}}"#;
        let file: ConfigFile = serde_json::from_str(text).unwrap();
        let config = file.image_config();
        assert_eq!(config.cmd, ["sh"]);
        assert_eq!(config.user, "65535:65535");
        assert!(config.entrypoint.is_empty() && file.rootfs.diff_ids.is_empty());
    }
}
