//! UDP sockets: options, batches, offload.
