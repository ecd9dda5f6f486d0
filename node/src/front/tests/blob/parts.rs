//! Goal: a blob comes in parts, each sent again if need be, and is seen when all of them are said to be it.

use super::{Blobs, content};

fn quoted(json: &str, name: &str) -> String {
    let rest = json.split_once(&format!("\"{name}\":\"")).unwrap_or_else(|| panic!("no {name} in {json}")).1;
    rest.split_once('"').unwrap().0.to_owned()
}

#[tokio::test]
async fn an_upload_in_parts_goes_its_whole_way() {
    let blobs = Blobs::start().await;
    let said = [("content-type", "video/mp4"), ("coracle-meta-a", "b")];
    let begun = blobs.ask("POST", "b/k?uploads", &said, "").await;
    let id = quoted(begun.text(), "uploadId");
    assert_eq!((begun.status, id.len()), (200, 32), "{begun:?}");
    let (one, two) = (content(5 << 20), content(300));
    let path = |part: u32| format!("b/k?uploadId={id}&partNumber={part}");
    let put = async |part, data| {
        let answer = blobs.ask("PUT", &path(part), &[], data).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        answer.header("etag").trim_matches('"').to_owned()
    };
    let second = put(7, two.clone()).await;
    let lost = put(2, content(77)).await;
    let first = put(2, one.clone()).await;
    let open = blobs.get(&format!("b/k?uploadId={id}")).await;
    let parts = format!(
        "\"parts\":[{{\"part\":2,\"bytes\":{},\"etag\":\"{first}\"}},{{\"part\":7,\"bytes\":300,\"etag\":\"{second}\"}}]}}",
        one.len()
    );
    assert!(open.text().ends_with(&parts) && open.text().contains("\"until\":\"1970-01-08T"), "{open:?}");
    assert_eq!(blobs.get("b/k").await.problem(), (404, "blob-not-found"));
    let wrong = blobs
        .ask(
            "PUT",
            &path(3),
            &[("content-digest", "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:")],
            "x",
        )
        .await;
    assert_eq!(wrong.problem(), (400, "digest-mismatch"));
    let terms = blobs.ask("PUT", &path(3), &[("if-none-match", "*")], "x").await;
    assert_eq!(terms.problem(), (400, "bad-request"), "a part has no conditions");
    let end = async |list: String| blobs.ask("POST", &format!("b/k?uploadId={id}"), &[], list).await;
    let list = |first: &str| {
        format!("[{{\"part\":2,\"etag\":\"{first}\"}}, {{\"part\":7,\"etag\":\"\\\"{second}\\\"\"}}]")
    };
    for bad in ["[]", "{}", "[{\"part\":7,\"etag\":\"x\"}]"] {
        assert_eq!(end(bad.to_owned()).await.problem(), (400, "bad-request"), "{bad}");
    }
    assert_eq!(
        end(list(&lost)).await.problem(),
        (400, "invalid-argument"),
        "an attempt that another one replaced"
    );
    let ended = end(list(&first)).await;
    assert_eq!(ended.status, 201, "{ended:?}");
    assert!(ended.header("etag").ends_with("-2\""), "{ended:?}");
    let read = blobs.get("b/k").await;
    assert!(read.body == [one, two].concat());
    assert_eq!((read.header("content-type"), read.header("coracle-meta-a")), ("video/mp4", "b"));
    // Its sender may not have had the answer.
    let again = end(list(&first)).await;
    assert_eq!((again.status, again.header("etag")), (204, ended.header("etag")), "{again:?}");
    assert_eq!(end(list(&lost)).await.problem(), (404, "upload-not-found"), "that is another blob");
    for (method, path) in [("PUT", path(1)), ("GET", format!("b/k?uploadId={id}"))] {
        let answer = blobs.ask(method, &path, &[], list(&first)).await;
        assert_eq!(answer.problem(), (404, "upload-not-found"), "{method}");
    }
}

#[tokio::test]
async fn an_upload_is_given_up_and_is_of_one_key() {
    let blobs = Blobs::start().await;
    let id = quoted(blobs.ask("POST", "b/k?uploads", &[], "").await.text(), "uploadId");
    let other = blobs.ask("PUT", &format!("b/other?uploadId={id}&partNumber=1"), &[], "x").await;
    assert_eq!(other.problem(), (404, "upload-not-found"));
    assert!(blobs.stores.iter().all(|store| store.state().kept.taken == 0), "nothing of it was sent on");
    assert_eq!(blobs.ask("DELETE", &format!("b/k?uploadId={id}"), &[], "").await.status, 204);
    assert_eq!(
        blobs.ask("DELETE", &format!("b/k?uploadId={id}"), &[], "").await.problem(),
        (404, "upload-not-found")
    );
    assert_eq!(blobs.there(), (vec![], 0));
}
