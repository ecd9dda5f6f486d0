//! A name server on this machine that answers what it is told to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::super::ask::Asker;
use super::super::upstream::Upstream;

pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
pub(super) const AAAA: u16 = 28;

/// A question.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) id: u16,
    /// In small letters, without a dot at the end.
    pub(super) name: String,
    pub(super) kind: u16,
    /// As it came.
    question: Vec<u8>,
}

/// Of each question its name, kind and id: one that is sent again has the same id.
type Questions = BTreeSet<(String, u16, u16)>;

/// It ends when it is dropped.
pub(super) struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Questions>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl NameServer {
    /// One that sends what `answer` makes of a question.
    pub(super) async fn start(answer: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        Self::start_behind(Arc::new(Semaphore::new(Semaphore::MAX_PERMITS >> 1)), answer).await
    }

    /// The same, once the gate has a permit for it.
    pub(super) async fn start_behind(
        gate: Arc<Semaphore>,
        answer: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let (address, asked) = (socket.local_addr().unwrap(), Arc::<Mutex<Questions>>::default());
        let seen = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut message = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut message).await {
                let question = Asked::parse(&message[..length]);
                seen.lock().unwrap().insert((question.name.clone(), question.kind, question.id));
                let (answers, socket, gate) = (answer(&question), Arc::clone(&socket), Arc::clone(&gate));
                tokio::spawn(async move {
                    gate.acquire().await.unwrap().forget();
                    for answer in answers {
                        socket.send_to(&answer, from).await.unwrap();
                    }
                });
            }
        });
        Self { address, asked, tasks: vec![task] }
    }

    /// Answers by TCP too, at the same port. None where somebody else has it.
    pub(super) async fn with_tcp(
        mut self,
        answer: impl Fn(&Asked) -> Vec<u8> + Send + 'static,
    ) -> Option<Self> {
        let listener = TcpListener::bind(self.address).await.ok()?;
        self.tasks.push(tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            while let Ok(length) = stream.read_u16().await {
                let mut message = vec![0; length.into()];
                stream.read_exact(&mut message).await.unwrap();
                let answer = answer(&Asked::parse(&message));
                stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        }));
        Some(self)
    }

    pub(super) fn upstream(&self) -> Arc<Upstream> {
        let mut server = NameServerConfig::udp_and_tcp(self.address.ip());
        server.connections.iter_mut().for_each(|connection| connection.port = self.address.port());
        let config = ResolverConfig::from_name_servers(vec![server]);
        Upstream::new(Asker::new(config, ResolverOpts::default()).unwrap())
    }

    pub(super) fn asked(&self) -> Vec<(String, u16, u16)> {
        self.asked.lock().unwrap().iter().cloned().collect()
    }

    /// How often it was asked for such addresses of a name.
    pub(super) fn times(&self, name: &str, kind: u16) -> usize {
        self.asked.lock().unwrap().iter().filter(|(its, of, _)| its == name && *of == kind).count()
    }
}

impl Asked {
    fn parse(message: &[u8]) -> Self {
        let (mut at, mut labels) = (12, Vec::new());
        while message[at] != 0 {
            let length = usize::from(message[at]);
            labels.push(String::from_utf8_lossy(&message[at + 1..=at + length]).to_ascii_lowercase());
            at += 1 + length;
        }
        Self {
            id: u16::from_be_bytes([message[0], message[1]]),
            name: labels.join("."),
            kind: u16::from_be_bytes([message[at + 1], message[at + 2]]),
            question: message[12..at + 5].to_vec(),
        }
    }

