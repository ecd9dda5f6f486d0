//! Uploads that are refused, each with its code, and with the name or number that is wrong.

use coracle_proto::spec::Draft;
use coracle_proto::status::{Code, Refusal};

use super::fixture::{Fixture, guest};
use super::guests::http;
use crate::runtime::engine;
use crate::runtime::host::Release;

async fn refused(wasm: &[u8]) -> Refusal {
    let fixture = Fixture::new();
    let (_, path) = fixture.write(wasm);
    let refusal = fixture.runtime.check(&path).await.unwrap_err();
    println!("{}: {}", refusal.code, refusal.message);
    refusal
}

async fn refused_wat(text: &str) -> Refusal {
    refused(&wat::parse_str(text).unwrap()).await
}

#[tokio::test]
async fn what_is_no_function() {
    let refusal = refused(&guest("zig-pure.wasm")).await;
    assert_eq!(refusal.code, Code::UnsupportedModule);
    assert!(refusal.message.contains("'_start'") && refusal.message.contains("'fib'"), "{}", refusal.message);
    assert_eq!(refused(b"#!/bin/sh").await.code, Code::NotWasm);
    assert_eq!(refused(b"").await.code, Code::NotWasm);
    assert_eq!(refused(b"\0asm\x01\0\0\0garbage").await.code, Code::NotWasm);
    let torn = guest("hello-min.component.wasm");
    assert_eq!(refused(&torn[..torn.len() / 2]).await.code, Code::NotWasm);
    assert_eq!(refused_wat("(component)").await.code, Code::UnsupportedModule);
}

