//! What comes from a client, handed to the frame library one frame at a time.
//!
//! The library reads into a buffer of its own, as much as there is room for, and keeps that as large as the largest
//! frame was. It never gets more of the stream here than the frame at hand, so there are moments at which it holds
//! nothing and can be replaced; and what is read ahead takes memory only while there is some.

use std::io::{self, Cursor};
use std::mem::MaybeUninit;
use std::task::Poll;

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

/// How much is read from a client at once, octets. It waits on the stack, and in memory only if it is several frames.
const READ: usize = 16 << 10;
/// From how many octets on a frame leaves a buffer behind that is not worth keeping.
const LARGE: u64 = 4 << 10;

/// The stream of a client's frames, cut where frames end.
#[derive(Default)]
pub(super) struct Intake {
    /// Read from the connection, not handed on.
    ahead: BytesMut,
    /// How much of the frame at hand is still to be handed on, octets, its header included.
    left: u64,
    /// The message at hand has more frames.
    fragmented: bool,
    /// A large frame went through.
    large: bool,
}

impl Intake {
    /// Begins with what was read already.
    pub(super) fn new(begun: &[u8]) -> Self {
        Self { ahead: BytesMut::from(begun), ..Self::default() }
    }

    /// Hands on what fits into `room` and belongs to the frame at hand. `read` reads from the connection; nothing is
    /// its end.
    pub(super) fn poll_take(
        &mut self,
        room: &mut [u8],
        mut read: impl FnMut(&mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if !self.ahead.is_empty() {
                let taken = self.hand_on(None, room);
                if self.ahead.is_empty() {
                    self.ahead = BytesMut::new();
                }
                if taken > 0 {
                    return Poll::Ready(Ok(taken));
                }
            }
            let mut scrap = [MaybeUninit::uninit(); READ];
            let mut fresh = ReadBuf::uninit(&mut scrap);
            match read(&mut fresh) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if fresh.filled().is_empty() => return Poll::Ready(Ok(0)),
                Poll::Ready(Ok(())) => {}
            }
            if self.ahead.is_empty() {
                let taken = self.hand_on(Some(fresh.filled()), room);
                if taken > 0 {
                    return Poll::Ready(Ok(taken));
                }
            } else {
                // Half a header waited for this.
                self.ahead.extend_from_slice(fresh.filled());
            }
        }
    }

    /// Hands on from `fresh`, keeping what is left of it, or from what was kept. Nothing: not even a header is there.
    fn hand_on(&mut self, fresh: Option<&[u8]>, room: &mut [u8]) -> usize {
        let octets = fresh.unwrap_or(&self.ahead);
        if self.left == 0 {
            let mut cursor = Cursor::new(octets);
            match FrameHeader::parse(&mut cursor) {
                Ok(Some((header, length))) => {
                    self.left = cursor.position().saturating_add(length);
                    self.large |= length > LARGE;
                    if let OpCode::Data(_) = header.opcode {
                        self.fragmented = !header.is_final;
                    }
                }
                Ok(None) => {}
                // The library will find the same, and say what it is.
                Err(_) => self.left = u64::MAX,
            }
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let taken = most.min(room.len()).min(octets.len());
        room[..taken].copy_from_slice(&octets[..taken]);
        self.left -= taken as u64;
        match fresh {
            Some(fresh) => self.ahead.extend_from_slice(&fresh[taken..]),
            None => self.ahead.advance(taken),
        }
        taken
    }

    /// Whether whoever was handed everything so far has whole messages and nothing else.
    pub(super) fn is_between_messages(&self) -> bool {
        self.left == 0 && !self.fragmented
    }

    /// Whether a large frame has been handed on since the last call.
    pub(super) fn was_large(&mut self) -> bool {
        std::mem::take(&mut self.large)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `octets`, of which `step` come at once, into room for `room`; what was handed on, and after which pieces
    /// there were whole messages.
    fn pieces(octets: &[u8], step: usize, room: usize) -> (Vec<Vec<u8>>, Vec<usize>) {
        let mut intake = Intake::new(&octets[..step.min(octets.len())]);
        let mut rest = &octets[step.min(octets.len())..];
        let (mut pieces, mut whole, mut total) = (Vec::new(), Vec::new(), 0);
        loop {
            let mut room = vec![0; room];
            let taken = intake.poll_take(&mut room, |buffer| {
                let (now, later) = rest.split_at(step.min(rest.len()));
                buffer.put_slice(now);
                rest = later;
                Poll::Ready(Ok(()))
            });
            let Poll::Ready(Ok(taken)) = taken else { panic!("it does not wait") };
            if taken == 0 {
                return (pieces, whole);
            }
            total += taken;
            pieces.push(room[..taken].to_vec());
            if intake.is_between_messages() {
                whole.push(total);
            }
        }
    }

    #[test]
    fn never_more_than_the_frame_at_hand() {
        // "ab" in two frames with a ping between them, an empty message, and one of 130 octets.
        let long = [&[0x82, 0xfe, 0, 130, 0, 0, 0, 0][..], &[7; 130]].concat();
        let frames = [
            &[0x01, 0x81, 0, 0, 0, 0, b'a'][..],
            &[0x89, 0x80, 0, 0, 0, 0],
            &[0x80, 0x81, 0, 0, 0, 0, b'b'],
            &[0x81, 0x80, 0, 0, 0, 0],
            &long,
        ];
        let all = frames.concat();
        for step in [1, 2, 3, 7, 20, 1000] {
            for room in [1, 5, 512] {
                let (pieces, whole) = pieces(&all, step, room);
                assert_eq!(pieces.concat(), all, "{step} {room}");
                assert_eq!(whole, [20, 26, all.len()], "{step} {room}");
                let mut ends = frames.iter().scan(0, |sum, frame| {
                    *sum += frame.len();
                    Some(*sum)
                });
                let cuts: Vec<usize> = pieces
                    .iter()
                    .scan(0, |sum, piece| {
                        *sum += piece.len();
                        Some(*sum)
                    })
                    .collect();
                assert!(ends.all(|end| cuts.contains(&end)), "{step} {room}: {cuts:?}");
            }
        }
    }

    #[test]
    fn what_is_no_frame_passes_for_the_library_to_refuse() {
        let (pieces, whole) = pieces(&[0x8f, 0x80, 0, 0, 0, 0, 1, 2, 3], 100, 100);
        assert_eq!(pieces.concat(), [0x8f, 0x80, 0, 0, 0, 0, 1, 2, 3]);
        assert!(whole.len() <= 2);
    }

    #[test]
    fn nothing_is_kept_when_everything_was_handed_on() {
        let mut intake = Intake::new(&[0x81, 0x81, 0, 0, 0, 0, b'a']);
        let mut room = [0; 64];
        assert!(matches!(intake.poll_take(&mut room, |_| Poll::Pending), Poll::Ready(Ok(7))));
        assert!(intake.is_between_messages() && intake.ahead.capacity() == 0);
        assert!(intake.poll_take(&mut room, |_| Poll::Pending).is_pending());
    }
}
