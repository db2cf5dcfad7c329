//! The catalogue: every cause that has a name, what happened, what to do about it, and the command to copy.

use super::words;

macro_rules! causes {
    ($($(#[$doc:meta])* $cause:ident => $slug:literal, $what:literal, $fix:literal, $command:literal;)*) => {
        /// Why a script does not do what its author wants. A closed set: each has one slug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cause { $($(#[$doc])* $cause,)* }

        impl Cause {
            /// Every cause, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$cause,)*];

            /// The row of the table: slug, what happened, what to do, command to copy. `{name}` stands for a fact.
            pub const fn row(self) -> (&'static str, &'static str, &'static str, &'static str) {
                match self { $(Self::$cause => ($slug, $what, $fix, $command),)* }
            }
        }
    };
}

causes! {
    /// A 404 below a script folder.
    NoSuchScript => "no-such-script",
        "There is no script {file}.{near}",
        "Look at the name, capitals included.",
        "ls -l {folder}";
    /// The x bit is missing, for the user who runs it.
    NotExecutable => "not-executable",
        "{file} may not be run by {user}: its mode is {mode}, its owner {owner}.",
        "Give it the x bit.",
        "chmod +x {file}";
    /// A folder above the script cannot be searched.
    FolderNotSearchable => "folder-not-searchable",
        "{folder}, a folder above the script, may not be searched by {user}: its mode is {mode}, its owner {owner}.",
        "Let others search that folder (x), or move the script.",
        "chmod o+x {folder}";
    /// `#!` names a program that is not here.
    InterpreterMissing => "interpreter-missing",
        "The first line of {file} asks for {program}, which is not here.{instead}",
        "Name a program that is here in the first line, or install the one it names.",
        "sed -i '1s|.*|#!{better}|' {file}";
    /// The `#!` line ends in CR LF.
    CrlfShebang => "crlf-shebang",
        "The first line of {file} ends in CR LF, so the system looks for a program named \"{program}\\r\".",
        "Turn its line ends into those of Unix.",
        "sed -i 's/\\r$//' {file}";
    /// Something stands before `#!`.
    BomBeforeShebang => "bom-before-shebang",
        "{before} before the #! of {file}, so the system does not see it.",
        "Take away what stands before #!; it must be the first two octets of the file.",
        "sed -i '1s/^[^#]*#!/#!/' {file}";
    /// Neither `#!` nor a program of this system.
    NoShebang => "no-shebang",
        "{file} does not begin with #!, so the system does not know what runs it.",
        "Write the program that runs it into the first line.",
        "sed -i '1i #!{better}' {file}";
    /// Nothing on this file system may be executed.
    NoexecMount => "noexec-mount",
        "{file} is on {mount}, which is mounted noexec: no file there may be executed.",
        "Move the script, or name its interpreter in the configuration: it is only read then.",
        "mount -o remount,exec {mount}";
    /// A program for another machine or system.
    WrongArchitecture => "wrong-architecture",
        "{file} is a program for {theirs}; this is {ours}.",
        "Compile it for this machine.",
        "file {file}";
    /// Everybody could have written it.
    WritableByOthers => "writable-by-others",
        "{file} may be written by everybody (mode {mode}), so anybody could have written what would run.",
        "Take that right away, or say refuse-writable = false.",
        "chmod o-w {file}";
    /// It ended and had not written a header.
    ExitBeforeHeader => "exit-before-header",
        "{file} {how} before any header: it wrote {octets} octets and no blank line.{last}",
        "Read its standard error; run it by hand to see the same.",
        "cgiserve run -v {file}";
    /// A signal ended it.
    KilledBySignal => "killed-by-signal",
        "{file} was ended by signal {signal} ({meaning}).",
        "Run it by hand; a crash leaves its last words on standard error.",
        "cgiserve run -v {file}";
    /// A limit of ours ended it, or kept it from going on.
    KilledByLimit => "killed-by-limit",
        "{file} ran into the limit {key} = {value}.",
        "Make it do less, or raise that key in cgiserve.toml.",
        "{key} = {more}";
    /// The header has no end.
    NoBlankLine => "no-blank-line",
        "The header that {file} wrote has no blank line behind it: its last line is \"{line}\".",
        "Print an empty line between header and body.",
        "{print}";
    /// A line of the header is none.
    HeaderLineWithoutColon => "header-line-without-colon",
        "{file} wrote a line into its header that is not \"Name: value\": \"{line}\".",
        "Print the header and a blank line first; everything else belongs behind them, or on standard error.",
        "cgiserve run -v {file}";
    /// The header breaks another rule.
    BadHeader => "bad-header",
        "The header that {file} wrote cannot be sent: {problem}.",
        "Print fields as \"Name: value\", one a line, without control characters.",
        "cgiserve run -v {file}";
    /// More body than announced.
    BodyLonger => "body-longer",
        "The answer of {file} broke its own word: {fault}.",
        "Count octets, not characters; or leave Content-Length out, and the server counts.",
        "cgiserve run -v {file}";
    /// Less body than announced.
    BodyShorter => "body-shorter",
        "The answer of {file} broke its own word: {fault}.",
        "Count octets, not characters; or leave Content-Length out, and the server counts.",
        "cgiserve run -v {file}";
    /// `cgi` and its like left Python's library with 3.13.
    PythonCgiModuleGone => "python-cgi-module-gone",
        "{file} imports the Python module \"{module}\", which left the standard library with Python 3.13.",
        "Install the package that carries it on.",
        "{python} -m pip install {package}";
    /// A file beside the script has the name of a standard module.
    ShadowedModule => "shadowed-module",
        "{shadow} has the name of Python's standard module \"{module}\", so \"import {module}\" in {file} finds it.",
        "Rename that file.",
        "mv {shadow} {renamed}";
    /// Written for Python 2.
    Python2Syntax => "python2-syntax",
        "{file} is written for Python 2, and runs with Python 3: {sign}.",
        "Translate it to Python 3 (2to3 does most of it).",
        "2to3 -w {file}";
    /// `.` left @INC with Perl 5.26.
    PerlDotInc => "perl-dot-inc",
        "{file} wants {module} from its own folder, where Perl has not looked since 5.26 (\".\" left @INC).",
        "Say where it is: use FindBin; use lib $FindBin::Bin;",
        "sed -i '1a use FindBin; use lib $FindBin::Bin;' {file}";
    /// php-cgi believes it was called directly.
    PhpForceRedirect => "php-force-redirect",
        "php-cgi refused to run {file}: it was built with force-cgi-redirect and saw no REDIRECT_STATUS.",
        "Let REDIRECT_STATUS reach it, or turn that check off: the server itself chooses what runs.",
        "php-cgi -d cgi.force_redirect=0 {file}";
    /// SQLite could not write.
    ReadOnlyDatabase => "read-only-database",
        "{file} runs as {user} and cannot write its database {target}: its mode is {mode}, its owner {owner}.",
        "Give that user the file and its folder (a journal is made there), or keep it in $X_STATE_DIRECTORY.",
        "chown {username} {target}";
    /// The system said no.
    Permission => "permission",
        "{file} runs as {user}, who may not use {target}: its mode is {mode}, its owner {owner}.{sandbox}",
        "Give that user the right, or keep the data in $X_STATE_DIRECTORY.",
        "ls -ld {target}";
    /// A module or program of its own that is not installed.
    ModuleMissing => "module-missing",
        "{file} wants the {language} module \"{module}\", which is not installed for {program}.",
        "Install it for that program.",
        "{install}";
}

impl Cause {
    /// The word for this cause.
    pub const fn slug(self) -> &'static str {
        self.row().0
    }

    /// The row with its facts filled in.
    pub fn because(self, facts: &[(&str, &str)]) -> Diagnosis {
        let (_, what, fix, command) = self.row();
        Diagnosis {
            cause: self,
            what: words::fill(what, facts, words::shown),
            fix: words::fill(fix, facts, words::shown),
            command: words::fill(command, facts, words::shell),
            detail: None,
        }
    }
}

/// One cause with its facts: what page, log, `check` and `run` all say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Which.
    pub cause: Cause,
    /// What happened, with names and modes.
    pub what: String,
    /// What to do.
    pub fix: String,
    /// The command to copy; file names quoted for a shell.
    pub command: String,
    /// What only the author at the shell may see: the first octets of the file. Never on a page.
    pub detail: Option<String>,
}

impl Diagnosis {
    /// One line for the log.
    pub fn line(&self) -> String {
        format!("{} {} ({})", self.what, self.fix, self.command)
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "cause": self.cause.slug(), "what": self.what, "fix": self.fix, "command": self.command,
            "detail": self.detail,
        })
    }
}

impl std::fmt::Display for Diagnosis {
    /// For a terminal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}: {}", self.cause.slug(), self.what)?;
        if let Some(detail) = &self.detail {
            writeln!(f, "    {detail}")?;
        }
        writeln!(f, "    {}", self.fix)?;
        write!(f, "    $ {}", self.command)
    }
}
