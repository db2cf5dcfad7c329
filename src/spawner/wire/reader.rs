//! Reading of the wire's fields.

use std::ffi::CStr;

use super::WireError;

/// The cookie's and so the job's largest number: see `family::COOKIE_BASE`.
const MAX_ID: u64 = 1 << 61;

/// Takes fields from the front of a message.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        Ok(u8::from_le_bytes(self.bytes()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, WireError> {
        Ok(i32::from_le_bytes(self.bytes()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    pub(super) fn bool(&mut self) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Value),
        }
    }

    pub(super) fn id(&mut self) -> Result<u64, WireError> {
        self.u64().and_then(|id| if id < MAX_ID { Ok(id) } else { Err(WireError::Value) })
    }

    /// A count of items of at least `size` bytes, believed only if that many can still follow: a lying count must not
    /// choose how much memory is reserved.
    pub(super) fn count(&mut self, size: usize) -> Result<usize, WireError> {
        let count = self.u32()? as usize;
        if count.saturating_mul(size) > self.0.len() { Err(WireError::Short) } else { Ok(count) }
    }

    pub(super) fn string(&mut self) -> Result<&'a CStr, WireError> {
        let string = CStr::from_bytes_until_nul(self.0).map_err(|_| WireError::Short)?;
        self.0 = &self.0[string.count_bytes() + 1..];
        Ok(string)
    }

    pub(super) fn strings(&mut self) -> Result<Vec<&'a CStr>, WireError> {
        let count = self.count(1)?;
        (0..count).map(|_| self.string()).collect()
    }
}
