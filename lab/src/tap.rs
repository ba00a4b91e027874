//! TAP devices: the switch's end of a host's cable.

use anyhow::{Context, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};

/// Longest device name, its closing zero included (`IFNAMSIZ`).
const NAME_BYTES: usize = 16;

/// An open TAP device. It exists as long as this does.
pub struct Tap(OwnedFd);

impl Tap {
    /// Creates the device `name` in the namespace of the caller.
    ///
    /// It has no packet information and no virtio header, hence neither checksum nor segmentation
    /// offload: the kernel completes every checksum and cuts every super-packet before we see it.
    pub fn create(name: &str) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/net/tun", flags, Mode::empty())
            .context("cannot open `/dev/net/tun` (is the tun module there?)")?;
        request::attach(&fd, name).with_context(|| format!("cannot create TAP device `{name}`"))?;
        Ok(Self(fd))
    }

    /// Reads the next frame into `buffer`, or `None` when there is none.
    pub fn read(&self, buffer: &mut [u8]) -> Option<usize> {
        rustix::io::read(&self.0, buffer).ok()
    }

    /// Hands a frame to the host; says whether the host took it.
    pub fn write(&self, frame: &[u8]) -> bool {
        rustix::io::write(&self.0, frame).is_ok()
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[expect(
    unsafe_code,
    reason = "TUNSETIFF has no safe wrapper; this is its only use"
)]
mod request {
    use super::NAME_BYTES;
    use rustix::fd::OwnedFd;
    use rustix::io::{Errno, Result};
    use rustix::ioctl::{Setter, ioctl, opcode};

    /// `TUNSETIFF`; the header declares it with `int`, though it takes a `struct ifreq`.
    const TUNSETIFF: rustix::ioctl::Opcode = opcode::write::<u32>(b'T', 202);
    const IFF_TAP: u16 = 0x0002;
    const IFF_NO_PI: u16 = 0x1000;

    /// `struct ifreq` with the one member of its union that this request reads.
    #[repr(C)]
    struct InterfaceRequest {
        name: [u8; NAME_BYTES],
        flags: u16,
        rest_of_union: [u8; 22],
    }

    const _: () = assert!(size_of::<InterfaceRequest>() == 40);

    /// Makes `fd`, an open `/dev/net/tun`, the TAP device `name`.
    pub(super) fn attach(fd: &OwnedFd, name: &str) -> Result<()> {
        if name.len() >= NAME_BYTES {
            return Err(Errno::NAMETOOLONG);
        }
        let mut request = InterfaceRequest {
            name: [0; NAME_BYTES],
            flags: IFF_TAP | IFF_NO_PI,
            rest_of_union: [0; 22],
        };
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        // SAFETY: the kernel reads a `struct ifreq` of 40 bytes and writes the name back into it.
        // The type above has its size and layout, and `Setter` passes a pointer to its own copy.
        unsafe { ioctl(fd, Setter::<TUNSETIFF, InterfaceRequest>::new(request)) }
    }
}
