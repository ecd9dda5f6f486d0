//! Uploads that are refused, each with its code, and with the name or number that is wrong.

use coracle_proto::spec::Draft;
use coracle_proto::status::{Code, Refusal};

use super::fixture::{Fixture, guest};
use super::guests::http;
use crate::runtime::engine;

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
async fn code_that_was_compiled_elsewhere() {
    let code = engine::compiling().unwrap().precompile_component(&guest("hello-min.component.wasm")).unwrap();
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
    let text = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param f64))) (func (export "_start")))"#;
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
