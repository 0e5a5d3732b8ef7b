//! The daemon's end of the socket to one shim: requests are numbered, answers find their asker, events go to the runtime.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};

use crate::wire::{self, Answer, Call, Event, Message, Request};

/// The longest packet of a shim: its list of running containers, for more of them than a pod can have. One buffer per pod is kept.
const MAX_REPLY: usize = 32 * 1024;

type Outcome = (Result<Answer, String>, Vec<OwnedFd>);

/// A connection to a shim.
pub(super) struct Shim {
    socket: AsyncFd<OwnedFd>,
    next: AtomicU64,
    waiting: Mutex<Waiting>,
    ended: watch::Sender<bool>,
}

#[derive(Default)]
struct Waiting {
    replies: HashMap<u64, oneshot::Sender<Outcome>>,
    execs: HashMap<u64, oneshot::Sender<i32>>,
    /// The shim is gone; nobody may start to wait.
    gone: bool,
}

/// What a shim says by itself. [`Notice::Gone`] is the last.
pub(super) enum Notice {
    Event(Event),
    Gone,
}

impl Shim {
    /// Takes over a connected socket. Its notices come out of the receiver; its bound is small because the reader only updates maps.
    pub(super) fn new(socket: OwnedFd) -> io::Result<(Arc<Self>, mpsc::Receiver<Notice>)> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let shim = Arc::new(Self {
            socket: crate::sys::watch(socket)?,
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            ended: watch::Sender::new(false),
        });
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(read(shim.clone(), sender));
        Ok((shim, receiver))
    }

    /// Asks, and waits for the answer. Descriptors may go along both ways.
    pub(super) async fn ask(&self, call: Call, descriptors: &[OwnedFd]) -> cri::Result<(Answer, Vec<OwnedFd>)> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.lock();
            if waiting.gone {
                return Err(gone());
            }
            waiting.replies.insert(id, sender);
        }
        if let Err(e) = self.send(&Request { id, call }, descriptors).await {
            self.lock().replies.remove(&id);
            return Err(cri::Error::Internal(format!("speaking to the pod's shim: {e}")));
        }
        let (result, descriptors) = receiver.await.map_err(|_| gone())?;
        result.map(|answer| (answer, descriptors)).map_err(cri::Error::Internal)
    }

    async fn send(&self, request: &Request, descriptors: &[OwnedFd]) -> io::Result<()> {
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(|fd| fd.as_fd()).collect();
        loop {
            let mut ready = self.socket.writable().await?;
            match ready.try_io(|socket| wire::send(socket.get_ref(), request, &borrowed)) {
                Ok(outcome) => return outcome,
                Err(_would_block) => {}
            }
        }
    }

    /// Registers for the end of an exec. Must come before the exec is asked for.
    pub(super) fn expect_exec(&self, exec: u64) -> oneshot::Receiver<i32> {
        let (sender, receiver) = oneshot::channel();
        self.lock().execs.insert(exec, sender);
        receiver
    }

    /// Gives up waiting for an exec that never started.
    pub(super) fn forget_exec(&self, exec: u64) {
        self.lock().execs.remove(&exec);
    }

    /// Waits until the shim has closed its side.
    pub(super) async fn closed(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone() -> cri::Error {
    cri::Error::Unavailable("the pod's shim is gone".to_owned())
}

async fn read(shim: Arc<Shim>, notices: mpsc::Sender<Notice>) {
    let mut buffer = vec![0u8; MAX_REPLY];
    loop {
        let received = async {
            loop {
                let mut ready = shim.socket.readable().await?;
                match ready.try_io(|socket| wire::receive::<Message>(socket.get_ref(), &mut buffer)) {
                    Ok(outcome) => return outcome,
                    Err(_would_block) => {}
                }
            }
        };
        let notice = match received.await {
            Ok(Some((Message::Reply { id, result }, descriptors))) => {
                if let Some(asker) = shim.lock().replies.remove(&id) {
                    let _ = asker.send((result, descriptors));
                }
                continue;
            }
            Ok(Some((Message::Event(Event::ExecExited { exec, code }), _))) => {
                if let Some(waiter) = shim.lock().execs.remove(&exec) {
                    let _ = waiter.send(code);
                }
                continue;
            }
            Ok(Some((Message::Event(event), _))) => Notice::Event(event),
            Ok(None) => break,
            Err(e) => {
                tracing::warn!("reading from a pod's shim: {e}");
                break;
            }
        };
        if notices.send(notice).await.is_err() {
            return;
        }
    }
    let waiting = {
        let mut waiting = shim.lock();
        waiting.gone = true;
        std::mem::take(&mut waiting.replies)
    };
    drop(waiting);
    shim.lock().execs.clear();
    shim.ended.send_replace(true);
    let _ = notices.send(Notice::Gone).await;
}
