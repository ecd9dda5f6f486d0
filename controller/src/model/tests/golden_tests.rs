//! Goal: what this format wrote once is read for ever, and written again with the same bytes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use coracle_proto::codec::{Door, outcome_from_wire, outcome_to_wire};
use coracle_proto::id::{Digest, Epoch, GroupId, NodeId, RequestId, Revision, StoreId, VersionNumber};
use coracle_proto::pb;
use coracle_proto::record::{
    Addresses, DataGroup, Function, Kind, NamespaceRecord, Node, NodeState, Outcome, Record, Remembered,
    Replica, Role, Route, SLOTS, SlotTable, Version, Weight,
};
use coracle_proto::spec::{Draft, FunctionSpec, Retry, ReuseDraft};
use coracle_proto::status::{Code, Refusal};
use prost::Message as _;

use crate::model::samples::{Asked, CLUSTER, deploy_at, deploy_granting, envelope, function, version};
use crate::model::{Command, Envelope, Placement, Switch, codec};

/// As written by the first program that had the format: `WHAT NAME HEX` a line. A later format gets a file of its
/// own; lines of this one are never changed.
const FORMAT_1: &str = include_str!("golden/format_1.txt");
/// Decisions of a term, and what raises the format and keeps the time.
const FORMAT_2: &str = include_str!("golden/format_2.txt");
/// Routes that a function grants.
const FORMAT_3: &str = include_str!("golden/format_3.txt");
/// Functions whose instances are used again.
const FORMAT_4: &str = include_str!("golden/format_4.txt");
/// Data groups, and nodes that have their replicas.
const FORMAT_5: &str = include_str!("golden/format_5.txt");
/// Functions that are granted buckets, queues and topics.
const FORMAT_6: &str = include_str!("golden/format_6.txt");
/// What was written with the seventh format beside that: functions that were granted buckets of blobs, and programs that events call.
const FORMAT_7: &str = include_str!("golden/format_7.txt");

fn weight(version: u64, weight: u32) -> Weight {
    Weight { version: VersionNumber::new(version), weight }
}

fn node() -> Node {
    Node {
        id: NodeId::new(3),
        name: "n3".into(),
        roles: [Role::Controller, Role::Gateway].into(),
        zone: "a".into(),
        version: "0.1.0".into(),
        addresses: Addresses {
            grpc: "10.0.0.3:7400".into(),
            admin: "10.0.0.3:7401".into(),
            data: "10.0.0.3:7402".into(),
            http: "10.0.0.3:8080".into(),
            store: String::new(),
        },
        state: NodeState::Leaving,
        registered: Revision::new(4),
        slots: 8,
        memory_bytes: 1 << 33,
        store: StoreId::UNKNOWN,
    }
}

fn spec() -> FunctionSpec {
    FunctionSpec::new(Draft {
        env: [("A".to_owned(), "1".to_owned()), ("B".to_owned(), String::new())].into(),
        args: vec!["-v".into()],
        hosts: vec!["api.example:443".into()],
        replicas: 3,
        retry: Retry::Never,
        ..Draft::default()
    })
    .unwrap()
}

fn records() -> Vec<Record> {
    let cluster = Asked::cluster(1).state.cluster().unwrap().clone();
    let route: coracle_proto::route::RouteSpec = "shop.example/a/*".parse().unwrap();
    vec![
        Record::Cluster(cluster),
        Record::Namespace(NamespaceRecord { name: "shop".parse().unwrap(), created: Revision::new(5) }),
        Record::Node(node()),
        Record::Function(Function {
            id: function("shop/a"),
            latest: VersionNumber::new(3),
            traffic: vec![weight(1, 9), weight(2, 1)],
            next: vec![weight(3, 1)],
            routes: vec![route.clone()],
            route_grants: vec![],
            created_ms: 1,
            updated_ms: 2,
            updated: Revision::new(7),
        }),
        Record::Version(Version {
            id: version("shop/a", 3),
            digest: Digest::new([7; 32]),
            size: 1000,
            kind: Kind::CommandComponent,
            spec: spec(),
            created_ms: 3,
            trace: "00-aa-bb-01".into(),
        }),
        Record::Route(Route { spec: route, function: function("shop/a") }),
        Record::Replica(Replica {
            version: version("shop/a", 3),
            node: NodeId::new(3),
            epoch: Epoch::new(8),
        }),
        Record::Remembered(Remembered {
            request: RequestId::new(9),
            revision: Revision::new(6),
            outcome: Outcome::Done,
        }),
    ]
}

