//! Goal: a guest that tries files, sockets and names reaches none, is told so by the proper code, and sees no environment
//! but what it was granted and CGI's.

use coracle_proto::spec::Draft;

use super::fixture::{Fixture, env};

/// Prints, a character for each descriptor from 0 to 9, what `fd_prestat_get` and then what `path_open` say: `0` is
/// success, `8` is `badf`, `f` is `notdir`.
const FILES: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) ".")
  (func (export "_start") (local $fd i32)
    (loop
      (i32.store8 (i32.add (i32.const 2048) (local.get $fd))
        (i32.add (i32.const 48) (call $prestat (local.get $fd) (i32.const 64))))
      (i32.store8 (i32.add (i32.const 2058) (local.get $fd))
        (i32.add (i32.const 48) (call $open (local.get $fd) (i32.const 0) (i32.const 1024) (i32.const 1)
          (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 64))))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if 0 (i32.lt_u (local.get $fd) (i32.const 10))))
    (i32.store (i32.const 0) (i32.const 2048))
    (i32.store (i32.const 4) (i32.const 20))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[tokio::test]
async fn a_module_has_no_folder_and_opens_no_file() {
    let fixture = Fixture::new();
    let function = fixture.deploy("files", &wat::parse_str(FILES).unwrap(), Draft::default()).await.unwrap();
    let (status, said) = fixture.get(&function, "/").await.unwrap();
    let (folders, opened) = said.split_at(10);
    assert_eq!((status, folders), (200, "8888888888"), "no descriptor is a folder that was given");
    assert_eq!(opened, "8888888888", "and below none is a file opened");
}

/// Prints all of its environment.
const ENVIRONMENT: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (drop (call $sizes (i32.const 16) (i32.const 4)))
    (drop (call $get (i32.const 1024) (i32.const 65536)))
    (i32.store (i32.const 0) (i32.const 65536))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[tokio::test]
async fn the_environment_is_what_was_granted_and_cgis() {
    assert!(std::env::vars_os().count() > 0, "there is something to leak");
    let fixture = Fixture::new();
    let draft = Draft { env: env(&[("GRANTED", "yes")]), ..Draft::default() };
    let function = fixture.deploy("environment", &wat::parse_str(ENVIRONMENT).unwrap(), draft).await.unwrap();
    let (status, said) = fixture.get(&function, "/").await.unwrap();
    assert_eq!(status, 200);
    let mut names: Vec<_> = said.split_terminator('\0').map(|pair| pair.split('=').next().unwrap()).collect();
    names.sort_unstable();
    let cgi = [
        "GATEWAY_INTERFACE",
        "GRANTED",
        "HTTP_HOST",
        "PATH_INFO",
        "QUERY_STRING",
        "REMOTE_ADDR",
        "REMOTE_HOST",
        "REMOTE_PORT",
        "REQUEST_METHOD",
        "REQUEST_URI",
        "SCRIPT_NAME",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
        "SERVER_SOFTWARE",
    ];
    assert_eq!(names, cgi);
}

