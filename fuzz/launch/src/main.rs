//! `cargo fuzz` on whatever toolchain is the default one.
//!
//! cargo-fuzz passes flags of sanitizers, which a stable compiler refuses although it ships their
//! runtimes. The compiler takes them where `RUSTC_BOOTSTRAP` is set; that is done here and nowhere
//! else, because build scripts of dependencies see it too. A nightly compiler is not affected.

#![expect(
    clippy::print_stderr,
    reason = "a program of its own, which has nothing else to say"
)]

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let program = installed().unwrap_or_else(|| PathBuf::from("cargo-fuzz"));
    let status = Command::new(program)
        .arg("fuzz")
        .args(env::args_os().skip(1))
        .env("RUSTC_BOOTSTRAP", "1")
        .status();
    match status {
        Ok(status) => match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(code) => ExitCode::from(code),
            None => ExitCode::FAILURE,
        },
        Err(error) => {
            eprintln!("error: cannot start `cargo-fuzz`: {error}");
            eprintln!();
            eprintln!("hint: cargo install cargo-fuzz");
            ExitCode::from(2)
        }
    }
}

/// Where `cargo install` puts it, which need not be on the path.
fn installed() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME")?;
    let program = PathBuf::from(home).join("bin/cargo-fuzz");
    program.is_file().then_some(program)
}
