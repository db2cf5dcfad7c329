//! What the spawner tells.

use super::super::Step;
use super::WireError;
use super::reader::Reader;

/// What the spawner answers; several in one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The program runs.
    Started {
        /// Which job.
        id: u64,
        /// Its process, also its group and session.
        pid: i32,
    },
    /// It could not be started.
    NotStarted {
        /// Which job.
        id: u64,
        /// What failed.
        step: Step,
        /// And why.
        errno: i32,
    },
    /// The leader has ended; if the job was being ended, everything of it has.
    Ended {
        /// Which job.
        id: u64,
        /// The leader.
        pid: i32,
        /// As `waitpid` gives it.
        status: i32,
        /// Microseconds from start to end.
        wall_us: u64,
        /// Microseconds of CPU.
        cpu_us: u64,
        /// KiB.
        peak_rss_kib: u64,
        /// Processes of the job are still there; [`Notice::Gone`] will follow.
        leftovers: bool,
    },
    /// The last leftover of an ended job has gone.
    Gone {
        /// Which job.
        id: u64,
    },
}

impl Notice {
    /// Appends the notice to a packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Started { id, pid } => {
                out.push(1);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&pid.to_le_bytes());
            }
            Self::NotStarted { id, step, errno } => {
                out.push(2);
                out.extend_from_slice(&id.to_le_bytes());
                out.push(step as u8);
                out.extend_from_slice(&errno.to_le_bytes());
            }
            Self::Ended { id, pid, status, wall_us, cpu_us, peak_rss_kib, leftovers } => {
                out.push(3);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&pid.to_le_bytes());
                out.extend_from_slice(&status.to_le_bytes());
                out.extend_from_slice(&wall_us.to_le_bytes());
                out.extend_from_slice(&cpu_us.to_le_bytes());
                out.extend_from_slice(&peak_rss_kib.to_le_bytes());
                out.push(u8::from(leftovers));
            }
            Self::Gone { id } => {
                out.push(4);
                out.extend_from_slice(&id.to_le_bytes());
            }
        }
    }

    /// Reads the next notice of a packet; `None` at its end.
    ///
    /// # Errors
    /// Anything that [`Notice::encode`] would not have written.
    pub fn decode(packet: &mut &[u8]) -> Result<Option<Self>, WireError> {
        if packet.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader::new(packet);
        let kind = reader.u8()?;
        let id = reader.id()?;
        let notice = match kind {
            1 => Self::Started { id, pid: reader.i32()? },
            2 => Self::NotStarted {
                id,
                step: Step::from_number(reader.u8()?).ok_or(WireError::Value)?,
                errno: reader.i32()?,
            },
            3 => Self::Ended {
                id,
                pid: reader.i32()?,
                status: reader.i32()?,
                wall_us: reader.u64()?,
                cpu_us: reader.u64()?,
                peak_rss_kib: reader.u64()?,
                leftovers: reader.bool()?,
            },
            4 => Self::Gone { id },
            _ => return Err(WireError::Value),
        };
        *packet = reader.rest();
        Ok(Some(notice))
    }
}
