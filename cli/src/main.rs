//! The program `coracle`; everything is in the library.
fn main() -> std::process::ExitCode {
    coracle::main_entry()
}
