//! Copies a log to a client, and goes on while the container runs.

use std::future::Future;
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::inotify;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncSeekExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::line::{More, Printer};
use super::{Options, tail};

/// What is sent to the client at a time.
const BLOCK: usize = 32 << 10;
/// A longer line is cut into pieces.
const LINE_MAX: usize = 1 << 20;
/// How long to wait for a word from the kernel before looking at the file and the container again.
const LOOK: Duration = Duration::from_secs(1);

/// Whether the container that writes a log has ended.
pub trait Ended: Send {
    /// Asks; called only while the log is at its end.
    fn ended(&mut self) -> impl Future<Output = bool> + Send;
}

/// Copies what the options ask for to `sink`; returns when all is copied, the limit is reached or the client is gone.
pub async fn copy(path: &Path, options: &Options, mut container: impl Ended, sink: mpsc::Sender<Bytes>) -> io::Result<()> {
    let mut first = std::fs::File::open(path)?;
    let from = options.tail.map_or(Ok(0), |lines| tail::offset(&mut first, lines))?;
    let mut reader = BufReader::with_capacity(BLOCK, File::from_std(first));
    reader.seek(SeekFrom::Start(from)).await?;
    let watch = if options.follow { Some(watch(path)?) } else { None };
    let (mut printer, mut line, mut out) = (Printer::new(options), Vec::new(), Vec::new());
    let mut last_look = false;
    loop {
        let read = reader.read_until(b'\n', &mut line).await?;
        if line.last() == Some(&b'\n') || line.len() > LINE_MAX {
            line.pop_if(|b| *b == b'\n');
            let more = printer.print(&line, &mut out);
            line.clear();
            let full = out.len() >= BLOCK || more == More::No;
            if full && sink.send(std::mem::take(&mut out).into()).await.is_err() {
                return Ok(());
            }
            if more == More::No {
                return Ok(());
            }
            continue;
        }
        if read > 0 {
            continue;
        }
        if !out.is_empty() && sink.send(std::mem::take(&mut out).into()).await.is_err() {
            return Ok(());
        }
        let Some(watch) = &watch else { return Ok(()) };
        if let Some(next) = rotated(&reader, path).await? {
            reader = next;
            continue;
        }
        if last_look {
            return Ok(());
        }
        // After its end a container writes nothing more, but what it wrote just before may not have been read.
        last_look = container.ended().await;
        if !last_look {
            tokio::select! {
                _ = wait(watch) => {}
                () = tokio::time::sleep(LOOK) => {}
                () = sink.closed() => return Ok(()),
            }
        }
    }
}

/// The new file, when the log has been moved away and opened anew.
async fn rotated(reader: &BufReader<File>, path: &Path) -> io::Result<Option<BufReader<File>>> {
    let Ok(now) = tokio::fs::metadata(path).await else { return Ok(None) };
    if reader.get_ref().metadata().await?.ino() == now.ino() {
        return Ok(None);
    }
    Ok(Some(BufReader::with_capacity(BLOCK, File::open(path).await?)))
}

fn watch(path: &Path) -> io::Result<pipe::Receiver> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    // The directory tells of writes to the file and of a new file in its place.
    let dir = path.parent().unwrap_or(path);
    inotify::add_watch(&fd, dir, inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO)?;
    // Like a pipe, it is only ever polled and read.
    pipe::Receiver::from_owned_fd_unchecked(fd)
}

async fn wait(watch: &pipe::Receiver) -> io::Result<()> {
    watch.readable().await?;
    let mut events = [0; 4096];
    // What the events say does not matter, only that there are some.
    while watch.try_read(&mut events).is_ok_and(|n| n > 0) {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    struct Flag(Arc<AtomicBool>);
    impl Ended for Flag {
        async fn ended(&mut self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn following_sees_what_is_written_and_stops_with_the_container() {
        use std::io::Write as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, "2026-01-01T00:00:00Z stdout F one\n").unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let (sink, mut got) = mpsc::channel(8);
        let task = tokio::spawn({
            let (path, flag) = (path.clone(), Flag(ended.clone()));
            async move { copy(&path, &Options { follow: true, ..Options::default() }, flag, sink).await }
        });
        assert_eq!(got.recv().await.unwrap(), "one\n");
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        writeln!(file, "2026-01-01T00:00:00Z stdout F two").unwrap();
        assert_eq!(got.recv().await.unwrap(), "two\n");
        std::fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        std::fs::write(&path, "2026-01-01T00:00:00Z stdout F three\n").unwrap();
        assert_eq!(got.recv().await.unwrap(), "three\n");
        ended.store(true, Ordering::SeqCst);
        task.await.unwrap().unwrap();
        assert_eq!(got.recv().await, None);
    }
}
