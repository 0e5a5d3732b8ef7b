//! Does the pod network's steps in the kernel.

use super::plan::{LINK_PREFIX, Step, Steps, TABLE, Tolerate};
use crate::error::Result;
use crate::netns::Namespace;
use crate::nft::{Family, Nft as _, NftSocket, Op};
use crate::rt::Router;
use crate::sysctl;

/// The kernel of one node's network namespace.
#[derive(Debug)]
pub struct KernelSteps {
    node: Namespace,
    router: Router,
    nft: NftSocket,
}

impl KernelSteps {
    /// Opens the sockets in `node`.
    pub fn open(node: &Namespace) -> Result<Self> {
        Ok(Self { node: node.clone(), router: Router::open_in(node)?, nft: NftSocket::open_in(node)? })
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Node(request, tolerate) => match (self.router.apply(request), tolerate) {
                (Err(e), Tolerate::Present) if e.is_present() => Ok(()),
                (Err(e), Tolerate::Absent) if e.is_absent() => Ok(()),
                (outcome, _) => outcome,
            },
            Step::Pod(namespace, requests) => {
                let requests = requests.clone();
                namespace.run(move || {
                    let mut router = Router::open()?;
                    requests.iter().try_for_each(|request| router.apply(request))
                })?
            }
            Step::Setting(name, value) => {
                let (name, value) = (name.clone(), *value);
                self.node.run(move || sysctl::set(&name, value))?
            }
            Step::Rules(ops) => match self.nft.commit(Family::Ipv4, TABLE, ops) {
                Err(e) if e.is_absent() && matches!(ops.as_slice(), [Op::DeleteTable { .. }]) => Ok(()),
                outcome => outcome,
            },
        }
    }
}

impl Steps for KernelSteps {
    fn run(&mut self, steps: &[Step]) -> Result<()> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn pod_links(&mut self) -> Result<Vec<String>> {
        let names = self.router.links()?.into_iter().map(|link| link.name);
        Ok(names.filter(|name| name.starts_with(LINK_PREFIX)).collect())
    }
}
