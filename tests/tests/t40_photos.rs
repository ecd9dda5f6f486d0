//! Goal: photos that are uploaded are on the page, each once, with a small one beside it, until they are deleted, though the node
//! that leads the store is killed in the middle; and the records of the calls tell what they have cost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle_tests::{Cluster, Options, within};
use rustix::process::Signal;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");
const PHOTOS: [&str; 3] = ["cat.png", "2026/dog.png", "a bird & more.png"];
/// A photo's two calls where a node was lost: its claims lapse after 15 s, and its replicas move after 10.
const AFTER_A_LOSS: Duration = Duration::from_secs(60);
/// Pixels on a side of what is uploaded, and of what comes of it.
const SIDES: (u32, u32) = (600, 320);

/// A cluster with the example deployed.
async fn cluster() -> Cluster {
    let cluster = Cluster::with(PROGRAM, Options { nodes: 3, stores: true, ..Options::default() }).await;
    let _ = cluster.leading_store(3).await;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root").join("examples/photos");
    let deployed = cluster.run(&["deploy", example.to_str().expect("a text")]).await.ok();
    println!("{}", deployed.stderr);
    cluster
}

/// CRC-32 as PNG has it (ISO 3309).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// Adler-32 (RFC 1950).
fn adler(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    (high << 16) | low
}

/// A gray PNG of that many pixels on a side, not compressed.
fn png(side: u32, shade: u8) -> Vec<u8> {
    let mut lines = Vec::new();
    for line in 0..side {
        lines.push(0); // No filter.
        lines
            .extend((0..side).map(|at| shade.wrapping_add(u8::try_from((line ^ at) & 0x3f).expect("small"))));
    }
    let mut data = vec![0x78, 0x01];
    let mut blocks = lines.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).expect("a block");
        data.push(u8::from(blocks.peek().is_none()));
        data.extend(length.to_le_bytes());
        data.extend((!length).to_le_bytes());
        data.extend(block);
    }
    data.extend(adler(&lines).to_be_bytes());
    let mut header = Vec::new();
    header.extend(side.to_be_bytes());
    header.extend(side.to_be_bytes());
    header.extend([8, 0, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, content) in [(b"IHDR", &header), (b"IDAT", &data), (b"IEND", &Vec::new())] {
        let whole = [kind.as_slice(), content].concat();
        png.extend(u32::try_from(content.len()).expect("small").to_be_bytes());
        png.extend(&whole);
        png.extend(crc(&whole).to_be_bytes());
    }
    png
}

/// The width that a PNG says it has.
fn width(png: &[u8]) -> u32 {
    assert!(png.starts_with(b"\x89PNG"), "no PNG: {:?}", png.get(..8));
    u32::from_be_bytes(png[16..20].try_into().expect("four bytes"))
}

/// `coracle blob put uploads KEY FILE`, until it works: the leader may have been killed just now.
async fn upload(cluster: &Cluster, key: &str, file: &Path) {
    let file = file.to_str().expect("a text");
    within(Duration::from_secs(40), &format!("{key} is uploaded"), async || {
        let done = cluster.run(&["blob", "put", "uploads", key, file]).await;
        if done.code == 0 { Ok(()) } else { Err(done.stderr) }
    })
    .await;
}

/// The page, as anybody gets it.
async fn page(cluster: &Cluster, node: usize) -> Result<String, String> {
    let answer = cluster.client.get(&cluster.url(node, "/.coracle/blob/site/index.html")).await?;
    if answer.status == 200 { Ok(answer.text()) } else { Err(format!("{} {}", answer.status, answer.text())) }
}

/// A key as the page has it in text, and in a path.
fn shown(key: &str) -> (String, String) {
    (key.replace('&', "&amp;"), key.replace(' ', "%20").replace('&', "%26"))
}

/// Records of a function's calls.
async fn records(cluster: &Cluster, function: &str) -> Vec<Value> {
    let list = ["invocation", "list", "--function", function, "--limit", "100", "-o", "json"];
    cluster.run(&list).await.ok().json().as_array().expect("a list").clone()
}

