//! Goal: the API refuses what takes a part of another namespace's subtree, until it is granted, and tells what stays with others.

use coracle_proto::pb::{
    Deploy, DeployReply, DeployRequest, GetFunctionRequest, RollbackRequest, RouteMatch, RouteSpec,
};
use coracle_proto::status::{Code, Refusal};

use crate::running::{Running, found, until};
use crate::worker::worker;

const DIGEST: [u8; 32] = [7; 32];

/// One that answers at the path and below; at its name where that is empty.
fn deploy(namespace: &str, name: &str, path: &str, grants: &[&str]) -> Deploy {
    let route = RouteSpec { path: path.into(), r#match: RouteMatch::Prefix.into(), ..RouteSpec::default() };
    Deploy {
        namespace: namespace.into(),
        name: name.into(),
        routes: Some(route).filter(|route| !route.path.is_empty()).into_iter().collect(),
        route_grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
        digest: DIGEST.to_vec().into(),
        ..Deploy::default()
    }
}

async fn ask(node: &Running, deploy: Deploy) -> Result<DeployReply, Refusal> {
    let request = DeployRequest { context: None, deploy: Some(deploy) };
    let reply = node.admin().deploy(request).await;
    reply.map(tonic::Response::into_inner).map_err(|status| Refusal::from_status(&status))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_subtree_belongs_to_the_namespace_of_its_root_until_it_grants_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = found(dir.path());
    // Grants are commands of the third format, which the leader raises when every controller reads it.
    until("a cluster of the newest format", async || {
        node.status().await.filter(|it| it.quorum && it.format >= 3)
    })
    .await;
    let workers = [worker(&node, 101).await, worker(&node, 102).await];
    for worker in &workers {
        worker.holds(&DIGEST, 0);
    }
    ask(&node, deploy("", "hello", "", &[])).await.unwrap();
    for (namespace, name, path) in [("mallory", "m", "/hello/login"), ("hello", "world", "")] {
        let refused = ask(&node, deploy(namespace, name, path, &[])).await.unwrap_err();
        println!("{refused}");
        assert_eq!(refused.code, Code::RouteConflict, "{refused}");
        for part in [
            "would take calls from '/hello/*' of 'hello'",
            "namespace 'default'",
            "choose another route",
            &format!("--grant-routes {namespace}"),
        ] {
            assert!(refused.message.contains(part), "{part}: {refused}");
        }
    }
    let granting = ask(&node, deploy("", "hello", "", &["mallory"])).await.unwrap();
    assert_eq!((granting.version, granting.unchanged), (2, false), "a grant is content");
    ask(&node, deploy("mallory", "m", "/hello/login", &[])).await.unwrap();
    let refused = ask(&node, deploy("hello", "world", "", &[])).await.unwrap_err();
    assert_eq!(refused.code, Code::RouteConflict, "{refused}");

    // A grant that ends takes nothing back, and whoever has the root is told; so is one that comes later.
    let ended = ask(&node, deploy("", "hello", "", &[])).await.unwrap();
    println!("{:?}", ended.notes);
    assert!(ended.notes[0].contains("'/hello/login/*' go to 'mallory/m'"), "{:?}", ended.notes);
    let again = ask(&node, deploy("mallory", "m", "/hello/login", &[])).await.unwrap();
    assert!(again.unchanged && again.notes.is_empty());
    let wide = ask(&node, deploy("site", "all", "/", &["*"])).await.unwrap();
    assert_eq!(wide.notes, [] as [&str; 0], "who is granted anything is nobody to be told of");

    // Routes are the function's: a rollback brings none back.
    ask(&node, deploy("mallory", "m", "/mine", &[])).await.unwrap();
    let back =
        RollbackRequest { namespace: "mallory".into(), name: "m".into(), ..RollbackRequest::default() };
    node.admin().rollback(back).await.unwrap();
    let get =
        GetFunctionRequest { namespace: "mallory".into(), name: "m".into(), ..GetFunctionRequest::default() };
    let function = node.admin().get_function(get).await.unwrap().into_inner().function.unwrap();
    assert_eq!(function.routes.iter().map(|route| route.path.as_str()).collect::<Vec<_>>(), ["/mine"]);
    let refused = ask(&node, deploy("mallory", "m", "/hello/login", &[])).await.unwrap_err();
    assert_eq!(refused.code, Code::RouteConflict, "what was given up is not its own any more: {refused}");
    node.stop().await;
}