/// A command that ends well where `CHECK` is zero. It has `$folders` (result), `$tcp` and `$udp` (family, result),
/// `$resolve` (result) for `localhost`; results are at 8.
const SOCKETS: &str = r#"(component
  (import "wasi:filesystem/types@0.2.0" (instance $files (export "descriptor" (type (sub resource)))))
  (alias export $files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (alias outer 1 $descriptor (type $outer)) (export "descriptor" (type $file (eq $outer)))
    (export "get-directories" (func (result (list (tuple (own $file) string)))))))
  (import "wasi:sockets/network@0.2.0" (instance $net
    (export "network" (type (sub resource)))
    (type $codes (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
      "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit"
      "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset"
      "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
      "permanent-resolver-failure"))
    (export "error-code" (type (eq $codes)))
    (type $families (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $families)))))
  (alias export $net "network" (type $network))
  (alias export $net "error-code" (type $code))
  (alias export $net "ip-address-family" (type $family))
  (import "wasi:sockets/instance-network@0.2.0" (instance $own
    (alias outer 1 $network (type $outer)) (export "network" (type $net (eq $outer)))
    (export "instance-network" (func (result (own $net))))))
  (import "wasi:sockets/tcp@0.2.0" (instance $tcp (export "tcp-socket" (type (sub resource)))))
  (alias export $tcp "tcp-socket" (type $tcp-socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create-tcp
    (alias outer 1 $tcp-socket (type $s)) (export "tcp-socket" (type $socket (eq $s)))
    (alias outer 1 $code (type $c)) (export "error-code" (type $error (eq $c)))
    (alias outer 1 $family (type $f)) (export "ip-address-family" (type $fam (eq $f)))
    (export "create-tcp-socket" (func (param "address-family" $fam) (result (result (own $socket) (error $error)))))))
  (import "wasi:sockets/udp@0.2.0" (instance $udp (export "udp-socket" (type (sub resource)))))
  (alias export $udp "udp-socket" (type $udp-socket))
  (import "wasi:sockets/udp-create-socket@0.2.0" (instance $create-udp
    (alias outer 1 $udp-socket (type $s)) (export "udp-socket" (type $socket (eq $s)))
    (alias outer 1 $code (type $c)) (export "error-code" (type $error (eq $c)))
    (alias outer 1 $family (type $f)) (export "ip-address-family" (type $fam (eq $f)))
    (export "create-udp-socket" (func (param "address-family" $fam) (result (result (own $socket) (error $error)))))))
  (import "wasi:sockets/ip-name-lookup@0.2.0" (instance $lookup
    (export "resolve-address-stream" (type $stream (sub resource)))
    (alias outer 1 $network (type $n)) (export "network" (type $net (eq $n)))
    (alias outer 1 $code (type $c)) (export "error-code" (type $error (eq $c)))
    (export "resolve-addresses"
      (func (param "network" (borrow $net)) (param "name" string) (result (result (own $stream) (error $error)))))))

  (core module $libc (memory (export "memory") 1) (data (i32.const 1024) "localhost")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $libc (instantiate $libc))
  (core func $folders (canon lower (func $preopens "get-directories")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core func $network (canon lower (func $own "instance-network")))
  (core func $tcp (canon lower (func $create-tcp "create-tcp-socket") (memory (core memory $libc "memory"))))
  (core func $udp (canon lower (func $create-udp "create-udp-socket") (memory (core memory $libc "memory"))))
  (core func $resolve (canon lower (func $lookup "resolve-addresses") (memory (core memory $libc "memory"))))
  (core module $main
    (import "libc" "memory" (memory 1))
    (import "host" "folders" (func $folders (param i32)))
    (import "host" "network" (func $network (result i32)))
    (import "host" "tcp" (func $tcp (param i32 i32)))
    (import "host" "udp" (func $udp (param i32 i32)))
    (import "host" "resolve" (func $lookup (param i32 i32 i32 i32)))
    (func $resolve (param $at i32)
      (call $lookup (call $network) (i32.const 1024) (i32.const 9) (local.get $at)))
    ;; Whether the result at 8 is not the error with this code.
    (func $is_not (param $code i32) (result i32)
      (i32.or (i32.ne (i32.load8_u (i32.const 8)) (i32.const 1))
        (i32.ne (i32.load8_u (i32.const 12)) (local.get $code))))
    (func (export "run") (result i32) CHECK))
  (core instance $main (instantiate $main (with "libc" (instance $libc)) (with "host" (instance
    (export "folders" (func $folders)) (export "network" (func $network)) (export "tcp" (func $tcp))
    (export "udp" (func $udp)) (export "resolve" (func $resolve))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $run (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $run)))"#;

#[tokio::test]
async fn a_component_has_no_folder_no_socket_and_no_names() {
    const ACCESS_DENIED: u8 = 1;
    const PERMANENT_RESOLVER_FAILURE: u8 = 20;
    let fixture = Fixture::new();
    let denied = |call: &str, code: u8| format!("({call} (i32.const 8)) (call $is_not (i32.const {code}))");
    for (check, holds) in [
        ("(call $folders (i32.const 8)) (i32.load (i32.const 12))".to_owned(), true),
        (denied("call $tcp (i32.const 0)", ACCESS_DENIED), true),
        (denied("call $tcp (i32.const 1)", ACCESS_DENIED), true),
        (denied("call $udp (i32.const 0)", ACCESS_DENIED), true),
        (denied("call $udp (i32.const 1)", ACCESS_DENIED), true),
        (denied("call $resolve", PERMANENT_RESOLVER_FAILURE), true),
        // The check itself can fail.
        (denied("call $tcp (i32.const 0)", PERMANENT_RESOLVER_FAILURE), false),
    ] {
        let wasm = wat::parse_str(SOCKETS.replace("CHECK", &check)).unwrap();
        let function = fixture.deploy("sockets", &wasm, Draft::default()).await.unwrap();
        let answer = fixture.get(&function, "/").await;
        assert_eq!(answer.is_ok(), holds, "{check}: {answer:?}");
    }
}
