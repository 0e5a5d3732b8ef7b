//! Asking the node's own resolvers: bounded in flight, bounded in memory, quick to say no.

mod cache;
mod upstream;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_proto::op::{Message, Query as MessageQuery};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record as MessageRecord};
use stdx::{Clock, Prng};
use tokio::sync::Semaphore;

use crate::name::WireName;
use crate::server::Transport;
use crate::wire::{Code, Query, Response, is_truncated, truncate};
use crate::zone::TTL;
use cache::Cache;

/// Questions to resolvers at one time; further ones are answered with "server failure" at once, so that a dead
/// resolver cannot pile up work.
const MAX_IN_FLIGHT: usize = 512;
/// How long one resolver has for one try.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Asks other name servers and remembers what they said.
#[derive(Debug)]
pub struct Forwarder {
    servers: ArcSwap<Vec<SocketAddr>>,
    cache: Mutex<Cache>,
    slots: Semaphore,
    prng: Prng,
    clock: Clock,
}

impl Forwarder {
    /// A forwarder to `servers`, asked in this order. Without servers every answer is "server failure".
    pub fn new(servers: Vec<SocketAddr>, prng: Prng, clock: Clock) -> Self {
        Self {
            servers: ArcSwap::from_pointee(servers),
            cache: Mutex::new(Cache::default()),
            slots: Semaphore::new(MAX_IN_FLIGHT),
            prng,
            clock,
        }
    }

    /// Asks other servers from now on.
    pub fn set_servers(&self, servers: Vec<SocketAddr>) {
        if **self.servers.load() != servers {
            self.servers.store(servers.into());
        }
    }

    /// The response to `packet`; `None` when it is no query.
    pub async fn resolve(&self, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let query = Query::parse(packet).ok()?;
        let limit = transport.limit().unwrap_or_else(|| query.udp_limit());
        let key = Cache::key(&query);
        if let Some(known) = self.cache().get(&key, self.clock.now(), &query) {
            return Some(fit(known, &query, limit));
        }
        let Some(response) = self.ask(&query, transport).await else {
            return Some(Response::to(&query, Code::ServerFailure, false).finish(&query, limit));
        };
        if !is_truncated(&response) {
            self.cache().put(key, &response, self.clock.now());
        }
        Some(fit(response, &query, limit))
    }

    /// The response to `packet`, whose name is another name for `target` outside the cluster.
    pub async fn follow(&self, packet: &[u8], target: &WireName, transport: Transport) -> Option<Vec<u8>> {
        let query = Query::parse(packet).ok()?;
        let limit = transport.limit().unwrap_or_else(|| query.udp_limit());
        let mut asked = Message::from_vec(packet).ok()?;
        let original = asked.queries.first()?.clone();
        let mut name = Name::from_ascii(target.to_string()).ok()?;
        name.set_fqdn(true);
        asked.queries = vec![MessageQuery::query(name.clone(), original.query_type())];
        let answers = self.resolve_message(&asked, transport).await;
        let mut response = Response::to(&query, Code::NoError, true);
        let alias = crate::zone::Record::named(crate::wire::RecordType::CNAME, target);
        response.answer(&[0xc0, 12], &alias, TTL);
        if answers.is_empty() {
            return Some(response.finish(&query, limit));
        }
        let mut whole = Message::from_vec(&response.bytes).ok()?;
        whole.answers.clear();
        whole.add_answer(MessageRecord::from_rdata(original.name().clone(), TTL, RData::CNAME(CNAME(name))));
        whole.add_answers(answers);
        Some(fit(whole.to_vec().ok()?, &query, limit))
    }

    async fn resolve_message(&self, asked: &Message, transport: Transport) -> Vec<MessageRecord> {
        let Ok(packet) = asked.to_vec() else { return Vec::new() };
        // Boxed: the future would otherwise hold itself.
        let response = Box::pin(self.resolve(&packet, transport)).await;
        response.and_then(|bytes| Message::from_vec(&bytes).ok()).map(|m| m.answers).unwrap_or_default()
    }

    async fn ask(&self, query: &Query<'_>, transport: Transport) -> Option<Vec<u8>> {
        let _slot = self.slots.try_acquire().ok()?;
        let servers = self.servers.load_full();
        for server in servers.iter() {
            let id = u16::try_from(self.prng.below(1 << 16)).unwrap_or(0);
            let asked = tokio::time::timeout(PATIENCE, upstream::ask(query, *server, id, transport));
            match asked.await {
                Ok(Ok(response)) => return Some(response),
                Ok(Err(e)) => tracing::debug!(%server, error = %e, "a resolver did not answer"),
                Err(_) => tracing::debug!(%server, "a resolver did not answer in time"),
            }
        }
        None
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        // The cache is whole between statements; a panic cannot leave it half-written.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fit(mut response: Vec<u8>, query: &Query<'_>, limit: usize) -> Vec<u8> {
    if response.len() > limit {
        truncate(&mut response, crate::wire::HEADER + query.question_bytes().len());
    }
    response
}
