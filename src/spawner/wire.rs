//! What server and spawner say to each other: a pure encoding, one message per packet.
//!
//! Integers are little-endian and of fixed width; strings end in NUL, so that the spawner can hand them to `execve`
//! where they lie. Each message has exactly one encoding: `decode(bytes)` succeeds only for bytes that `encode` gives
//! for its result, which is what the fuzz target checks.

mod notice;
mod reader;

use std::ffi::CStr;

pub use notice::Notice;
use reader::Reader;

/// Bytes in one message to the spawner. A packet must fit the socket's send buffer, which the kernel caps at 208 KiB
/// for an unprivileged process (`net.core.wmem_max`); Linux allows a program 128 KiB per variable.
pub const MAX_MESSAGE: usize = 192 * 1024;

/// Bytes in one packet of notices.
pub(super) const MAX_NOTICES: usize = 32 * 1024;

/// What the server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// Start this; its descriptors travel with the packet, in the order stdin, stdout, stderr.
    Start(Box<Start<'a>>),
    /// End everything that belongs to this job: TERM, then KILL.
    End(u64),
}

/// A job on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start<'a> {
    /// Chosen by the server, unique for this spawner.
    pub id: u64,
    /// Whether a descriptor for stdin came along; `/dev/null` otherwise.
    pub has_stdin: bool,
    /// The same for stderr.
    pub has_stderr: bool,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privs: bool,
    /// Permission bits that new files do not get.
    pub umask: u32,
    /// Milliseconds that detached leftovers may outlive the leader.
    pub linger_ms: u64,
    /// Milliseconds from TERM to KILL.
    pub grace_ms: u64,
    /// CPU seconds, address space, file size, open files, processes, core size.
    pub limits: [Option<u64>; 6],
    /// User, group, supplementary groups.
    pub identity: Option<(u32, u32, Vec<u32>)>,
    /// How much the script may do.
    pub sandbox: SandboxView<'a>,
    /// The path to execute.
    pub program: &'a CStr,
    /// The folder it runs in.
    pub dir: &'a CStr,
    /// Its arguments, `argv[0]` first.
    pub argv: Vec<&'a CStr>,
    /// Its environment, `NAME=VALUE`.
    pub env: Vec<&'a CStr>,
}

/// [`super::Sandbox`] with borrowed paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SandboxView<'a> {
    /// None.
    Off,
    /// The deny-list and signal scoping.
    Standard,
    /// Files and network too.
    Strict {
        /// Trees it may read.
        read: Vec<&'a CStr>,
        /// Trees it may write.
        write: Vec<&'a CStr>,
    },
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// They end too early, or a string has no end.
    Short,
    /// A field holds a value that has no meaning.
    Value,
    /// Something follows the end.
    Trailing,
    /// Longer than [`MAX_MESSAGE`].
    TooBig,
}

const START: u8 = 1;
const END: u8 = 2;

const HAS_STDIN: u8 = 1;
const HAS_STDERR: u8 = 2;
const NO_NEW_PRIVS: u8 = 4;
const HAS_IDENTITY: u8 = 8;
const ALL_FLAGS: u8 = 15;

impl<'a> Request<'a> {
    /// Appends the message to `out`.
    ///
    /// # Errors
    /// [`WireError::TooBig`]; `out` is then of no use.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let from = out.len();
        match self {
            Self::End(id) => {
                out.push(END);
                out.extend_from_slice(&id.to_le_bytes());
            }
            Self::Start(start) => {
                out.push(START);
                start.encode(out)?;
            }
        }
        if out.len() - from > MAX_MESSAGE { Err(WireError::TooBig) } else { Ok(()) }
    }

    /// Reads one packet.
    ///
    /// # Errors
    /// Anything that [`Request::encode`] would not have written.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(WireError::TooBig);
        }
        let mut reader = Reader::new(bytes);
        let request = match reader.u8()? {
            START => Self::Start(Box::new(Start::decode(&mut reader)?)),
            END => Self::End(reader.id()?),
            _ => return Err(WireError::Value),
        };
        if reader.rest().is_empty() { Ok(request) } else { Err(WireError::Trailing) }
    }

    /// The job's number if at least that much of a damaged message can be read, so that its sender can be told.
    #[must_use]
    pub fn id_of(bytes: &[u8]) -> Option<u64> {
        let mut reader = Reader::new(bytes);
        reader.u8().ok()?;
        reader.id().ok()
    }
}