fn outcomes() -> Vec<Outcome> {
    vec![
        Outcome::Done,
        Outcome::NodeRegistered(NodeId::new(3)),
        Outcome::Deployed { version: VersionNumber::new(2), unchanged: true },
        Outcome::Assigned { added: 1, dropped: 2, switched: 3 },
        Outcome::Rejected(Refusal::new(Code::RouteConflict, "taken")),
    ]
}

fn commands() -> Vec<Command> {
    let placement = Placement {
        version: version("shop/a", 3),
        add: vec![NodeId::new(1)],
        drop: vec![(NodeId::new(2), Epoch::new(5))],
    };
    vec![
        Command::CreateCluster { name: "boat".into(), first: node(), voters_wanted: 3 },
        Command::RegisterNode { node: node() },
        Command::UpdateNode { node: node() },
        Command::MarkNode { node: NodeId::new(3), state: NodeState::Dead },
        Command::RemoveNode { node: NodeId::new(3) },
        deploy_at("shop/a", 7, &["/a", "/b/*"]),
        Command::SetTraffic { function: function("shop/a"), traffic: vec![weight(1, 1)] },
        Command::DeleteFunction { function: function("shop/a") },
        Command::Assign {
            placements: vec![placement],
            switches: vec![Switch { function: function("shop/a"), updated: Revision::new(7) }],
        },
        Command::SetVotersWanted { voters: 5 },
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The variant's name.
fn name(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn asked(command: Command, term: Option<u64>) -> String {
    let (name, what) = (name(&command), if term.is_some() { "decision" } else { "envelope" });
    let envelope = Envelope {
        request: RequestId::new(11),
        since: Revision::new(2),
        random: 77,
        expected: Revision::new(1),
        trace: "00-aa-bb-01".into(),
        term,
        ..envelope(command)
    };
    assert_eq!(envelope.cluster, CLUSTER);
    format!("{what} {name} {}\n", hex(&codec::encode(&envelope)))
}

/// What this program writes: one line of each kind there is.
fn written() -> String {
    let record = |it: &Record| format!("record {} {}\n", name(it), hex(&codec::record(it)));
    let outcome =
        |it: &Outcome| format!("outcome {} {}\n", name(it), hex(&outcome_to_wire(it).encode_to_vec()));
    let records = records().iter().map(record).collect::<String>();
    let outcomes = outcomes().iter().map(outcome).collect::<String>();
    records + &outcomes + &commands().into_iter().map(|it| asked(it, None)).collect::<String>()
}

/// What it writes that came with the second format.
fn written_2() -> String {
    let mark = Command::MarkNode { node: NodeId::new(3), state: NodeState::Dead };
    let new = [Command::RaiseFormat { format: 2 }, Command::KeepTime, mark];
    new.into_iter().map(|it| asked(it, Some(7))).collect()
}

/// What it writes that came with the third format.
fn written_3() -> String {
    let grants = ["shop", "*"].map(|grant| grant.parse().unwrap()).to_vec();
    let functions = records().into_iter().filter_map(|it| match it {
        Record::Function(function) => {
            let granting = Record::Function(Function { route_grants: grants.clone(), ..function });
            Some(format!("record Function {}\n", hex(&codec::record(&granting))))
        }
        _ => None,
    });
    let deploy = deploy_granting("shop/a", &["/a", "/b/*"], &["shop", "*"]);
    functions.collect::<String>() + &asked(deploy, None)
}

/// What it writes that came with the fourth format.
fn written_4() -> String {
    let reuse = Some(ReuseDraft { calls: 7, age_ms: 2000 });
    written_with(&FunctionSpec::new(Draft { reuse, ..Draft::default() }).unwrap())
}

/// What it writes that came with the sixth format.
fn written_6() -> String {
    let (keyvalue, publish) = (vec!["images".into(), "colours:read".into()], vec!["done".into()]);
    written_with(&FunctionSpec::new(Draft { keyvalue, publish, ..Draft::default() }).unwrap())
}

/// What it writes that came with the seventh format.
fn written_7() -> String {
    let blobs = vec!["uploads:read".into(), "thumbs".into()];
    let spec = FunctionSpec::new(Draft { blobs, ..Draft::default() }).unwrap();
    written_with(&spec)
        + &written_as(&FunctionSpec::new(Draft::default()).unwrap(), Some(Kind::EventComponent))
}

/// A version with a spec, and its deploy.
fn written_with(with: &FunctionSpec) -> String {
    written_as(with, None)
}

/// The same, of a kind of program.
fn written_as(with: &FunctionSpec, of: Option<Kind>) -> String {
    let versions = records().into_iter().filter_map(|it| match it {
        Record::Version(version) => {
            let kind = of.unwrap_or(version.kind);
            let record = Record::Version(Version { spec: with.clone(), kind, ..version });
            Some(format!("record Version {}\n", hex(&codec::record(&record))))
        }
        _ => None,
    });
    let mut deploy = deploy_at("shop/a", 1, &["/a"]);
    if let Command::Deploy { spec, kind, .. } = &mut deploy {
        (*spec, *kind) = (with.clone(), of.unwrap_or(*kind));
    }
    versions.collect::<String>() + &asked(deploy, None)
}

/// What it writes that came with the fifth format.
fn written_5() -> String {
    let mut keeping = node();
    keeping.roles.insert(Role::Store);
    keeping.addresses.store = "10.0.0.3:7403".into();
    let (id, revision) = (GroupId::new(1), Revision::new(9));
    let members = [NodeId::new(1), NodeId::new(3)];
    let records = [
        Record::Node(keeping.clone()),
        Record::Group(DataGroup { id, members: members.into(), revision, begun: true }),
        Record::Slots(SlotTable { groups: vec![id; SLOTS], revision }),
    ];
    let mut text = String::new();
    for record in records {
        writeln!(text, "record {} {}", name(&record), hex(&codec::record(&record))).unwrap();
    }
    text + &asked(Command::RegisterNode { node: keeping.clone() }, None)
        + &asked(Command::UpdateNode { node: keeping }, None)
        + &asked(Command::SetGroup { group: id, members: members.into(), begun: false }, Some(7))
}

#[test]
fn what_older_formats_wrote_is_read_and_written_again_with_the_same_bytes() {
    let formats = [FORMAT_1, FORMAT_2, FORMAT_3, FORMAT_4, FORMAT_5, FORMAT_6, FORMAT_7];
    for line in formats.iter().flat_map(|format| format.lines()) {
        let [what, name, hex] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let stored = bytes(hex);
        let again = match what {
            "record" => {
                let wire = pb::Record::decode(&stored[..]).unwrap();
                codec::record(&Record::try_from(wire).unwrap())
            }
            "outcome" => {
                let wire = pb::Outcome::decode(&stored[..]).unwrap();
                outcome_to_wire(&outcome_from_wire(wire).unwrap()).encode_to_vec()
            }
            "envelope" | "decision" => codec::encode(&codec::decode(&stored, Door::Disk).unwrap()).to_vec(),
            other => panic!("'{other}' is no kind of line"),
        };
        assert_eq!(again, stored, "{what} {name} is written otherwise now");
    }
}

/// Fails when something new is not in the files, or when the same is written in another way.
#[test]
fn the_golden_files_have_everything() {
    let kinds = |text: &str| -> BTreeSet<String> {
        text.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
    };
    for (golden, written) in [
        (FORMAT_1, written()),
        (FORMAT_2, written_2()),
        (FORMAT_3, written_3()),
        (FORMAT_4, written_4()),
        (FORMAT_5, written_5()),
        (FORMAT_6, written_6()),
        (FORMAT_7, written_7()),
    ] {
        assert_eq!(kinds(golden), kinds(&written), "add what is missing of:\n{written}");
        assert_eq!(golden, written, "this program would write:\n{written}");
    }
}
