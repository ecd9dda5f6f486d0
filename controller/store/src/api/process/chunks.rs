//! What groups show of the chunks of their blobs.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Of;
use crate::chunks::Shown;
use crate::replicas::Replicas;

/// What a gauge shows.
type Read = fn(&Shown) -> u64;

pub(super) fn register(registry: &mut Registry, replicas: &Replicas) {
    let all = replicas.chunks();
    let families: [(&str, &str, Read); 5] = [
        ("chunk_bytes", "Size of the chunks of blobs on the disk", |it| it.bytes),
        (
            "chunks_missing",
            "Chunks that blobs and parts have and that are not here, as far as it was looked",
            |it| it.missing,
        ),
        ("chunks_whole", "Whether all that some member has was here at the last look", |it| {
            it.is_whole().into()
        }),
        ("chunks_repaired", "Chunks that were fetched from other members since the start", |it| it.repaired),
        ("chunks_damaged", "Chunks that were found to be damaged since the start", |it| it.damaged),
    ];
    for (name, help, of) in families {
        let family = Family::<Of, Gauge>::default();
        for (group, shown) in &all {
            let value = i64::try_from(of(shown)).unwrap_or(i64::MAX);
            family.get_or_create(&Of { group: group.get() }).set(value);
        }
        registry.register(name, help, family);
    }
}