#[tokio::test]
async fn what_could_never_begin() {
    const EXIT: &str = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    for (text, named) in [
        (
            r#"(module (memory (export "memory") 1) (func (export "_start") (param i32)))"#.to_owned(),
            "1 parameters",
        ),
        (r#"(module (func (export "_start") (result i32) (i32.const 0)))"#.to_owned(), "returns 1 values"),
        (format!(r#"(module {EXIT} (func (export "_start") (call $exit (i32.const 0))))"#), "no memory"),
        (format!(r#"(module {EXIT} (memory 1) (func (export "_start")))"#), "no memory"),
        (format!(r#"(module {EXIT} (memory (export "mem") 1) (func (export "_start")))"#), "'memory'"),
        (r#"(module (memory (export "_start") 1))"#.to_owned(), "this one exports '_start'"),
    ] {
        let refusal = refused_wat(&text).await;
        assert_eq!(refusal.code, Code::UnsupportedModule, "{text}");
        assert!(refusal.message.contains(named), "{text}: {}", refusal.message);
    }
    let fixture = Fixture::new();
    let (_, path) = fixture.write(&wat::parse_str(r#"(module (func (export "_start")))"#).unwrap());
    assert_eq!(fixture.runtime.check(&path).await.unwrap().memory_min, 0, "it needs no memory");
}

#[tokio::test]
async fn memory_that_is_there_from_the_start_is_told() {
    let fixture = Fixture::new();
    for (text, mib) in [
        (r#"(module (memory (export "memory") 4096) (func (export "_start")))"#, 256),
        (r#"(module (memory 16) (memory (export "memory") 32) (func (export "_start")))"#, 3),
        (r#"(module (table 131072 funcref) (func (export "_start")))"#, 1),
        // Which of its modules are instantiated nobody knows at a glance: the largest counts.
        (
            r#"(component (core module $one (memory 32)) (core module $two (memory 48) (func (export "run") (result i32) (i32.const 0)))
            (core instance (instantiate $one)) (core instance $two (instantiate $two))
            (func $run (result (result)) (canon lift (core func $two "run")))
            (instance $run (export "run" (func $run))) (export "wasi:cli/run@0.2.0" (instance $run)))"#,
            3,
        ),
    ] {
        let (_, path) = fixture.write(&wat::parse_str(text).unwrap());
        assert_eq!(fixture.runtime.check(&path).await.unwrap().memory_min, mib << 20, "{text}");
    }
}

#[tokio::test]
async fn what_listens_for_connections_is_told_and_taken() {
    let fixture = Fixture::new();
    let listens = |name: &str| {
        format!(
            r#"(component (core module $m (import "wasi:sockets/tcp@0.2.6" "{name}" (func (param i32 i32)))
              (memory (export "memory") 1) (func (export "run") (result i32) (i32.const 0)))
            (core module $other (func (export "run") (result i32) (i32.const 0)))
            (core instance $two (instantiate $other))
            (func $run (result (result)) (canon lift (core func $two "run")))
            (instance $run (export "run" (func $run))) (export "wasi:cli/run@0.2.0" (instance $run)))"#
        )
    };
    let go = |name: &str| {
        format!(
            r#"(module (memory (export "memory") 1) (data (i32.const 0) "{name}\00") (func (export "_start")))"#
        )
    };
    for (text, told) in [
        (listens("[method]tcp-socket.start-listen"), true),
        (listens("[method]tcp-socket.start-connect"), false),
        (go("net/http.(*Server).Serve"), true),
        (go("net/http.(*Client).Do"), false),
    ] {
        let (_, path) = fixture.write(&wat::parse_str(&text).unwrap());
        assert_eq!(fixture.runtime.check(&path).await.unwrap().listens.is_some(), told, "{text}");
    }
}

#[tokio::test]
async fn what_is_made_for_another_release_is_told_so() {
    for (text, named) in [
        (r#"(component (instance $it) (export "wasi:http/handler@0.3.0" (instance $it)))"#, "WASI 0.3.0"),
        (r#"(component (import "wasi:cli/stdin@0.3.1" (instance)))"#, "'wasi:cli/stdin@0.3.1'"),
        (
            r#"(component (import "wasi:io/streams@0.2.0-rc-2023-11-10" (instance)))"#,
            "WASI 0.2.0-rc-2023-11-10",
        ),
    ] {
        let refusal = refused_wat(text).await;
        assert_eq!(refusal.code, Code::UnsupportedModule, "{text}");
        assert!(
            refusal.message.contains(named) && refusal.message.contains("0.2 runs here"),
            "{}",
            refusal.message
        );
    }
    let text = r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
        (func $greet (canon lift (core func $i "f"))) (export "greet" (func $greet)))"#;
    let refusal = refused_wat(text).await;
    assert!(refusal.message.contains("this one exports 'greet'"), "{}", refusal.message);
}

#[tokio::test]
async fn code_that_was_compiled_elsewhere() {
    let code = engine::compiling(Release::Wasip2)
        .unwrap()
        .precompile_component(&guest("hello-min.component.wasm"))
        .unwrap();
    let refusal = refused(&code).await;
    assert_eq!(refusal.code, Code::NotWasm);
    assert!(refusal.message.contains("compiled before"), "{}", refusal.message);
}

#[tokio::test]
async fn imports_that_nobody_provides_are_named() {
    let refusal = refused_wat(r#"(module (import "env" "magic" (func)) (func (export "_start")))"#).await;
    assert_eq!(refusal.code, Code::UnsatisfiedImport);
    assert!(refusal.message.contains("'env.magic'"), "{}", refusal.message);
    let text = r#"(module (import "wasi_snapshot_preview1" "fly" (func)) (func (export "_start")))"#;
    let refusal = refused_wat(text).await;
    assert_eq!(refusal.code, Code::UnsatisfiedImport);
    assert!(refusal.message.contains("'wasi_snapshot_preview1.fly'"), "{}", refusal.message);
    let refusal = refused_wat(
        r#"(component (import "shop:cart/basket@1.0.0" (instance))
            (instance $run) (export "wasi:cli/run@0.2.0" (instance $run)))"#,
    )
    .await;
    assert_eq!(refusal.code, Code::UnsatisfiedImport);
    assert!(refusal.message.contains("'shop:cart/basket@1.0.0'"), "{}", refusal.message);
    // Of a package with versions of its own, which is no release of WASI.
    for import in
        ["wasi:keyvalue/store@0.2.0", "wasi:keyvalue/batch@0.3.0", "wasmcloud:messaging/consumer@0.3.0"]
    {
        let text = format!(
            r#"(component (import "{import}" (instance))
                (instance $run) (export "wasi:cli/run@0.2.0" (instance $run)))"#
        );
        let refusal = refused_wat(&text).await;
        assert_eq!(refusal.code, Code::UnsatisfiedImport);
        for named in
            [import, "wasi:keyvalue 0.2.0-draft2 (store,", "wasmcloud:messaging 0.2.0 (", "wasi:blobstore"]
        {
            assert!(refusal.message.contains(named), "{named}: {}", refusal.message);
        }
    }
}

/// A name is whatever its author likes: it is not to look like a line of somebody's log, nor to move a terminal's cursor.
#[tokio::test]
async fn names_are_shown_on_one_line() {
    for text in [
        r#"(module (import "env" "a\0aERROR b\1b[2J" (func)) (func (export "_start")))"#,
        r#"(module (import "e\0dn\0av" "magic" (func)) (func (export "_start")))"#,
        r#"(module (func (export "a\0ab\e2\80\ae")))"#,
    ] {
        let refusal = refused_wat(text).await;
        assert!(refusal.message.contains("\\n"), "{}", refusal.message);
        assert!(!refusal.message.contains(['\n', '\r', '\u{1b}', '\u{202e}']), "{:?}", refusal.message);
    }
}

#[tokio::test]
async fn imports_of_the_right_name_and_the_wrong_type() {
    let fixture = Fixture::new();
    let text = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param f64)))
        (memory (export "memory") 1) (func (export "_start")))"#;
    let refusal = fixture.deploy("odd", &wat::parse_str(text).unwrap(), Draft::default()).await.unwrap_err();
    assert_eq!(refusal.code, Code::UnsatisfiedImport);
    assert!(refusal.message.contains("proc_exit"), "{}", refusal.message);
}

#[tokio::test]
async fn proposals_that_are_off() {
    for text in [
        r#"(module (memory i64 1) (func (export "_start")))"#,
        r#"(module (memory 1 1 shared) (func (export "_start")))"#,
        r#"(module (type (struct (field i32))) (func (export "_start")))"#,
        r#"(module (tag (param i32)) (func (export "_start")))"#,
    ] {
        let refusal = refused_wat(text).await;
        assert_eq!(refusal.code, Code::FeatureNotAllowed, "{text}");
    }
}

#[tokio::test]
async fn compile_bombs() {
    let around = |open: &str, count: usize, close: &str| {
        format!(r#"(module (func (export "_start") {}{}))"#, open.repeat(count), close.repeat(count))
    };
    let loops = refused_wat(&around("(loop ", 200, ")")).await;
    assert_eq!(
        (loops.code, loops.message.as_str()),
        (Code::ModuleTooComplex, "65 loops inside each other, at most 64")
    );
    let blocks = refused_wat(&around("block ", 6000, "end ")).await;
    assert!(blocks.message.contains("blocks inside each other"), "{}", blocks.message);
    let text = format!(r#"(module (func (export "_start") (local {})))"#, "i32 ".repeat(50_000));
    let locals = refused_wat(&text).await;
    assert_eq!(locals.message, "50000 locals in one function, at most 5000");
    let functions = refused_wat(&format!(r#"(module {})"#, "(func)".repeat(100_001))).await;
    assert_eq!(functions.message, "100001 functions, at most 100000");
    let tables = format!(
        r#"(module (func (export "_start") {}))"#,
        format!("(br_table {} (i32.const 0))", "0 ".repeat(1000)).repeat(201)
    );
    assert!(refused_wat(&tables).await.message.contains("branch targets"));
}

#[tokio::test]
async fn good_guests_pass() {
    let fixture = Fixture::new();
    let (_, path) = fixture.write(&http(""));
    assert!(fixture.runtime.check(&path).await.is_ok());
}
