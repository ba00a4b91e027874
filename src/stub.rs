//! Stands in for the runtime until it is merged.
use crate::*;

/// Stub.
pub fn send(
    options: &SendOptions,
    _on_event: &mut dyn FnMut(SendEvent),
) -> Result<SendSummary, Error> {
    let _ = options;
    Err(Error::Worker("not merged".into()))
}
/// Stub.
pub fn receive(options: &RecvOptions, on_event: &mut dyn FnMut(RecvEvent)) -> Result<(), Error> {
    on_event(RecvEvent::Listening(options.listen[0]));
    Err(Error::Worker("not merged".into()))
}
/// Stub.
pub fn resolve(host: &str) -> Result<Destination, Error> {
    use std::net::ToSocketAddrs;
    let with_port = if host.parse::<SocketAddr>().is_ok() || host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:{DEFAULT_PORT}")
    };
    let address = with_port
        .to_socket_addrs()
        .map_err(|source| Error::Resolve {
            host: host.into(),
            source,
        })?
        .next()
        .unwrap();
    Ok(Destination {
        label: host.into(),
        address,
    })
}
/// Stub.
pub const WORKER_ARGUMENT: &str = "__worker";
/// Stub.
pub fn worker_main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
use std::net::SocketAddr;
