//! Unix: directory handles and `*at` calls. What only Linux has is asked for where it is there.

use super::{Identity, Kind};
use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::Path;
use xfer_proto::manifest::Timestamp;

/// `renameat2` fails so where the file system cannot rename without replacing.
const NO_RENAME_WITHOUT_REPLACING: [Errno; 3] = [Errno::INVAL, Errno::NOSYS, Errno::NOTSUP];

/// An opened directory. Names given to its methods have one part and are never followed as links.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

impl Dir {
    /// Opens a directory of ours by its path, links allowed: the user named it.
    pub(crate) fn open_path(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(fs::open(path, flags, Mode::empty())?))
    }

    /// Opens a directory beneath.
    pub(crate) fn open_dir(&self, name: &[u8]) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(fs::openat(&self.0, name, flags, Mode::empty())?))
    }

    /// Makes a directory; the process's umask takes bits away from `mode`.
    pub(crate) fn make_dir(&self, name: &[u8], mode: u32) -> io::Result<()> {
        Ok(fs::mkdirat(&self.0, name, Mode::from_raw_mode(mode))?)
    }

    /// What is behind a name.
    pub(crate) fn stat(&self, name: &[u8]) -> io::Result<Identity> {
        Ok(from_stat(&fs::statat(
            &self.0,
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?))
    }

    /// Bytes that a file takes on the disk: less than its size where it has holes.
    pub(crate) fn allocated(&self, name: &[u8]) -> io::Result<u64> {
        // What `st_blocks` counts, whatever the blocks of the file system are.
        const UNIT: u64 = 512;
        let found = fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(u64::try_from(found.st_blocks)
            .unwrap_or(0)
            .saturating_mul(UNIT))
    }

    /// What the directory itself is.
    pub(crate) fn stat_self(&self) -> io::Result<Identity> {
        Ok(from_stat(&fs::fstat(&self.0)?))
    }

    /// Makes a file that must not exist, to read and write; the umask takes bits away from `mode`.
    pub(crate) fn create(&self, name: &[u8], mode: u32) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(mode);
        Ok(fs::openat(&self.0, name, flags | OFlags::CLOEXEC, mode)?.into())
    }

    /// Opens a file to read and write.
    pub(crate) fn open_rw(&self, name: &[u8]) -> io::Result<File> {
        self.open(name, OFlags::RDWR)
    }

    /// Opens a file to write at its end.
    pub(crate) fn open_append(&self, name: &[u8]) -> io::Result<File> {
        self.open(name, OFlags::WRONLY | OFlags::APPEND)
    }

    /// Opens a file to read. Does not wait for the other end of a FIFO.
    pub(crate) fn open_read(&self, name: &[u8]) -> io::Result<File> {
        self.open(name, OFlags::RDONLY)
    }

    fn open(&self, name: &[u8], flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(fs::openat(&self.0, name, flags, Mode::empty())?.into())
    }

    /// Removes a file.
    pub(crate) fn remove_file(&self, name: &[u8]) -> io::Result<()> {
        Ok(fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_dir(&self, name: &[u8]) -> io::Result<()> {
        Ok(fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Moves a file where nothing is yet; `AlreadyExists` otherwise, and nothing has changed.
    pub(crate) fn rename_new(&self, name: &[u8], to: &Self, to_name: &[u8]) -> io::Result<()> {
        match rename_noreplace(&self.0, name, &to.0, to_name) {
            Err(errno) if NO_RENAME_WITHOUT_REPLACING.contains(&errno) => {
                fs::linkat(&self.0, name, &to.0, to_name, AtFlags::empty())?;
                self.remove_file(name)
            }
            other => Ok(other?),
        }
    }

    /// Moves a file over what is there, in one step.
    pub(crate) fn rename_over(&self, name: &[u8], to: &Self, to_name: &[u8]) -> io::Result<()> {
        Ok(fs::renameat(&self.0, name, &to.0, to_name)?)
    }

    /// Sets the modification time of a file; the access time stays.
    pub(crate) fn set_modified(&self, name: &[u8], modified: Timestamp) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: fs::UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: modified.seconds,
                tv_nsec: modified.nanos.into(),
            },
        };
        Ok(fs::utimensat(
            &self.0,
            name,
            &times,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Sets the permission bits of this directory itself.
    pub(crate) fn set_own_mode(&self, mode: u32) -> io::Result<()> {
        Ok(fs::fchmod(&self.0, Mode::from_raw_mode(mode))?)
    }

    /// Makes the names in this directory durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(fs::fsync(&self.0)?)
    }

    /// Makes everything on this directory's file system durable, and reports every write that
    /// failed since the handle was opened. `None` where no call is known to do both.
    pub(crate) fn sync_filesystem(&self) -> Option<io::Result<()>> {
        sync_filesystem(&self.0)
    }

    /// Bytes that a user without privileges may still write, and bytes of the whole file system.
    pub(crate) fn space(&self) -> io::Result<(u64, u64)> {
        let stat = fs::fstatvfs(&self.0)?;
        Ok((
            stat.f_bavail.saturating_mul(stat.f_frsize),
            stat.f_blocks.saturating_mul(stat.f_frsize),
        ))
    }

    /// The names in this directory, without `.` and `..`.
    pub(crate) fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }

    /// Takes the directory's lock until the handle is dropped; false where another process has it.
    pub(crate) fn try_lock(&self) -> io::Result<bool> {
        match fs::flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the process runs as the owner of the directory.
    pub(crate) fn is_ours(&self) -> io::Result<bool> {
        Ok(self.stat_self()?.owner == rustix::process::geteuid().as_raw())
    }
}

/// Opens a file of the sender to read: no link, and no waiting for the other end of a FIFO.
pub(crate) fn open_source(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(fs::open(path, flags, Mode::empty())?.into())
}

/// What an opened file is.
pub(crate) fn identity(file: &File) -> io::Result<Identity> {
    Ok(from_stat(&fs::fstat(file)?))
}

/// What is behind a path, a link not followed.
pub(crate) fn identity_of(path: &Path) -> io::Result<Identity> {
    Ok(from_stat(&fs::lstat(path)?))
}

/// Reads `len` bytes from `offset` behind what `buffer` holds, and answers how many: fewer only at
/// the end of the file.
///
/// There should be room for hardly more: a read takes all there is.
pub(crate) fn read_exact_at(
    file: &File,
    buffer: &mut Vec<u8>,
    len: usize,
    offset: u64,
) -> io::Result<usize> {
    let start = buffer.len();
    let end = start.saturating_add(len);
    buffer.reserve_exact(len);
    while buffer.len() < end {
        // Without zeroing first: the kernel writes into memory that nothing has touched.
        let at = offset.saturating_add((buffer.len() - start) as u64);
        match rustix::io::pread(file, rustix::buffer::spare_capacity(buffer), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The capacity may be larger than what was asked for.
    buffer.truncate(end);
    Ok(buffer.len() - start)
}

/// Writes all of `data` at `offset`.
pub(crate) fn write_all_at(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(data, offset)
}

/// Writes `pieces`, one behind the other, from `offset` on.
pub(crate) fn write_pieces_at(
    file: &File,
    pieces: &[impl AsRef<[u8]>],
    offset: u64,
) -> io::Result<()> {
    let mut written = 0;
    if pieces.len() > 1 {
        let slices: Vec<IoSlice<'_>> = pieces.iter().map(|p| IoSlice::new(p.as_ref())).collect();
        written = match rustix::io::pwritev(file, &slices, offset) {
            // The rest, if there is any, goes piece by piece.
            Err(Errno::INTR) => 0,
            other => other?,
        };
    }
    let mut at = offset;
    for piece in pieces {
        let piece = piece.as_ref();
        let done = written.min(piece.len());
        written -= done;
        let rest = piece.get(done..).unwrap_or_default();
        write_all_at(file, rest, at.saturating_add(done as u64))?;
        at = at.saturating_add(piece.len() as u64);
    }
    Ok(())
}

/// Sets the permission bits of an opened file.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    Ok(fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

/// Tells the system that the file is read from front to back. A hint: nothing depends on it.
pub(crate) fn advise_sequential(file: &File) {
    #[cfg(target_os = "linux")]
    let _ = fs::fadvise(file, 0, None, fs::Advice::Sequential);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

/// How many files the process may have open.
pub(crate) fn open_file_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Names this boot of the machine, where the system tells: what was written since is in the page
/// cache however the process ended.
pub(crate) fn boot_id() -> Option<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let id = u128::from_str_radix(&digits, 16).ok()?;
    (digits.len() == 32).then(|| id.to_be_bytes())
}

/// Names this machine, where the system tells; nobody else needs to know it.
pub(crate) fn machine_id() -> Option<Vec<u8>> {
    let id = std::fs::read("/etc/machine-id").ok();
    let id = id.filter(|id| !id.trim_ascii().is_empty());
    id.or_else(|| Some(boot_id()?.to_vec()))
}

/// The bytes of a name as the manifest has them.
pub(crate) fn name_bytes(name: &OsStr) -> &[u8] {
    name.as_bytes()
}

/// A name of the manifest as the system has it.
pub(crate) fn name_from_bytes(bytes: Vec<u8>) -> OsString {
    OsString::from_vec(bytes)
}

fn from_stat(stat: &fs::Stat) -> Identity {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Special,
    };
    Identity {
        kind,
        size: stat.st_size.max(0) as u64,
        mode: stat.st_mode & 0o7777,
        owner: stat.st_uid,
        modified: Timestamp {
            seconds: stat.st_mtime,
            nanos: stat.st_mtime_nsec as u32,
        },
        changed: Timestamp {
            seconds: stat.st_ctime,
            nanos: stat.st_ctime_nsec as u32,
        },
        device: stat.st_dev,
        inode: stat.st_ino,
        links: stat.st_nlink,
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_noreplace(
    from: impl AsFd,
    name: &[u8],
    to: impl AsFd,
    to_name: &[u8],
) -> Result<(), Errno> {
    fs::renameat_with(from, name, to, to_name, fs::RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_noreplace(_: impl AsFd, _: &[u8], _: impl AsFd, _: &[u8]) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// File systems whose `syncfs` waits for stable storage and reports every write that failed. FUSE
/// does not pass it on, overlays do not hear of what failed below, and who is not listed is asked
/// file by file.
#[cfg(target_os = "linux")]
const SYNCS_AS_A_WHOLE: [u64; 6] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // btrfs
    0xf2f5_2010, // F2FS
    0xca45_1a4e, // bcachefs
    0x0102_1994, // tmpfs
];

/// `syncfs` reports failed writes only since Linux 5.8; before, its success says nothing.
#[cfg(target_os = "linux")]
fn sync_filesystem(fd: impl AsFd) -> Option<io::Result<()>> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut parts = release.split(['.', '-']).map(str::parse::<u32>);
    let version = (parts.next()?.ok()?, parts.next()?.ok()?);
    // Of one width on some machines and of another elsewhere; the magic numbers have 32 bits.
    let kind = fs::fstatfs(&fd).ok()?.f_type as u64 & u64::from(u32::MAX);
    let is_trusted = version >= (5, 8) && SYNCS_AS_A_WHOLE.contains(&kind);
    is_trusted.then(|| Ok(fs::syncfs(fd)?))
}

#[cfg(not(target_os = "linux"))]
fn sync_filesystem(_: impl AsFd) -> Option<io::Result<()>> {
    None
}
