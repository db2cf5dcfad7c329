//! The system calls a script of the standard or strict sandbox may not make; they fail with EPERM.
//!
//! A deny-list, because scripts are anything. The filter is written out here as BPF because a script may be a 32-bit
//! program: the calls of the second table close that side door, where a filter for one architecture would either kill
//! such programs or let them by. It is installed once, in the spawner, and inherited: attaching it to every script
//! would compile it anew each time.

use libc::sock_filter as Instruction;

/// The filter; `None` on an architecture without tables here.
///
/// `secret`: the sixth argument with which alone `prlimit64` may set RLIMIT_RTTIME, the cookie of
/// [`super::family`]. The kernel ignores that argument and a script cannot know it, so the spawner, which is under
/// the filter too, marks its children and nobody else does.
pub(super) fn program(secret: u64) -> Option<Vec<Instruction>> {
    let arch = NATIVE_ARCH?;
    let native = body(&[NATIVE, NATIVE_OLD], &NATIVE_SPECIAL, secret);
    let mut program = vec![load(ARCH_OFFSET)];
    // Conditional jumps reach 255 instructions, so the long way is an absolute one.
    program.push(jump(libc::BPF_JEQ, arch, 1, 0));
    program.push(always(u32::try_from(native.len()).ok()?));
    program.extend(native);
    if cfg!(target_arch = "x86_64") {
        let compat = body(&[I386], &I386_SPECIAL, secret);
        program.push(jump(libc::BPF_JEQ, ARCH_I386, 1, 0));
        program.push(always(u32::try_from(compat.len()).ok()?));
        program.extend(compat);
    }
    program.push(answer(errno(libc::ENOSYS)));
    Some(program)
}

/// Numbers of the calls of which only some uses are refused.
struct Special {
    clone: u32,
    clone3: u32,
    unshare: u32,
    setrlimit: Option<u32>,
    prlimit64: u32,
    /// Whether a second numbering of the same calls must be refused.
    x32: bool,
}

/// Bytes from the start of `struct seccomp_data`.
const NUMBER_OFFSET: u32 = 0;
const ARCH_OFFSET: u32 = 4;
const fn argument(n: u32) -> u32 {
    16 + 8 * n // the low half, on the little-endian machines of NATIVE_ARCH
}

/// Every namespace flag (`CLONE_NEW*`) of clone and unshare.
const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

fn body(denied: &[&[u32]], special: &Special, secret: u64) -> Vec<Instruction> {
    let deny = answer(errno(libc::EPERM));
    let allow = answer(libc::SECCOMP_RET_ALLOW);
    let mut body = vec![load(NUMBER_OFFSET)];
    if special.x32 {
        // x32 numbers the same calls from 2^30: no list of ours would match them.
        body.extend([jump(libc::BPF_JGE, 0x4000_0000, 0, 1), answer(errno(libc::ENOSYS))]);
    }
    // Its flags lie in memory, where a filter cannot look; ENOSYS makes every C library fall back to clone.
    body.extend([jump(libc::BPF_JEQ, special.clone3, 0, 1), answer(errno(libc::ENOSYS))]);
    for call in [special.clone, special.unshare] {
        body.extend([
            jump(libc::BPF_JEQ, call, 0, 4),
            load(argument(0)),
            jump(libc::BPF_JSET, NEW_NAMESPACES, 0, 1),
            deny,
            allow,
        ]);
    }
    // The cookie by which an orphan is found: read by all, set by the spawner.
    if let Some(call) = special.setrlimit {
        body.extend([
            jump(libc::BPF_JEQ, call, 0, 4),
            load(argument(0)),
            jump(libc::BPF_JEQ, libc::RLIMIT_RTTIME, 0, 1),
            deny,
            allow,
        ]);
    }
    body.extend([
        jump(libc::BPF_JEQ, special.prlimit64, 0, 12),
        load(argument(1)),
        jump(libc::BPF_JEQ, libc::RLIMIT_RTTIME, 0, 9),
        load(argument(2)),
        jump(libc::BPF_JEQ, 0, 0, 2),
        load(argument(2) + 4),
        jump(libc::BPF_JEQ, 0, 5, 0),
        load(argument(5)),
        jump(libc::BPF_JEQ, secret as u32, 0, 2),
        load(argument(5) + 4),
        jump(libc::BPF_JEQ, (secret >> 32) as u32, 1, 0),
        deny,
        allow,
    ]);
    for call in denied.iter().copied().flatten() {
        body.extend([jump(libc::BPF_JEQ, *call, 0, 1), deny]);
    }
    body.push(allow);
    body
}

