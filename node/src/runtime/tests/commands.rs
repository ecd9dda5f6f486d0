//! Commands answer as CGI programs do.

use coracle_proto::spec::Draft;
use coracle_proto::status::Code;
use http_body_util::BodyExt as _;

use super::fixture::{Fixture, Function, collect, env, eventually, get, post};
use super::guests::command;

#[tokio::test]
async fn commands_of_both_kinds_count_words() {
    let fixture = Fixture::new();
    for file in ["c-wc.wasm", "rust-wc-wasip1.wasm", "rust-wc.command.component.wasm"] {
        let draft = Draft { env: env(&[("WHO", "tester")]), args: vec!["x".into()], ..Draft::default() };
        let function = fixture.guest(file, draft).await;
        let answer = fixture.call(&function, post("/", "one two\nthree\n")).await.unwrap();
        assert_eq!(answer.response.headers()["content-type"], "text/plain; charset=utf-8");
        let (status, body) = collect(answer).await.unwrap();
        println!("{file}: {body}");
        assert_eq!(status, 200, "{file}");
        assert!(body.contains("tester") && body.contains("\"words\":3"), "{file}: {body}");
    }
}

async fn deploy(fixture: &Fixture, text: &str, start: &str) -> Function {
    fixture.deploy("command", &command(text, start), Draft::default()).await.unwrap()
}

#[tokio::test]
async fn a_header_block_is_honoured() {
    let fixture = Fixture::new();
    let text = r"Status: 201 Created\0d\0ax-a: b\0d\0a\0d\0abody";
    let function = deploy(&fixture, text, "(call $print (i32.const 1024) (i32.const 35))").await;
    let answer = fixture.call(&function, get("/")).await.unwrap();
    assert_eq!(answer.response.headers()["x-a"], "b");
    assert_eq!(collect(answer).await.unwrap(), (201, "body".to_owned()));
    let function =
        deploy(&fixture, r"Status: none\0a\0a", "(call $print (i32.const 1024) (i32.const 14))").await;
    assert_eq!(fixture.get(&function, "/").await.unwrap_err().code(), Code::InvalidResponse);
}

#[tokio::test]
async fn a_failing_exit_is_an_error_until_output_flows_and_then_an_aborted_body() {
    let fixture = Fixture::new();
    let print = "(call $print (i32.const 1024) (i32.const 4))";
    for (status, told) in
        [("3", "3"), ("125", "125"), ("126", "126"), ("200", "200"), ("255", "255"), ("-1", "-1")]
    {
        for before in ["", print] {
            let exit = format!("{before} (call $exit (i32.const {status}))");
            let function = deploy(&fixture, "half", &exit).await;
            let error = fixture.call(&function, get("/")).await.unwrap_err();
            assert_eq!(error.code(), Code::FunctionFailed, "{status}: {error}");
            assert_eq!(error.to_string(), format!("the function exited with status {told}"));
            let said = format!("the call failed: the function exited with status {told} (function-failed)");
            assert!(fixture.lines.all().last().unwrap().ends_with(&said), "{:?}", fixture.lines.all());
        }
    }

    let flowing = format!("{print} (call $sleep (i64.const 200000000)) (call $exit (i32.const 3))");
    let function = deploy(&fixture, "half", &flowing).await;
    let mut body = fixture.call(&function, get("/")).await.unwrap().response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    assert_eq!(body.frame().await.unwrap().unwrap_err().code(), Code::FunctionFailed);
    assert!(body.frame().await.is_none());
    let said = "the answer broke off: the function exited with status 3 (function-failed)";
    assert!(fixture.lines.all().last().unwrap().ends_with(said), "{:?}", fixture.lines.all());

    let function = deploy(&fixture, "fine", &format!("{print} (call $exit (i32.const 0))")).await;
    let lines = fixture.lines.all().len();
    assert_eq!(fixture.get(&function, "/").await.unwrap(), (200, "fine".to_owned()));
    assert_eq!(fixture.lines.all().len(), lines, "what is whole is not worth a line");
}

#[tokio::test]
async fn output_that_flows_is_streamed() {
    let fixture = Fixture::new();
    let flowing = "(call $print (i32.const 1024) (i32.const 3)) (call $sleep (i64.const 200000000))
        (call $print (i32.const 1027) (i32.const 3))";
    let function = deploy(&fixture, "onetwo", flowing).await;
    let mut body = fixture.call(&function, get("/")).await.unwrap().response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    assert_eq!(fixture.runtime.stats().running, 1, "it still runs");
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
    assert!(body.frame().await.is_none());
    eventually("its instance is freed", || fixture.runtime.stats().running == 0).await;
}