    fn named(&self, name: &str) -> Self {
        let mut question = encoded(name);
        question.extend([self.kind.to_be_bytes(), 1_u16.to_be_bytes()].concat());
        Self { question, ..self.clone() }
    }
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// A record of `name`, or of the name that was asked for.
pub(super) fn record(name: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = if name.is_empty() { vec![0xc0, 12] } else { name.to_vec() };
    bytes.extend([kind.to_be_bytes(), 1_u16.to_be_bytes()].concat());
    bytes.extend(ttl.to_be_bytes());
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

/// A whole answer with a response code.
pub(super) fn reply(asked: &Asked, code: u8, records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = asked.id.to_be_bytes().to_vec();
    bytes.extend([0x81, 0x80 | code, 0, 1]);
    bytes.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(&asked.question);
    bytes.extend(records.concat());
    bytes
}

/// That there is nothing, with how long that may be kept.
pub(super) fn nothing(asked: &Asked, code: u8, ttl: u32) -> Vec<u8> {
    let mut bytes = reply(asked, code, &[]);
    // One record of the zone's authority.
    bytes[9] = 1;
    let mut soa = vec![0, 0];
    soa.extend([1_u32, 1, 1, 1, ttl].map(u32::to_be_bytes).concat());
    bytes.extend(record(&[0], 6, ttl, &soa));
    bytes
}

/// That the answer was too long for UDP.
pub(super) fn cut_short(asked: &Asked) -> Vec<u8> {
    let mut bytes = reply(asked, 0, &[]);
    bytes[2] |= 2;
    bytes
}

/// Lies, and the address that is found nevertheless.
pub(super) const LIES: [(&str, Option<&str>); 12] = [
    ("truth", Some("10.0.0.1")),
    ("wrong-id", Some("10.0.0.1")),
    ("wrong-id-only", None),
    ("other-question", Some("10.0.0.1")),
    ("other-name", None),
    ("beside", Some("10.0.0.1")),
    ("cut", None),
    ("says-cut", None),
    ("noise", None),
    ("counts", None),
    ("pointers", None),
    ("ring", None),
];

/// What a liar says for the names in [`LIES`], and noise for all others.
pub(super) fn lie(asked: &Asked) -> Vec<Vec<u8>> {
    let address = |name: &[u8], last| match asked.kind {
        A => record(name, A, 60, &[10, 0, 0, last]),
        kind => record(name, kind, 60, &[last; 16]),
    };
    let truth = || {
        if asked.kind == A { reply(asked, 0, &[address(&[], 1)]) } else { reply(asked, 0, &[]) }
    };
    let with_id = |id: u16, mut bytes: Vec<u8>| {
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        bytes
    };
    let evil = |asked: &Asked| reply(asked, 0, &[record(&[], A, 60, &[6, 6, 6, 6])]);
    match asked.name.strip_suffix(".example").unwrap_or_default() {
        "truth" => vec![truth()],
        "wrong-id" => vec![with_id(asked.id ^ 1, evil(asked)), vec![1], Vec::new(), truth()],
        "wrong-id-only" => vec![with_id(asked.id ^ 1, evil(asked))],
        "other-question" => vec![evil(&asked.named("evil.example")), truth()],
        "other-name" => vec![reply(asked, 0, &[address(&encoded("evil.example"), 6)])],
        "beside" if asked.kind == A => {
            vec![reply(asked, 0, &[address(&encoded("evil.example"), 6), address(&[], 1)])]
        }
        "beside" => vec![truth()],
        "cut" => vec![evil(asked)[..evil(asked).len() - 3].to_vec()],
        "says-cut" => vec![cut_short(asked)],
        "noise" => vec![with_id(asked.id, vec![0xff; 400])],
        "counts" => {
            let mut bytes = evil(asked);
            bytes[4..12].fill(0xff);
            vec![bytes]
        }
        "pointers" => {
            let mut bytes = reply(asked, 0, &[]);
            bytes[7] = 1;
            let here = u8::try_from(bytes.len()).unwrap();
            bytes.extend([0xc0, here, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 6, 6, 6, 6]);
            vec![bytes]
        }
        "ring" => vec![reply(
            asked,
            0,
            &[
                record(&[], CNAME, 60, &encoded("b.example")),
                record(&encoded("b.example"), CNAME, 60, &encoded("ring.example")),
            ],
        )],
        seed => noise(asked, seed),
    }
}

/// Bytes by chance behind the right id: none at all, or in the place of a right answer's records.
fn noise(asked: &Asked, seed: &str) -> Vec<Vec<u8>> {
    let seed: u64 = seed.trim_start_matches("seed").parse().unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let mut bytes = vec![0; usize::try_from(random.next_u32() % 300).unwrap() + 1];
    random.fill_bytes(&mut bytes);
    let mut message = if seed.is_multiple_of(2) {
        asked.id.to_be_bytes().to_vec()
    } else {
        let mut message = reply(asked, 0, &[]);
        message[7] = 3;
        message
    };
    message.extend(bytes);
    vec![message]
}
