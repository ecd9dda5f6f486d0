//! Clients of a few values of one bucket, who note what they did and were told.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::pb;
use coracle_proto::pb::admin_client::AdminClient;
use coracle_proto::pb::key_value_client::KeyValueClient;
use coracle_proto::status::{Code, Refusal};
use coracle_tests::Cluster;
use coracle_tests::registers::{Did, History};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

/// Longer than an election.
const ANSWER_MAX: Duration = Duration::from_secs(3);
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// What all clients share.
pub(crate) struct World {
    cluster_id: Bytes,
    group: u32,
    stores: Vec<String>,
    pub(crate) history: Mutex<History>,
}

impl World {
    pub(crate) async fn of(cluster: &Cluster) -> Arc<Self> {
        let _ = cluster.run(&["kv", "create", "default/registers"]).await.ok();
        let groups = cluster.run(&["cluster", "groups", "-o", "json"]).await.ok().json();
        let mut admin =
            AdminClient::connect(format!("http://{}", cluster.nodes[0].grpc)).await.expect("a node");
        let info = admin.info(pb::InfoRequest {}).await.expect("an answer").into_inner();
        Arc::new(Self {
            cluster_id: info.cluster_id,
            group: groups[0]["group"].as_u64().and_then(|group| u32::try_from(group).ok()).expect("a group"),
            stores: cluster.nodes.iter().map(|node| node.store.clone()).collect(),
            history: Mutex::new(History::default()),
        })
    }

    fn place(&self) -> Option<pb::KvPlace> {
        let (namespace, bucket) = ("default".to_owned(), "registers".to_owned());
        Some(pb::KvPlace { cluster_id: self.cluster_id.clone(), group: self.group, namespace, bucket })
    }

    fn note(&self, key: u32, asked: Instant, did: Did) {
        self.history.lock().expect("nobody panics with it").did(&key.to_string(), asked, did);
    }

    pub(crate) fn count(&self) -> usize {
        self.history.lock().expect("nobody panics with it").counts().0
    }
}

/// A client, which asks one store until that one does not answer as a leader does.
pub(crate) struct Client {
    world: Arc<World>,
    number: u32,
    asks: usize,
    luck: SmallRng,
    /// What it has seen of each key last: the value, and its version.
    seen: Vec<Option<(u64, u64)>>,
    next: u64,
    /// From one operation to the next one: none where the history is to be short in time, not in length.
    pause: Duration,
}

impl Client {
    /// One of several, each with a number of its own.
    pub(crate) fn new(world: &Arc<World>, number: u32, seed: u64, keys: usize, pause: Duration) -> Self {
        let luck = SmallRng::seed_from_u64(seed ^ u64::from(number));
        let (world, asks, seen) = (Arc::clone(world), number as usize, vec![None; keys]);
        Self { world, number, asks, luck, seen, next: 1, pause }
    }

    fn store(&self) -> KeyValueClient<Channel> {
        let address = &self.world.stores[self.asks % self.world.stores.len()];
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        KeyValueClient::new(endpoint.timeout(ANSWER_MAX).connect_timeout(CONNECT_MAX).connect_lazy())
    }

    /// Reads, writes, and after each answer that it did not understand reads until it is answered again: few outcomes stay open.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut store = self.store();
        while !stop.is_cancelled() {
            let key = self.luck.random_range(0..self.seen.len() as u32);
            let asked = Instant::now();
            let did = match self.luck.random_range(0..10) {
                0..4 => self.read(&mut store, key).await,
                9 => self.delete(&mut store, key).await,
                turn => self.set(&mut store, key, turn < 7).await,
            };
            let (told, answered) = match did {
                Ok(did) => (Some(did), true),
                Err(open) => (open, false),
            };
            if let Some(did) = told {
                self.world.note(key, asked, did);
            }
            if !answered {
                store = self.finds(key, &stop).await;
            }
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await; // a bounded poll: so fast it is
            }
        }
    }

    /// Whoever answers a read.
    async fn finds(&mut self, key: u32, stop: &CancellationToken) -> KeyValueClient<Channel> {
        loop {
            self.asks += 1;
            let mut store = self.store();
            let asked = Instant::now();
            if let Ok(did) = self.read(&mut store, key).await {
                self.world.note(key, asked, did);
                return store;
            }
            if stop.is_cancelled() {
                return store;
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // a bounded poll
        }
    }

    async fn read(&mut self, store: &mut KeyValueClient<Channel>, key: u32) -> Result<Did, Option<Did>> {
        let (place, key_bytes) = (self.world.place(), key.to_string().into());
        let request = pb::KvGetRequest { place, key: key_bytes, version_only: false };
        let reply = store.get(request).await.map_err(|_| None)?.into_inner();
        let found = reply.entry.map(|entry| {
            let text = String::from_utf8(entry.value.to_vec()).expect("digits");
            (text.parse().expect("a number"), entry.version)
        });
        self.seen[key as usize] = found;
        Ok(Did::Read(found.map(|(value, _)| value)))
    }

    /// Sets a value that nobody else sets: always, or where the key is as it was seen last.
    async fn set(
        &mut self,
        store: &mut KeyValueClient<Channel>,
        key: u32,
        always: bool,
    ) -> Result<Did, Option<Did>> {
        let value = u64::from(self.number) << 32 | self.next;
        self.next += 1;
        let seen = self.seen[key as usize];
        let wanted = (!always).then(|| seen.map_or(0, |(_, version)| version));
        let found = seen.map(|(value, _)| value);
        let set = pb::KvSet { value: value.to_string().into(), ttl_ms: 0, if_version: wanted };
        match self.write(store, key, pb::kv_write::Change::Set(set)).await {
            Ok(reply) => {
                self.seen[key as usize] = Some((value, reply.get_ref().written[0].version));
                Ok(if always { Did::Set(value) } else { Did::Swapped(found, value) })
            }
            Err(status) if Refusal::from_status(&status).code == Code::Conflict => Ok(Did::NotSwapped(found)),
            Err(_) => Err(Some(if always { Did::MaybeSet(value) } else { Did::MaybeSwapped(found, value) })),
        }
    }

    async fn delete(&mut self, store: &mut KeyValueClient<Channel>, key: u32) -> Result<Did, Option<Did>> {
        match self.write(store, key, pb::kv_write::Change::Delete(pb::KvDelete {})).await {
            Ok(_) => Ok(Did::Deleted),
            Err(_) => Err(Some(Did::MaybeDeleted)),
        }
    }

    async fn write(
        &self,
        store: &mut KeyValueClient<Channel>,
        key: u32,
        change: pb::kv_write::Change,
    ) -> Result<Response<pb::KvWriteReply>, Status> {
        let writes = vec![pb::KvWrite { key: key.to_string().into(), change: Some(change) }];
        store.write(pb::KvWriteRequest { place: self.world.place(), request: None, writes, hops: 0 }).await
    }
}
