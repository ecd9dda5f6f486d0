//! Goal: whatever happens to nodes and functions, rounds settle.

use super::*;

/// Nodes die, come back and leave, versions come, fail and go: whatever happens, all settles, and no function
/// that has a ready replica loses its last one by a plan. (`settle` asserts both.)
#[test]
fn churn_always_settles() {
    let seed: u64 = rand::random();
    println!("seed {seed}, and the nine after it");
    (0..10).for_each(|more| drop(churn(seed.wrapping_add(more))));
}

#[test]
fn a_seed_of_churn_replays() {
    assert_eq!(churn(7).hash(), churn(7).hash());
}

fn churn(seed: u64) -> ClusterState {
    let mut random = seed;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut world = World::of(5);
    for _ in 0..200 {
        let nodes = u64::try_from(world.asked.state.nodes().count()).unwrap();
        let (id, name) = (NodeId::new(1 + next(nodes)), next(8));
        match next(8) {
            0 => drop(world.asked.run(Command::MarkNode { node: id, state: NodeState::Dead })),
            1 | 2 => drop(world.asked.run(Command::MarkNode { node: id, state: NodeState::Alive })),
            3 => {
                let zone = ["a", "b", "c"][usize::try_from(next(3)).unwrap()];
                world.asked.run(Command::RegisterNode { node: node(zone) });
            }
            4 => {
                let version = world.asked.deploy(&format!("f{name}"), u8::try_from(next(200)).unwrap());
                if next(3) == 0 {
                    world.broken.insert((version, id));
                }
            }
            5 => drop(world.silent.insert(id)),
            6 => drop(world.silent.remove(&id)),
            _ => world.broken.clear(),
        }
        // Some rounds find the last one half done.
        if next(2) == 0 {
            world.work();
            let plan = world.plan();
            world.apply(&plan);
        }
        world.work();
        world.settle();
    }
    world.asked.state
}
