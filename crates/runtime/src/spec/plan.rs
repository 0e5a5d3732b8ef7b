//! From the kubelet's configuration and the image to a [`ContainerSpec`]. Pure: no file is read here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cri::v1;

use super::mounts::{CgroupView, default_mounts, merge};
use super::{ContainerSpec, DeviceNode, PidMode, Stdin, UserSpec, caps};
use crate::cgroup::Folders;
use crate::image::ResolvedImage;
use crate::paths::SandboxDir;

pub(crate) use super::mounts::CgroupView as View;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a container is planned from.
pub(crate) struct ContainerInput<'a> {
    pub(crate) id: &'a str,
    pub(crate) config: &'a v1::ContainerConfig,
    pub(crate) sandbox: &'a v1::PodSandboxConfig,
    pub(crate) sandbox_dir: &'a SandboxDir,
    /// What `hostname` answers in the pod.
    pub(crate) hostname: &'a str,
    pub(crate) image: &'a ResolvedImage,
    /// Images of image volumes, by the name in the mount.
    pub(crate) volume_images: &'a BTreeMap<String, ResolvedImage>,
    pub(crate) cgroups: Folders,
    pub(crate) view: &'a CgroupView,
    /// Device nodes beside the usual ones, looked up on the host.
    pub(crate) devices: Vec<DeviceNode>,
    /// Whether there is a filter to apply.
    pub(crate) seccomp: bool,
}

/// Plans a container. Errors name the field that cannot be met.
pub(crate) fn container(input: ContainerInput<'_>) -> cri::Result<ContainerSpec> {
    let config = input.config;
    let linux = config.linux.clone().unwrap_or_default();
    let security = linux.security_context.unwrap_or_default();
    let options = security.namespace_options.clone().unwrap_or_default();
    refuse_what_is_missing(config, &security, &options)?;
    let host_ipc = options.ipc() == v1::NamespaceMode::Node;
    let defaults = default_mounts(input.sandbox_dir, input.view, security.privileged, host_ipc);
    let log = match (input.sandbox.log_directory.as_str(), config.log_path.as_str()) {
        ("", _) | (_, "") => None,
        (directory, file) => Some(PathBuf::from(directory).join(file)),
    };
    Ok(ContainerSpec {
        id: input.id.to_owned(),
        args: args(config, input.image)?,
        env: env(config, input.image, input.hostname)?,
        cwd: [config.working_dir.as_str(), input.image.config.working_dir.as_str(), "/"]
            .into_iter()
            .find(|d| !d.is_empty())
            .unwrap_or("/")
            .to_owned(),
        terminal: config.tty,
        stdin: match (config.stdin, config.stdin_once) {
            (false, _) => Stdin::Closed,
            (true, false) => Stdin::Open,
            (true, true) => Stdin::Once,
        },
        log,
        layers: input.image.layers.clone(),
        root_read_only: security.readonly_rootfs,
        mounts: merge(defaults, &config.mounts, input.volume_images)?,
        masked: if security.privileged { Vec::new() } else { security.masked_paths.clone() },
        read_only: if security.privileged { Vec::new() } else { security.readonly_paths.clone() },
        pid: match options.pid() {
            v1::NamespaceMode::Pod => PidMode::Sandbox,
            v1::NamespaceMode::Container => PidMode::Own,
            v1::NamespaceMode::Node => PidMode::Host,
            v1::NamespaceMode::Target => PidMode::Target(options.target_id.clone()),
        },
        devices: input.devices,
        cgroups: input.cgroups.v1,
        unified: input.cgroups.v2,
        user: user(&security, input.image)?,
        capabilities: caps::sets(security.privileged, security.capabilities.as_ref())?,
        no_new_privs: security.no_new_privs,
        seccomp: input.seccomp,
        oom_score_adj: linux.resources.map_or(0, |r| i32::try_from(r.oom_score_adj.clamp(-1000, 1000)).unwrap_or(0)),
    })
}

/// Fields that would change the container's safety or meaning and that this runtime cannot honour.
fn refuse_what_is_missing(
    config: &v1::ContainerConfig,
    security: &v1::LinuxContainerSecurityContext,
    options: &v1::NamespaceOption,
) -> cri::Result<()> {
    let no = |what: &str| Err(cri::Error::Unimplemented(format!("{what} not supported by the built-in runtime")));
    if options.userns_options.as_ref().is_some_and(|u| u.mode() == v1::NamespaceMode::Pod) {
        return no("user namespaces are");
    }
    if !config.cdi_devices.is_empty() {
        return no("CDI devices are");
    }
    let localhost = v1::security_profile::ProfileType::Localhost;
    if security.apparmor.as_ref().is_some_and(|profile| profile.profile_type() == localhost) {
        return no("localhost AppArmor profiles are");
    }
    if security
        .selinux_options
        .as_ref()
        .is_some_and(|o| !o.level.is_empty() || !o.r#type.is_empty() || !o.user.is_empty() || !o.role.is_empty())
    {
        tracing::warn!("SELinux options are set but this runtime does not label; they have no effect");
    }
    Ok(())
}

fn args(config: &v1::ContainerConfig, image: &ResolvedImage) -> cri::Result<Vec<String>> {
    let (mut args, rest) = match (config.command.is_empty(), config.args.is_empty()) {
        (false, _) => (config.command.clone(), &config.args),
        (true, false) => (image.config.entrypoint.clone(), &config.args),
        (true, true) => (image.config.entrypoint.clone(), &image.config.cmd),
    };
    args.extend(rest.iter().cloned());
    match args.first() {
        Some(first) if !first.is_empty() => no_nul("argument", args),
        _ => Err(cri::Error::InvalidArgument("no command specified".into())),
    }
}

/// The image's variables, overlaid by the container's, each name once.
fn env(config: &v1::ContainerConfig, image: &ResolvedImage, hostname: &str) -> cri::Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    let mut set = |entry: String| {
        let name = entry.split('=').next().unwrap_or_default().to_owned() + "=";
        match all.iter_mut().find(|known| known.starts_with(&name)) {
            Some(known) => *known = entry,
            None => all.push(entry),
        }
    };
    set(DEFAULT_PATH.to_owned());
    set(format!("HOSTNAME={hostname}"));
    if config.tty {
        set("TERM=xterm".to_owned());
    }
    for entry in image.config.env.iter().filter(|entry| entry.contains('=')) {
        set(entry.clone());
    }
    for pair in &config.envs {
        let value = String::from_utf8_lossy(&pair.value);
        set(format!("{}={value}", pair.key));
    }
    no_nul("environment variable", all)
}

