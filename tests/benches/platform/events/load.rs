//! The load on ourselves: a process of its own, as that on the others is one (`peers/main.go`), by the same rules and with the same
//! answer. A client has a connection of its own and sends its next request when the last one was answered; in a stream one
//! connection has so many messages under way.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::pb;
use coracle_proto::pb::key_value_client::KeyValueClient;
use coracle_proto::pb::queues_client::QueuesClient;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use super::calls;

/// The longest that anybody waits for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Keys of one client, in turn.
const KEYS: u32 = 16;

/// What is asked again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Messages, each acknowledged before the next one of its client.
    Publish,
    /// Messages of one stream; so many in one request.
    Stream(usize),
    /// Values are set.
    Set,
    /// Values are read, as new as what was acknowledged before.
    Get,
    /// Messages at a rate, each run; told is how long after it was due the function began.
    Start,
    /// Messages as fast as they are taken, until the last one's run is settled.
    Settle,
}

impl Work {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Publish => "publish".into(),
            Self::Stream(batch) => format!("stream-{batch}"),
            Self::Set => "set".into(),
            Self::Get => "get".into(),
            Self::Start => "start".into(),
            Self::Settle => "settle".into(),
        }
    }

    fn parse(name: &str) -> Self {
        match name {
            "publish" => Self::Publish,
            "set" => Self::Set,
            "get" => Self::Get,
            "start" => Self::Start,
            "settle" => Self::Settle,
            stream => {
                let batch = stream.strip_prefix("stream-").and_then(|batch| batch.parse().ok());
                Self::Stream(batch.unwrap_or_else(|| panic!("no work is called {name}")))
            }
        }
    }
}

/// How much is asked, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amount {
    /// Clients; of a stream messages under way; of what is run messages a second, or altogether.
    pub(crate) clients: usize,
    /// What is not measured, at first.
    pub(crate) warm: Duration,
    pub(crate) measure: Duration,
}

/// Whom, and what of it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `HOST:PORT` of the leading store.
    pub(crate) store: String,
    pub(crate) cluster_id: Bytes,
    pub(crate) group: u32,
    /// The queue or bucket.
    pub(crate) name: String,
}

#[derive(Debug)]
pub(super) struct Plan {
    work: Work,
    pub(super) amount: Amount,
    pub(super) bytes: usize,
    pub(super) target: Target,
    /// How far the group was, by the last reply: a request that says less is refused where outcomes of then are forgotten.
    sequence: AtomicU64,
}

impl Target {
    /// The words of a command line, as [`run`] takes them.
    pub(crate) fn arguments(&self, work: Work, amount: Amount, bytes: usize) -> Vec<String> {
        let hex = self.cluster_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let Amount { clients, warm, measure } = amount;
        vec![
            work.name(),
            self.store.clone(),
            hex,
            self.group.to_string(),
            self.name.clone(),
            clients.to_string(),
            warm.as_millis().to_string(),
            measure.as_millis().to_string(),
            bytes.to_string(),
        ]
    }

    pub(super) fn place(&self) -> Option<pb::EventsPlace> {
        let namespace = "default".to_owned();
        Some(pb::EventsPlace { cluster_id: self.cluster_id.clone(), group: self.group, namespace })
    }

    fn bucket(&self) -> Option<pb::KvPlace> {
        let (namespace, bucket) = ("default".to_owned(), self.name.clone());
        Some(pb::KvPlace { cluster_id: self.cluster_id.clone(), group: self.group, namespace, bucket })
    }

    pub(super) async fn connect(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.store)).expect("an address");
        endpoint.tcp_nodelay(true).connect().await.expect("a store")
    }
}

