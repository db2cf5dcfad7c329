//! Buffers for file contents, used again and again.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Octets of one buffer: what a large file is read and sent by.
pub(super) const BUFFER_SIZE: usize = 256 * 1024;
/// Buffers kept while nobody uses them; more are given back to the system.
const IDLE_MAX: usize = 16;

/// A store of idle buffers. Without it each chunk of a large file would cost a mapping, its page faults and its
/// zeroing, which together take longer than copying the file out of the page cache.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    idle: Mutex<Vec<Box<[u8]>>>,
}

impl Buffers {
    /// A buffer of [`BUFFER_SIZE`] octets; what stands in it is not specified and must not be sent.
    pub(super) fn take(self: &Arc<Self>) -> Buffer {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let octets = idle.unwrap_or_else(|| vec![0; BUFFER_SIZE].into_boxed_slice());
        Buffer { octets, filled: 0, home: Arc::clone(self) }
    }
}

/// A buffer on loan; its `Drop` gives it back.
#[derive(Debug)]
pub(super) struct Buffer {
    octets: Box<[u8]>,
    filled: usize,
    home: Arc<Buffers>,
}

impl Buffer {
    /// Room for at most `limit` octets.
    pub(super) fn room(&mut self, limit: u64) -> &mut [u8] {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(self.octets.len());
        &mut self.octets[..limit]
    }

    /// The first `filled` octets, to be sent; the buffer comes home when they have been.
    pub(super) fn into_bytes(mut self, filled: usize) -> Bytes {
        self.filled = filled.min(self.octets.len());
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.octets[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut idle = self.home.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(std::mem::take(&mut self.octets));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_home_when_its_last_reader_is_gone() {
        let buffers = Arc::new(Buffers::default());
        let mut buffer = buffers.take();
        buffer.room(3).copy_from_slice(b"abc");
        let bytes = buffer.into_bytes(3);
        let part = bytes.slice(1..);
        drop(bytes);
        assert_eq!(part, "bc");
        assert_eq!(buffers.idle.lock().unwrap().len(), 0);
        drop(part);
        assert_eq!(buffers.idle.lock().unwrap().len(), 1);
        let many: Vec<_> = (0..IDLE_MAX + 4).map(|_| buffers.take()).collect();
        drop(many);
        assert_eq!(buffers.idle.lock().unwrap().len(), IDLE_MAX);
    }
}
