//! `xfer-lab`: a network of hosts on one machine, with links as bad as one likes, and benchmarks on
//! it.
//!
//! Every host is a network namespace with one TAP device; a user-space Ethernet switch holds the
//! other ends and adds rate, queue, delay and loss, so that no netem is needed in the kernel. It
//! needs Linux and root, and iproute2. It is a tool for measuring and no part of the program that
//! is measured.

#[cfg(target_os = "linux")]
mod args;
#[cfg(target_os = "linux")]
mod bench;
#[cfg(target_os = "linux")]
mod control;
#[cfg(target_os = "linux")]
mod daemon;
#[cfg(target_os = "linux")]
mod hosts;
#[cfg(target_os = "linux")]
mod lateness;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod netns;
#[cfg(target_os = "linux")]
mod out;
mod ready;
#[cfg(target_os = "linux")]
mod switch;
#[cfg(target_os = "linux")]
mod tap;
#[cfg(target_os = "linux")]
mod units;
#[cfg(target_os = "linux")]
mod verbs;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use clap::Parser;
    match verbs::run(args::Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            out::error(&error);
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    // Network namespaces and TAP devices of this kind are Linux only.
    std::process::ExitCode::FAILURE
}