/// Deletes a photo, and waits until nothing shows it.
async fn delete(cluster: &Cluster, key: &str) {
    let _ = cluster.run(&["blob", "delete", "uploads", key]).await.ok();
    let path = shown(key).1;
    within(AFTER_A_LOSS, "what is deleted is not on the page", async || {
        let page = page(cluster, 0).await?;
        if page.contains(&path) { Err(page) } else { Ok(()) }
    })
    .await;
    let small = cluster.client.get(&cluster.url(0, &format!("/.coracle/blob/thumbs/{path}"))).await;
    assert_eq!(small.expect("an answer").status, 404, "{key}");
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_are_on_the_page_once_whoever_dies() {
    let mut cluster = cluster().await;
    let files: Vec<PathBuf> =
        (0_u8..3).map(|number| cluster.folder().join(format!("photo-{number}.png"))).collect();
    for (shade, file) in (0..).step_by(60).zip(&files) {
        fs::write(file, png(SIDES.0, shade)).expect("written");
    }

    upload(&cluster, PHOTOS[0], &files[0]).await;
    let leader = cluster.leading_store(3).await;
    upload(&cluster, PHOTOS[1], &files[1]).await;
    cluster.nodes[leader].signal_all(Signal::KILL);
    cluster.nodes[leader].kill();
    upload(&cluster, PHOTOS[2], &files[2]).await;
    cluster.nodes[leader].start();
    cluster.wait_alive(3).await;

    let page = within(AFTER_A_LOSS, "all photos are on the page", async || {
        let page = page(&cluster, leader).await?;
        let missing: Vec<_> = PHOTOS.iter().filter(|key| !page.contains(&shown(key).1)).collect();
        if missing.is_empty() { Ok(page) } else { Err(format!("{missing:?} are not in {page}")) }
    })
    .await;
    for key in PHOTOS {
        let (text, path) = shown(key);
        assert_eq!(page.matches(&format!("thumbs/{path}\"")).count(), 1, "{key} in {page}");
        assert_eq!(page.matches(&format!("<figcaption>{text} (600 x 600")).count(), 1, "{key} in {page}");
        // Small ones, at every gateway, whole.
        for node in 0..3 {
            let url = cluster.url(node, &format!("/.coracle/blob/thumbs/{path}"));
            let small = cluster.client.get(&url).await.expect("an answer");
            assert_eq!((small.status.as_u16(), width(&small.body)), (200, SIDES.1), "{key}");
        }
        // What came is what was sent, and nobody gets it without a signature.
        let url = cluster.url(0, &format!("/.coracle/blob/uploads/{path}"));
        assert_eq!(cluster.client.get(&url).await.expect("an answer").status, 403, "{key}");
    }
    let served = cluster.client.get(&cluster.url(0, "/album")).await.expect("an answer");
    assert_eq!((served.status.as_u16(), served.text()), (200, page));
    let got = cluster.folder().join("got.png");
    let _ = cluster.run(&["blob", "get", "uploads", PHOTOS[1], got.to_str().expect("a text")]).await.ok();
    assert_eq!(fs::read(&got).expect("a file"), fs::read(&files[1]).expect("a file"));

    for function in ["resize", "album"] {
        let all = within(AFTER_A_LOSS, "all calls have ended", async || {
            let all = records(&cluster, function).await;
            let done = all.iter().filter(|it| it["state"] == "succeeded").count();
            if done >= PHOTOS.len() && done == all.len() { Ok(all) } else { Err(format!("{all:?}")) }
        })
        .await;
        for record in &all {
            let last = record["reports"].as_array().and_then(|it| it.last()).expect("a report");
            assert!(last["cpu_ms"].as_f64() > Some(0.0) && last["node"].as_u64() > Some(0), "{record}");
        }
    }
    let rows = cluster.run(&["kv", "list", "photos", "-o", "json"]).await.ok().json();
    assert_eq!(rows.as_array().map(Vec::len), Some(PHOTOS.len()), "{rows}");
    delete(&cluster, PHOTOS[0]).await;
    let rows = cluster.run(&["kv", "list", "photos", "-o", "json"]).await.ok().json();
    assert_eq!(rows.as_array().map(Vec::len), Some(PHOTOS.len() - 1), "{rows}");
}
