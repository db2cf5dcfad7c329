//! Modules of Python's standard library, as of 3.13, and those that left it with 3.13 (PEP 594).

/// Those that a script may want and a file beside it may hide.
const MODULES: &str = " abc argparse array ast asyncio atexit base64 bdb binascii bisect builtins bz2 calendar cmath cmd \
code codecs codeop collections colorsys compileall concurrent configparser contextlib contextvars copy copyreg csv ctypes \
curses dataclasses datetime dbm decimal difflib dis doctest email encodings enum errno faulthandler fcntl filecmp \
fileinput fnmatch fractions ftplib functools gc getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac html \
http imaplib importlib inspect io ipaddress itertools json keyword linecache locale logging lzma mailbox marshal math \
mimetypes mmap multiprocessing netrc numbers operator optparse os pathlib pdb pickle pkgutil platform plistlib poplib \
posix posixpath pprint profile pstats pty pwd queue quopri random re readline reprlib resource runpy sched secrets select \
selectors shelve shlex shutil signal site smtplib socket socketserver sqlite3 ssl stat statistics string stringprep \
struct subprocess symtable sys sysconfig syslog tarfile tempfile termios textwrap threading time timeit tkinter token \
tokenize tomllib trace traceback tracemalloc tty turtle types typing unicodedata unittest urllib uuid venv warnings wave \
weakref webbrowser wsgiref xml xmlrpc zipfile zipimport zlib zoneinfo ";

/// Module and the package that carries it on.
const GONE: &[(&str, &str)] = &[
    ("cgi", "legacy-cgi"),
    ("cgitb", "legacy-cgi"),
    ("crypt", "legacycrypt"),
    ("imghdr", "standard-imghdr"),
    ("mailcap", "standard-mailcap"),
    ("nntplib", "standard-nntplib"),
    ("pipes", "standard-pipes"),
    ("sndhdr", "standard-sndhdr"),
    ("telnetlib", "standard-telnetlib"),
    ("uu", "standard-uu"),
    ("xdrlib", "standard-xdrlib"),
    ("audioop", "audioop-lts"),
    ("chunk", "standard-chunk"),
];

/// Modules that only Python 2 had.
const PYTHON2: &str = " urllib2 urlparse httplib cookielib Cookie StringIO cStringIO ConfigParser Queue commands \
BaseHTTPServer CGIHTTPServer SimpleHTTPServer HTMLParser htmlentitydefs md5 sha sets exceptions __builtin__ cPickle \
xmlrpclib anydbm dbhash whichdb popen2 mimetools rfc822 ";

fn holds(list: &str, name: &str) -> bool {
    !name.is_empty() && !name.contains(' ') && list.contains(&format!(" {name} "))
}

/// Whether `import name` means the standard library.
pub(super) fn is_standard(name: &str) -> bool {
    holds(MODULES, name)
}

/// The package that carries on what left with 3.13.
pub(super) fn package_for(name: &str) -> Option<&'static str> {
    GONE.iter().find(|(module, _)| *module == name).map(|(_, package)| *package)
}

/// Whether only Python 2 had it.
pub(super) fn is_python2(name: &str) -> bool {
    holds(PYTHON2, name)
}