fn no_nul(what: &str, texts: Vec<String>) -> cri::Result<Vec<String>> {
    match texts.iter().find(|text| text.contains('\0')) {
        Some(text) => Err(cri::Error::InvalidArgument(format!("{what} {text:?} contains a null byte"))),
        None => Ok(texts),
    }
}

fn user(security: &v1::LinuxContainerSecurityContext, image: &ResolvedImage) -> cri::Result<UserSpec> {
    let id = |value: i64| u32::try_from(value).map_err(|_| cri::Error::InvalidArgument(format!("user or group {value} is out of range")));
    let asked = match &security.run_as_user {
        Some(uid) => Some(id(uid.value)?.to_string()),
        None => Some(security.run_as_username.clone()).filter(|name| !name.is_empty()),
    };
    let group = security.run_as_group.map(|gid| id(gid.value)).transpose()?;
    if group.is_some() && asked.is_none() && image.config.user.is_empty() {
        return Err(cri::Error::InvalidArgument("run_as_group is specified without run_as_user or run_as_username".into()));
    }
    Ok(UserSpec {
        user: asked.unwrap_or_else(|| image.config.user.clone()),
        group,
        supplemental: security.supplemental_groups.iter().map(|gid| id(*gid)).collect::<cri::Result<_>>()?,
        strict: security.supplemental_groups_policy() == v1::SupplementalGroupsPolicy::Strict,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageConfig;

    fn image() -> ResolvedImage {
        let config = ImageConfig {
            entrypoint: vec!["/entry".into()],
            cmd: vec!["default".into()],
            env: vec!["A=image".into(), "B=image".into(), "PATH=/bin".into()],
            user: "app".into(),
            ..Default::default()
        };
        ResolvedImage { config, ..Default::default() }
    }

    fn plan(config: &v1::ContainerConfig) -> cri::Result<ContainerSpec> {
        container(ContainerInput {
            id: "c1",
            config,
            sandbox: &v1::PodSandboxConfig::default(),
            sandbox_dir: &SandboxDir("/s".into()),
            hostname: "web-0",
            image: &image(),
            volume_images: &BTreeMap::new(),
            cgroups: Folders::default(),
            view: &CgroupView::V2,
            devices: vec![],
            seccomp: false,
        })
    }

    #[test]
    fn command_and_args_follow_the_kubernetes_table() {
        let of = |command: &[&str], args: &[&str]| {
            let own = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
            plan(&v1::ContainerConfig { command: own(command), args: own(args), ..Default::default() }).unwrap().args
        };
        assert_eq!(of(&[], &[]), ["/entry", "default"]);
        assert_eq!(of(&[], &["x"]), ["/entry", "x"]);
        assert_eq!(of(&["/c"], &[]), ["/c"]);
        assert_eq!(of(&["/c"], &["x"]), ["/c", "x"]);
    }

    #[test]
    fn the_containers_variables_win_over_the_images() {
        let envs = vec![v1::KeyValue { key: "B".into(), value: b"pod=1".to_vec() }];
        let env = plan(&v1::ContainerConfig { envs, ..Default::default() }).unwrap().env;
        assert_eq!(env, ["PATH=/bin", "HOSTNAME=web-0", "A=image", "B=pod=1"]);
    }

    #[test]
    fn what_cannot_be_met_is_refused() {
        let with = |security: v1::LinuxContainerSecurityContext| {
            let linux = v1::LinuxContainerConfig { resources: None, security_context: Some(security) };
            plan(&v1::ContainerConfig { linux: Some(linux), ..Default::default() })
        };
        let userns =
            v1::NamespaceOption { userns_options: Some(v1::UserNamespace { mode: 0, ..Default::default() }), ..Default::default() };
        assert!(with(v1::LinuxContainerSecurityContext { namespace_options: Some(userns), ..Default::default() }).is_err());
        assert!(with(v1::LinuxContainerSecurityContext { run_as_user: Some(v1::Int64Value { value: -1 }), ..Default::default() }).is_err());
        let nul = v1::ContainerConfig { args: vec!["a\0b".into()], ..Default::default() };
        assert!(plan(&nul).is_err());
    }
}
