//! `xfer recv`.

use super::args::RecvArguments;
use super::error::{CliError, End};
use super::exit::Exit;
use super::output::Output;
use super::output::escape::escape;
use super::output::json::Event;
use super::settings;
use std::net::SocketAddr;
use xfer::{RecvEvent, SentStatus};
use xfer_proto::manifest::Entry;

/// Receives until it is told to stop, and says how it ended.
pub(super) fn run(arguments: RecvArguments) -> Exit {
    let mut output = Output::new(arguments.log, arguments.json);
    let result = settings::of_recv(arguments).and_then(|settings| {
        if let Some(warning) = &settings.warning {
            output.security_warning(warning);
        }
        xfer::receive(&settings.options, &mut |event| handle(&mut output, &event))
            .map_err(|error| CliError::from_library(error, End::Receiver))
    });
    let exit = match result {
        Ok(()) => Exit::Success,
        Err(error) => {
            output.failure(&error);
            error.exit
        }
    };
    output.finish(exit)
}

fn handle(output: &mut Output, event: &RecvEvent) {
    match event {
        RecvEvent::Listening(address) if output.is_json() => {
            output.event(&Event::Listening { address: *address });
        }
        RecvEvent::Listening(address) => output.note(&format!("listening on {address}")),
        RecvEvent::Warning(text) => output.peer_warning(&escape(text)),
        RecvEvent::File {
            from,
            entry,
            status,
        } => handle_file(output, *from, entry, status),
    }
}

fn handle_file(output: &mut Output, from: SocketAddr, entry: &Entry, status: &SentStatus) {
    if output.is_json() {
        output.event(&Event::received(from, entry, status));
    }
    let Entry { name, size, .. } = entry;
    match status {
        SentStatus::Failed(failure) => {
            let reason = escape(&failure.to_string());
            output.peer_error(&format!("cannot receive `{name}` from {from}: {reason}"));
        }
        _ if output.is_json() => {}
        SentStatus::Committed(digest) => {
            output.result(format!("{name} {size} bytes {digest} from {from}\n"));
        }
        SentStatus::Skipped(digest) => {
            output.result(format!(
                "{name} {size} bytes {digest} from {from}, skipped\n"
            ));
        }
    }
}