const fn statement(code: u32, k: u32) -> Instruction {
    Instruction { code: code as u16, jt: 0, jf: 0, k }
}

const fn load(offset: u32) -> Instruction {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

const fn answer(action: u32) -> Instruction {
    statement(libc::BPF_RET | libc::BPF_K, action)
}

const fn always(skip: u32) -> Instruction {
    statement(libc::BPF_JMP | libc::BPF_JA, skip)
}

const fn jump(test: u32, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code: (libc::BPF_JMP | test | libc::BPF_K) as u16, jt, jf, k }
}

const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | (number as u32 & libc::SECCOMP_RET_DATA)
}

const ARCH_I386: u32 = 0x4000_0003;

const NATIVE_ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xC000_003E)
} else if cfg!(target_arch = "aarch64") {
    Some(0xC000_00B7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xC000_00F3)
} else {
    None
};

const NATIVE_SPECIAL: Special = Special {
    clone: libc::SYS_clone as u32,
    clone3: libc::SYS_clone3 as u32,
    unshare: libc::SYS_unshare as u32,
    #[cfg(target_arch = "x86_64")]
    setrlimit: Some(libc::SYS_setrlimit as u32),
    #[cfg(target_arch = "aarch64")]
    setrlimit: Some(164),
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    setrlimit: None,
    prlimit64: libc::SYS_prlimit64 as u32,
    x32: cfg!(target_arch = "x86_64"),
};

const I386_SPECIAL: Special =
    Special { clone: 120, clone3: 435, unshare: 310, setrlimit: Some(75), prlimit64: 340, x32: false };

macro_rules! numbers {
    ($($name:ident),* $(,)?) => { &[$(libc::$name as u32),*] };
}

/// In groups: mounts and roots · other processes · the kernel · keys · file handles · namespaces · clocks and names ·
/// an interface so wide (io_uring) that a filter sees nothing of what it does.
#[rustfmt::skip]
const NATIVE: &[u32] = numbers![
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_fsconfig,
    SYS_fsmount, SYS_fspick, SYS_mount_setattr, SYS_quotactl, SYS_swapon, SYS_swapoff,
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, SYS_pidfd_getfd,
    SYS_bpf, SYS_perf_event_open, SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module,
    SYS_delete_module, SYS_reboot, SYS_syslog, SYS_acct, SYS_userfaultfd,
    SYS_keyctl, SYS_add_key, SYS_request_key,
    SYS_open_by_handle_at, SYS_name_to_handle_at,
    SYS_setns,
    SYS_clock_settime, SYS_settimeofday, SYS_clock_adjtime, SYS_adjtimex, SYS_sethostname, SYS_setdomainname,
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
];

/// Old calls that only some architectures have.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const NATIVE_OLD: &[u32] = numbers![SYS_iopl, SYS_ioperm, SYS_uselib, SYS_lookup_dcookie, SYS_nfsservctl];
#[cfg(not(target_arch = "x86_64"))]
const NATIVE_OLD: &[u32] = &[];

