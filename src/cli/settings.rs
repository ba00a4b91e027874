//! What the command line means: names resolved, defaults applied, the rules of plain text kept.

use super::args::{
    ConflictArgument, CongestionArgument, ModeArgument, RecvArguments, SendArguments,
};
use super::error::{CliError, End};
use super::exit::Exit;
use std::net::SocketAddr;
use xfer::{Congestion, Destination, Mode, OnConflict, RecvOptions, SendOptions, Stop};

/// Options for the library, and what a person should be warned of before they are used.
#[derive(Debug)]
pub(super) struct Settings<T> {
    pub(super) options: T,
    pub(super) warning: Option<String>,
}

/// The name of a mode on the command line and in JSON.
pub(super) const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Process => "process",
        Mode::Thread => "thread",
        Mode::ProcessAsync => "process-async",
        Mode::ThreadAsync => "thread-async",
    }
}

/// Settings of `send`.
pub(super) fn of_send(arguments: SendArguments) -> Result<Settings<SendOptions>, CliError> {
    let to = arguments.to.iter().map(|to| resolve(to, End::Sender));
    let to = to.collect::<Result<Vec<_>, _>>()?;
    for (at, one) in to.iter().enumerate() {
        if let Some(same) = to.iter().take(at).find(|it| it.address == one.address) {
            let (one, same) = (show_destination(one), show_destination(same));
            let message = format!("`{same}` and `{one}` are the same destination");
            return Err(CliError::new(Exit::Usage, message));
        }
    }
    let far: Vec<_> = to.iter().filter(|to| !is_loopback(to.address)).collect();
    if let Some(far) = far.first()
        && !arguments.insecure
    {
        let message = format!("refusing to send plain text to {}", show_destination(far));
        return Err(CliError::new(Exit::Unauthorised, message).hint(
            "`--insecure` allows it, where everyone on the way may read and alter the files",
        ));
    }
    let warning = (!far.is_empty()).then(|| {
        let names: Vec<_> = far.iter().map(|far| show_destination(far)).collect();
        format!(
            "sending plain text to {}: everyone on the way can read and alter it",
            names.join(", ")
        )
    });
    let options = SendOptions {
        paths: arguments.paths,
        to,
        mode: match arguments.mode {
            ModeArgument::Process => Mode::Process,
            ModeArgument::Thread => Mode::Thread,
            ModeArgument::ProcessAsync => Mode::ProcessAsync,
            ModeArgument::ThreadAsync => Mode::ThreadAsync,
        },
        jobs: arguments.jobs,
        rate: arguments.rate,
        congestion: match arguments.cc {
            CongestionArgument::Xcc => Congestion::Xcc,
            CongestionArgument::Cubic => Congestion::Cubic,
            CongestionArgument::Fixed => Congestion::Fixed,
        },
        timeout: arguments.timeout,
        stop: stop_on_signals()?,
    };
    Ok(Settings { options, warning })
}

/// Settings of `recv`.
pub(super) fn of_recv(arguments: RecvArguments) -> Result<Settings<RecvOptions>, CliError> {
    let listen = arguments.listen.iter().map(|listen| resolve_listen(listen));
    let listen = listen.collect::<Result<Vec<_>, _>>()?;
    let far: Vec<_> = listen
        .iter()
        .filter(|&&address| !is_loopback(address))
        .collect();
    if let Some(far) = far.first()
        && !arguments.insecure
    {
        let message = format!("refusing to listen for plain text on {far}");
        return Err(CliError::new(Exit::Unauthorised, message).hint(
            "`--insecure` allows it, where everyone who reaches this address may send files",
        ));
    }
    let warning = (!far.is_empty()).then(|| {
        let names: Vec<_> = far.iter().map(ToString::to_string).collect();
        format!(
            "listening for plain text on {}: everyone who reaches it can send files, and everyone \
             on the way can read and alter them",
            names.join(", ")
        )
    });
    let options = RecvOptions {
        out: arguments.out,
        listen,
        exit_after: arguments.exit_after,
        on_conflict: match arguments.on_conflict {
            ConflictArgument::Refuse => OnConflict::Refuse,
            ConflictArgument::Rename => OnConflict::Rename,
            ConflictArgument::Overwrite => OnConflict::Overwrite,
        },
        max_size: arguments.max_size,
        max_total: arguments.max_total,
        max_sessions: arguments.max_sessions,
        confine: true,
        stop: stop_on_signals()?,
    };
    Ok(Settings { options, warning })
}

fn resolve(host: &str, end: End) -> Result<Destination, CliError> {
    xfer::resolve(host).map_err(|error| CliError::from_library(error, end))
}

/// As for a destination, but port 0 means a port that the system chooses.
fn resolve_listen(text: &str) -> Result<SocketAddr, CliError> {
    match text.parse::<SocketAddr>() {
        Ok(address) => Ok(address),
        Err(_) => resolve(text, End::Receiver).map(|resolved| resolved.address),
    }
}

/// What the first SIGINT or SIGTERM stops in order; a second one ends the process at once.
pub(super) fn stop_on_signals() -> Result<Stop, CliError> {
    Stop::on_signals().map_err(|error| {
        let message = format!(
            "cannot listen for signals: {}",
            super::error::system(&error)
        );
        CliError::new(Exit::Other, message)
    })
}

/// A destination for messages: what the user wrote with the port, and the address where that was a
/// name.
pub(super) fn show_destination(to: &Destination) -> String {
    let label = label_with_port(to);
    let address = to.address.to_string();
    if label == address {
        format!("`{address}`")
    } else {
        format!("`{label}` ({address})")
    }
}

/// What the user wrote, with the port, as it stands in tables and JSON.
pub(super) fn label_with_port(to: &Destination) -> String {
    let port = format!(":{}", to.address.port());
    let label = super::output::escape::escape(&to.label);
    // An IPv6 address without brackets ends in what looks like a port.
    if label.parse::<std::net::IpAddr>().is_ok() {
        to.address.to_string()
    } else if label.ends_with(&port) {
        label
    } else {
        label + &port
    }
}

/// Whether what is sent there stays on this machine.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(label: &str, address: &str) -> Destination {
        Destination {
            label: label.into(),
            address: address.parse().unwrap(),
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for near in [
            "127.0.0.1:1",
            "127.8.0.1:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_loopback(near.parse().unwrap()), "{near}");
        }
        for far in [
            "0.0.0.0:1",
            "[::]:1",
            "10.0.0.1:1",
            "[::ffff:10.0.0.1]:1",
            "255.255.255.255:1",
        ] {
            assert!(!is_loopback(far.parse().unwrap()), "{far}");
        }
    }

    #[test]
    fn labels_always_name_the_port() {
        for (label, address, shown) in [
            ("127.0.0.1", "127.0.0.1:10000", "127.0.0.1:10000"),
            ("127.0.0.1:7", "127.0.0.1:7", "127.0.0.1:7"),
            ("::1", "[::1]:10000", "[::1]:10000"),
            ("[::1]:7", "[::1]:7", "[::1]:7"),
            ("[::1]", "[::1]:10000", "[::1]:10000"),
            ("host", "10.0.0.1:10000", "host:10000"),
        ] {
            assert_eq!(label_with_port(&destination(label, address)), shown);
        }
        let named = destination("host", "10.0.0.1:10000");
        assert_eq!(show_destination(&named), "`host:10000` (10.0.0.1:10000)");
    }
}