impl<'a> Start<'a> {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        out.extend_from_slice(&self.id.to_le_bytes());
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        out.push(
            flag(self.has_stdin, HAS_STDIN)
                | flag(self.has_stderr, HAS_STDERR)
                | flag(self.no_new_privs, NO_NEW_PRIVS)
                | flag(self.identity.is_some(), HAS_IDENTITY),
        );
        out.extend_from_slice(&self.umask.to_le_bytes());
        out.extend_from_slice(&self.linger_ms.to_le_bytes());
        out.extend_from_slice(&self.grace_ms.to_le_bytes());
        for limit in self.limits {
            out.push(u8::from(limit.is_some()));
            if let Some(value) = limit {
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
        if let Some((uid, gid, groups)) = &self.identity {
            out.extend_from_slice(&uid.to_le_bytes());
            out.extend_from_slice(&gid.to_le_bytes());
            count(out, groups.len())?;
            for group in groups {
                out.extend_from_slice(&group.to_le_bytes());
            }
        }
        match &self.sandbox {
            SandboxView::Off => out.push(0),
            SandboxView::Standard => out.push(1),
            SandboxView::Strict { read, write } => {
                out.push(2);
                strings(out, read)?;
                strings(out, write)?;
            }
        }
        out.extend_from_slice(self.program.to_bytes_with_nul());
        out.extend_from_slice(self.dir.to_bytes_with_nul());
        strings(out, &self.argv)?;
        strings(out, &self.env)
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let id = reader.id()?;
        let flags = reader.u8()?;
        if flags & !ALL_FLAGS != 0 {
            return Err(WireError::Value);
        }
        let umask = reader.u32()?;
        let linger_ms = reader.u64()?;
        let grace_ms = reader.u64()?;
        let mut limits = [None; 6];
        for limit in &mut limits {
            *limit = if reader.bool()? { Some(reader.u64()?) } else { None };
        }
        let identity = if flags & HAS_IDENTITY != 0 {
            let (uid, gid) = (reader.u32()?, reader.u32()?);
            let count = reader.count(size_of::<u32>())?;
            Some((uid, gid, (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()?))
        } else {
            None
        };
        let sandbox = match reader.u8()? {
            0 => SandboxView::Off,
            1 => SandboxView::Standard,
            2 => SandboxView::Strict { read: reader.strings()?, write: reader.strings()? },
            _ => return Err(WireError::Value),
        };
        Ok(Self {
            id,
            has_stdin: flags & HAS_STDIN != 0,
            has_stderr: flags & HAS_STDERR != 0,
            no_new_privs: flags & NO_NEW_PRIVS != 0,
            umask,
            linger_ms,
            grace_ms,
            limits,
            identity,
            sandbox,
            program: reader.string()?,
            dir: reader.string()?,
            argv: reader.strings()?,
            env: reader.strings()?,
        })
    }

    /// Descriptors that must come with the packet.
    pub(super) fn descriptors(&self) -> usize {
        1 + usize::from(self.has_stdin) + usize::from(self.has_stderr)
    }
}

fn count(out: &mut Vec<u8>, count: usize) -> Result<(), WireError> {
    out.extend_from_slice(&u32::try_from(count).map_err(|_| WireError::TooBig)?.to_le_bytes());
    Ok(())
}

fn strings(out: &mut Vec<u8>, list: &[&CStr]) -> Result<(), WireError> {
    count(out, list.len())?;
    for string in list {
        out.extend_from_slice(string.to_bytes_with_nul());
    }
    Ok(())
}
