//! What the system makes of a file's first octets: a `#!` line, a binary, or nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A byte order mark of UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Octets that the kernel reads of a `#!` line.
const LINE: usize = 256;

/// What would run a file, and whether that is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// Nobody knows: the file cannot be read, or it needs nothing.
    #[default]
    Unknown,
    /// This one, which is here.
    Here(PathBuf),
    /// This one, which is not; what is here in its place.
    Missing(String, Vec<PathBuf>),
}

/// The `#!` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shebang {
    /// The program, as written, without a CR.
    pub program: Vec<u8>,
    /// What stands behind it.
    pub rest: Vec<u8>,
    /// Where that is `env`: the name it looks for.
    pub by_env: Option<Vec<u8>>,
    /// Whether the line ends in CR LF.
    pub crlf: bool,
}

/// What a file is, by its first octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing could be read, or it is empty.
    Empty,
    /// Begins with `#!`.
    Script(Shebang),
    /// `#!` comes behind this.
    Late(&'static str),
    /// A program of this machine, and the loader it asks for.
    Native(Option<PathBuf>),
    /// A program of another: which.
    Foreign(String),
    /// Neither.
    Plain,
}

/// Judges the first octets of a file; `arch` as in [`std::env::consts::ARCH`].
pub fn kind(head: &[u8], arch: &str) -> Kind {
    if head.is_empty() {
        return Kind::Empty;
    }
    if let Some(line) = head.strip_prefix(b"#!") {
        return Kind::Script(shebang(line));
    }
    if head.strip_prefix(BOM).is_some_and(|rest| rest.trim_ascii_start().starts_with(b"#!")) {
        return Kind::Late("A byte order mark (BOM, \\xEF\\xBB\\xBF) stands");
    }
    if head.trim_ascii_start().starts_with(b"#!") {
        return Kind::Late("Blanks or empty lines stand");
    }
    if head.starts_with(b"\x7fELF") {
        return elf(head, arch);
    }
    let foreign = match head {
        [b'M', b'Z', ..] => "Windows",
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => "macOS (or Java)",
        _ => return Kind::Plain,
    };
    Kind::Foreign(foreign.to_owned())
}

fn shebang(line: &[u8]) -> Shebang {
    let line = &line[..line.len().min(LINE)];
    let line = line.split(|&b| b == b'\n').next().unwrap_or_default();
    let crlf = line.ends_with(b"\r");
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.trim_ascii();
    let rest = line.iter().position(|&b| b == b' ' || b == b'\t').map(|at| line[at..].trim_ascii()).unwrap_or_default();
    let mut words = line.split(|&b| b == b' ' || b == b'\t').filter(|word| !word.is_empty());
    let program = words.next().unwrap_or_default().to_vec();
    let by_env = program
        .ends_with(b"/env")
        .then(|| words.find(|word| !word.starts_with(b"-") && !word.contains(&b'=')).unwrap_or_default().to_vec());
    Shebang { program, rest: rest.to_vec(), by_env: by_env.filter(|name| !name.is_empty()), crlf }
}

/// Machine (ELF header), and the loader (program header of type 3); both as the System V ABI lays them out.
fn elf(head: &[u8], arch: &str) -> Kind {
    let little = head.get(5) != Some(&2);
    let wide = head.get(4) == Some(&2);
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = head.get(at..at.checked_add(length)?)?;
        let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) })
    };
    let machine = match number(18, 2) {
        Some(3) => "x86",
        Some(62) => "x86_64",
        Some(40) => "arm",
        Some(183) => "aarch64",
        Some(243) => "riscv",
        Some(20 | 21) => "powerpc",
        Some(22) => "s390x",
        Some(8) => "mips",
        Some(258) => "loongarch64",
        other => return Kind::Foreign(format!("machine {}", other.unwrap_or_default())),
    };
    // A 64-bit kernel runs the 32-bit programs of its family.
    let native = arch.starts_with(machine)
        || matches!((arch, machine), ("x86_64", "x86") | ("aarch64", "arm"))
        || arch.starts_with("powerpc") && machine == "powerpc";
    if !native {
        return Kind::Foreign(machine.to_owned());
    }
    let (table, size, count) = if wide { (number(32, 8), 54, 56) } else { (number(28, 4), 42, 44) };
    let headers = (table, number(size, 2), number(count, 2));
    let (Some(table), Some(size), Some(count)) = headers else { return Kind::Native(None) };
    for n in 0..count.min(64) {
        let Some(at) = n.checked_mul(size).and_then(|o| o.checked_add(table)).and_then(|o| usize::try_from(o).ok())
        else {
            break;
        };
        if number(at, 4) != Some(3) {
            continue;
        }
        let (offset, length) =
            if wide { (number(at + 8, 8), number(at + 32, 8)) } else { (number(at + 4, 4), number(at + 16, 4)) };
        let loader = offset.zip(length).and_then(|(offset, length)| {
            let from = usize::try_from(offset).ok()?;
            let to = from.checked_add(usize::try_from(length).ok()?)?;
            head.get(from..to)?.split(|&b| b == 0).next()
        });
        return Kind::Native(loader.map(|path| PathBuf::from(OsStr::from_bytes(path))));
    }
    Kind::Native(None)
}
