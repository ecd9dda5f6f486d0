//! What the gateway says where no function does.

use coracle_proto::id::NodeId;
use http::header::ACCEPT;
use http::{HeaderMap, Response, StatusCode};

use super::problem::page;
use crate::call::Body;
use crate::view::View;

/// Whether the gateway runs; it says nothing about controllers.
pub(super) fn health() -> Response<Body> {
    page(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned())
}

/// The answer at `/` where no function has that route.
pub(super) fn welcome(view: &View, node: NodeId, headers: &HeaderMap) -> Response<Body> {
    let state = match view.routing.content.functions().len() {
        0 => "Nothing is deployed yet.".to_owned(),
        1 => "One function is deployed, and none answers at '/'.".to_owned(),
        count => format!("{count} functions are deployed, and none answers at '/'."),
    };
    let name = view.routing.content.cluster().map_or("", |cluster| cluster.name.as_str());
    let commands = [
        ("coracle deploy hello hello.wasm", "deploys a function; it answers at /hello"),
        ("coracle function list", "shows what is deployed"),
        ("coracle route list", "shows what answers where"),
    ];
    let html =
        headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|it| it.contains("text/html"));
    if !html {
        let mut text = format!("This is node {node} of the Coracle cluster '{name}'. {state}\n\n");
        for (command, does) in commands {
            text.push_str(&format!("  {command:<34} {does}\n"));
        }
        return page(StatusCode::OK, "text/plain; charset=utf-8", text);
    }
    let rows: String = commands
        .iter()
        .map(|(command, does)| format!("<dt><code>{command}</code></dt><dd>{does}</dd>"))
        .collect();
    let text = format!(
        "<!doctype html><meta charset=utf-8><title>Coracle</title>\
         <style>body{{font:16px/1.5 system-ui;max-width:40em;margin:4em auto;padding:0 1em}}</style>\
         <h1>Coracle</h1><p>This is node {node} of the cluster <b>{}</b>. {state}</p><dl>{rows}</dl>",
        escaped(name)
    );
    page(StatusCode::OK, "text/html; charset=utf-8", text)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