impl Plan {
    fn parse(words: &[String]) -> Self {
        let [work, store, hex, group, name, clients, warm, measure, bytes] = words else {
            panic!("not a plan: {words:?}")
        };
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
        let time = |text: &str| Duration::from_millis(text.parse().expect("milliseconds"));
        Self {
            work: Work::parse(work),
            amount: Amount { clients: clients.parse().unwrap(), warm: time(warm), measure: time(measure) },
            bytes: bytes.parse().unwrap(),
            target: Target {
                store: store.clone(),
                cluster_id: (0..hex.len()).step_by(2).map(byte).collect(),
                group: group.parse().unwrap(),
                name: name.clone(),
            },
            sequence: AtomicU64::new(0),
        }
    }

    /// Asks how far the group is.
    async fn begin(&self) {
        let channel = self.target.connect().await;
        let sequence = if matches!(self.work, Work::Set | Work::Get) {
            let (place, key) = (self.target.bucket(), key(0, 0));
            let asked = pb::KvGetRequest { place, key, version_only: true };
            answer(KeyValueClient::new(channel).get(asked)).await.sequence
        } else {
            let asked = pb::GetQueueRequest { place: self.target.place(), queue: self.target.name.clone() };
            answer(QueuesClient::new(channel).get(asked)).await.sequence
        };
        self.reached(sequence);
    }

    /// A reply has told this.
    pub(super) fn reached(&self, sequence: u64) {
        self.sequence.fetch_max(sequence, Ordering::Relaxed);
    }

    fn request(&self) -> Option<pb::KvRequest> {
        Some(pb::KvRequest { id: id(), since: self.sequence.load(Ordering::Relaxed) })
    }

    /// A request that publishes so many messages, and the first one's invocation.
    pub(super) fn publish(&self, messages: usize) -> (pb::PublishRequest, Bytes) {
        let message = |_| pb::PublishMessage {
            invocation: id(),
            body: Some(pb::EventBody { data: vec![0; self.bytes].into(), ..pb::EventBody::default() }),
            ..pb::PublishMessage::default()
        };
        let messages: Vec<_> = (0..messages).map(message).collect();
        let first = messages[0].invocation.clone();
        let request = self.request();
        let (place, to) = (self.target.place(), self.target.name.clone());
        (pb::PublishRequest { place, request, to, messages }, first)
    }
}

fn id() -> Bytes {
    rand::random::<[u8; 16]>().to_vec().into()
}

/// What a load came to.
#[derive(Debug, Default)]
pub(super) struct Took {
    pub(super) times: Vec<Duration>,
    pub(super) elapsed: Duration,
}

/// Asks, and prints a line of JSON.
pub(crate) fn run(words: &[String]) {
    let plan = Arc::new(Plan::parse(words));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let Took { mut times, elapsed } = runtime.block_on(async {
        plan.begin().await;
        match plan.work {
            Work::Publish | Work::Set | Work::Get => clients(&plan).await,
            Work::Stream(batch) => stream(&plan, batch).await,
            Work::Start => calls::start(&plan).await,
            Work::Settle => calls::settle(&plan).await,
        }
    });
    assert!(!times.is_empty(), "nothing was answered");
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_micros();
    let (count, seconds) = (times.len(), elapsed.as_secs_f64());
    println!("{}", json!({"count": count, "seconds": seconds, "p50_us": at(0.5), "p99_us": at(0.99)}));
}

/// All clients at once, each one request after the other.
async fn clients(plan: &Arc<Plan>) -> Took {
    let mut connected = Vec::new();
    for _ in 0..plan.amount.clients {
        connected.push(plan.target.connect().await);
    }
    if plan.work == Work::Get {
        for (number, channel) in connected.iter().enumerate() {
            set(plan, &mut KeyValueClient::new(channel.clone()), number, 0..KEYS).await;
        }
    }
    let begin = Instant::now() + plan.amount.warm;
    let tasks: Vec<_> = connected
        .into_iter()
        .enumerate()
        .map(|(number, channel)| tokio::spawn(client(Arc::clone(plan), channel, number, begin)))
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    Took { times, elapsed: begin.elapsed() }
}

