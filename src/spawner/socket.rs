//! Packets with descriptors over the socket pairs between server, nursery and spawners.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};

/// Bytes asked for each socket buffer: some jobs of ordinary size, or one of the largest. Without CAP_NET_ADMIN the
/// kernel cuts it to `net.core.wmem_max`, which still fits the largest.
const BUFFER: usize = 1024 * 1024;

/// Descriptors in one packet: stdin, stdout, stderr.
const MAX_DESCRIPTORS: usize = 3;

/// Two connected ends that keep packets whole and tell when the other end has gone.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    for end in [&a, &b] {
        if sockopt::set_socket_send_buffer_size_force(end, BUFFER).is_err() {
            sockopt::set_socket_send_buffer_size(end, BUFFER)?;
        }
    }
    Ok((a, b))
}

/// Sends one packet. With `DONTWAIT` in `flags` it fails with EAGAIN rather than wait.
pub(super) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>], flags: SendFlags) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    loop {
        match sendmsg(socket.as_fd(), &[IoSlice::new(bytes)], &mut control, flags | SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => return result.map(|_| ()),
        }
    }
}

/// A packet that has arrived.
#[derive(Debug)]
pub(super) struct Packet {
    /// Bytes of it in the buffer; 0 when the other end has closed.
    pub(super) length: usize,
    pub(super) fds: Vec<OwnedFd>,
    /// It did not fit the buffer, or the kernel could not hand over every descriptor (EMFILE).
    pub(super) truncated: bool,
}

/// Receives one packet into `buffer`. A dead other end is an empty packet.
pub(super) fn receive(socket: impl AsFd, buffer: &mut [u8], flags: RecvFlags) -> Result<Packet, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut reset = false;
    let message = loop {
        match recvmsg(socket.as_fd(), &mut [IoSliceMut::new(buffer)], &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            // The other end has closed without having read everything; what it had sent is still here.
            Err(Errno::CONNRESET) if !reset => reset = true,
            Err(Errno::CONNRESET) => {
                return Ok(Packet { length: 0, fds: Vec::new(), truncated: false });
            }
            result => break result?,
        }
    };
    let fds = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        })
        .collect();
    let truncated = message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    Ok(Packet { length: message.bytes, fds, truncated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_before_the_end_arrives() {
        let (ours, theirs) = pair().unwrap();
        send(&theirs, b"news", &[], SendFlags::empty()).unwrap();
        // It goes with this unread.
        send(&ours, b"a job", &[], SendFlags::empty()).unwrap();
        drop(theirs);
        let mut buffer = [0; 16];
        for length in [4, 0] {
            assert_eq!(receive(&ours, &mut buffer, RecvFlags::DONTWAIT).unwrap().length, length);
        }
    }
}