#[rustfmt::skip]
/// The same for 32-bit programs on x86-64, from the kernel's `syscall_32.tbl`; both umounts, both settimes.
const I386: &[u32] = &[
    21, 22, 52, 217, 61, 429, 428, 430, 431, 432, 433, 442, 131, 87, 115, // mounts
    26, 347, 348, 349, 438, // other processes
    357, 336, 283, 128, 350, 129, 127, 88, 103, 51, 374, // kernel
    288, 286, 287, // keys
    342, 341, // handles
    346, // setns
    264, 404, 79, 25, 343, 405, 124, 74, 121, // clocks and names
    425, 426, 427, // io_uring
    253, 169, 110, 101, 86, 113,
    166, // lookup_dcookie, nfsservctl, iopl, ioperm, uselib, vm86old, vm86
];

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: u64 = 0x8123_4567_89ab_cdef;

    /// Runs the filter as the kernel would.
    fn run(arch: u32, call: u32, arguments: [u64; 6]) -> u32 {
        let mut data = [0u8; 64];
        data[..4].copy_from_slice(&call.to_le_bytes());
        data[4..8].copy_from_slice(&arch.to_le_bytes());
        for (n, value) in arguments.iter().enumerate() {
            data[16 + 8 * n..24 + 8 * n].copy_from_slice(&value.to_le_bytes());
        }
        let program = program(SECRET).expect("an architecture with tables");
        let (mut at, mut a) = (0, 0u32);
        loop {
            let i = program[at];
            let class = u32::from(i.code) & 7;
            at += 1;
            if class == libc::BPF_LD {
                a = u32::from_le_bytes(data[i.k as usize..i.k as usize + 4].try_into().expect("in range"));
            } else if class == libc::BPF_RET {
                return i.k;
            } else {
                at += match u32::from(i.code) & 0xf0 {
                    libc::BPF_JA => i.k as usize,
                    libc::BPF_JEQ => usize::from(if a == i.k { i.jt } else { i.jf }),
                    libc::BPF_JGE => usize::from(if a >= i.k { i.jt } else { i.jf }),
                    libc::BPF_JSET => usize::from(if a & i.k != 0 { i.jt } else { i.jf }),
                    test => panic!("no such jump: {test:#x}"),
                };
            }
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_is_refused() {
        const NATIVE_X86: u32 = 0xC000_003E;
        let (eperm, enosys, allow) = (errno(libc::EPERM), errno(libc::ENOSYS), libc::SECCOMP_RET_ALLOW);
        let user_namespace = libc::CLONE_NEWUSER as u64;
        for (arch, call, arguments, expected) in [
            (NATIVE_X86, libc::SYS_read, [0; 6], allow),
            (NATIVE_X86, libc::SYS_execve, [0; 6], allow),
            (NATIVE_X86, libc::SYS_mount, [0; 6], eperm),
            (NATIVE_X86, libc::SYS_uselib, [0; 6], eperm),
            (NATIVE_X86, libc::SYS_clone3, [0; 6], enosys),
            (NATIVE_X86, libc::SYS_clone, [17, 0, 0, 0, 0, 0], allow),
            (NATIVE_X86, libc::SYS_clone, [17 | user_namespace, 0, 0, 0, 0, 0], eperm),
            (NATIVE_X86, libc::SYS_unshare, [libc::CLONE_FILES as u64, 0, 0, 0, 0, 0], allow),
            (NATIVE_X86, libc::SYS_unshare, [libc::CLONE_NEWNS as u64, 0, 0, 0, 0, 0], eperm),
            (NATIVE_X86, libc::SYS_setrlimit, [7, 1, 0, 0, 0, 0], allow),
            (NATIVE_X86, libc::SYS_setrlimit, [15, 1, 0, 0, 0, 0], eperm),
            (NATIVE_X86, libc::SYS_prlimit64, [0, 7, 1, 0, 0, 0], allow),
            (NATIVE_X86, libc::SYS_prlimit64, [0, 15, 0, 1, 0, 0], allow),
            (NATIVE_X86, libc::SYS_prlimit64, [0, 15, 1, 0, 0, 0], eperm),
            (NATIVE_X86, libc::SYS_prlimit64, [0, 15, 1 << 32, 0, 0, 0], eperm),
            (NATIVE_X86, libc::SYS_prlimit64, [0, 15, 1, 0, 0, SECRET], allow),
            (NATIVE_X86, libc::SYS_prlimit64, [0, 15, 1, 0, 0, SECRET & 0xffff_ffff], eperm),
            (NATIVE_X86, libc::SYS_prlimit64, [0, 15, 1, 0, 0, SECRET ^ 1], eperm),
            (NATIVE_X86, libc::SYS_read | 0x4000_0000, [0; 6], enosys),
            (ARCH_I386, 3, [0; 6], allow),
            (ARCH_I386, 21, [0; 6], eperm),
            (ARCH_I386, 166, [0; 6], eperm),
            (ARCH_I386, 435, [0; 6], enosys),
            (ARCH_I386, 120, [user_namespace, 0, 0, 0, 0, 0], eperm),
            (0x1234, 3, [0; 6], enosys),
        ] {
            assert_eq!(run(arch, call as u32, arguments), expected, "{arch:#x} {call} {arguments:?}");
        }
    }
}