async fn client(plan: Arc<Plan>, channel: Channel, number: usize, begin: Instant) -> Vec<Duration> {
    let (mut queues, mut values) = (QueuesClient::new(channel.clone()), KeyValueClient::new(channel));
    let (mut times, mut turn) = (Vec::new(), 0);
    loop {
        let sent = Instant::now();
        if sent >= begin + plan.amount.measure {
            return times;
        }
        match plan.work {
            Work::Set => set(&plan, &mut values, number, turn..turn + 1).await,
            Work::Get => {
                let (place, key) = (plan.target.bucket(), key(number, turn));
                let asked = values.get(pb::KvGetRequest { place, key, version_only: false });
                let entry = answer(asked).await.entry.expect("it was set");
                assert_eq!(entry.value.len(), plan.bytes);
            }
            _ => plan.reached(answer(queues.publish(plan.publish(1).0)).await.sequence),
        }
        turn += 1;
        if sent >= begin {
            times.push(sent.elapsed());
        }
    }
}

fn key(client: usize, turn: u32) -> Bytes {
    format!("key-{client}-{}", turn % KEYS).into()
}

/// Sets a client's keys of these turns, all in one request.
async fn set(plan: &Plan, values: &mut KeyValueClient<Channel>, client: usize, turns: Range<u32>) {
    let one = |turn| {
        let set = pb::KvSet { value: vec![0; plan.bytes].into(), ttl_ms: 0, if_version: None };
        pb::KvWrite { key: key(client, turn), change: Some(pb::kv_write::Change::Set(set)) }
    };
    let writes = turns.map(one).collect();
    let request = plan.request();
    let place = plan.target.bucket();
    let reply = answer(values.write(pb::KvWriteRequest { place, request, writes, hops: 0 })).await;
    plan.reached(reply.sequence);
}

/// What was answered, in time.
pub(super) async fn answer<T>(asked: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>) -> T {
    let told = tokio::time::timeout(ANSWER_MAX, asked).await.expect("an answer in time");
    told.unwrap_or_else(|status| panic!("refused: {status}")).into_inner()
}

/// One stream with so many messages in a request; a message's time is its request's.
async fn stream(plan: &Arc<Plan>, batch: usize) -> Took {
    let begin = Instant::now() + plan.amount.warm;
    let end = begin + plan.amount.measure;
    let times = publish_all(plan, batch, begin, move |_| Instant::now() < end).await;
    Took { times, elapsed: begin.elapsed() }
}

/// Publishes in one stream while it is told to go on, with as many messages under way as the plan has clients. Times are of what was sent
/// at `begin` or later.
pub(super) async fn publish_all(
    plan: &Arc<Plan>,
    batch: usize,
    begin: Instant,
    goes_on: impl Fn(usize) -> bool + Send + 'static,
) -> Vec<Duration> {
    let (under_way, sent) =
        (Arc::new(Semaphore::new(plan.amount.clients / batch)), Arc::new(Mutex::new(Vec::new())));
    let (sender, receiver) = mpsc::channel(plan.amount.clients / batch);
    let (asked, places, moments) = (Arc::clone(plan), Arc::clone(&under_way), Arc::clone(&sent));
    tokio::spawn(async move {
        let mut number = 0;
        while goes_on(number * batch) {
            places.acquire().await.unwrap().forget();
            moments.lock().unwrap().push(Instant::now());
            number += 1;
            let request = Some(asked.publish(batch).0);
            let numbered = pb::PublishNumbered { number: number as u64, request };
            sender.send(numbered).await.unwrap();
        }
    });
    let mut queues = QueuesClient::new(plan.target.connect().await);
    let mut answers = queues.publish_all(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let mut times = Vec::new();
    while let Some(told) = answers.message().await.expect("the stream goes on") {
        let Some(pb::publish_acknowledged::End::Reply(reply)) = told.end else { panic!("refused: {told:?}") };
        plan.reached(reply.sequence);
        under_way.add_permits(1);
        let sent = sent.lock().unwrap()[told.number as usize - 1];
        if sent >= begin {
            times.extend(std::iter::repeat_n(sent.elapsed(), batch));
        }
    }
    times
}
