//! `cgiserve convert`: configurations in the shape in which packages ship them and people write them, converted,
//! served, and asked for what they are there for. `@` is the folder of the test.

use std::fs;
use std::path::Path;

use super::{Server, Tree, text};

/// Tells who it is and what it was told.
const TELLS: &[u8] = b"#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\necho \"ran [$SCRIPT_NAME] [$PATH_INFO] [$QUERY_STRING] [$CONFIG] [$REMOTE_USER]\"\n";

/// Path, and what the answer must hold; a status, or words of the body.
type Wanted = &'static [(&'static str, &'static str)];

fn tree(name: &str) -> Tree {
    let tree = Tree::new(name);
    for program in [
        "lib/cgi-bin/mapserv",
        "lib/cgi-bin/awstats.pl",
        "lib/cgi-bin/nagios4/status.cgi",
        "lib/cgit/cgit.cgi",
        "share/gitweb/index.cgi",
        "www/a.pl",
        "www/private/a.pl",
        "www/staff/a.pl",
        "www/cgi-bin/told",
        "www/cgi-bin/staff/told",
        "www/cgi-bin/one.pl",
        "lib/cgi-bin/admin.cgi",
    ] {
        tree.put(program, TELLS, 0o755);
    }
    let php = b"<?php echo 'it ', 'ran'; ?>";
    for (file, said) in [
        ("share/gitweb/static/gitweb.css", &b"css of gitweb"[..]),
        ("share/cgit/cgit.css", b"css of cgit"),
        ("share/nagios4/index.php", php),
        ("share/icon/a.png", b"an icon"),
        ("www/index.html", b"the first page"),
        ("www/b.inc", b"nobody's"),
        ("www/b.txt", b"nobody's"),
        ("www/private/i.html", b"nobody's"),
        ("www/staff/i.html", b"for the staff"),
        ("www/inside/i.html", b"for some addresses"),
    ] {
        tree.put(file, said, 0o644);
    }
    // joe, sesame
    tree.put("users", b"joe:{SHA}CEo1Ae3vaEXy8eQZjsOiuBz1xrw=\n", 0o644);
    tree
}

/// Converts `written` and serves the result; the tables of the result as text.
fn serve(tree: &Tree, written: &str, flags: &[&str]) -> (Server, String) {
    fs::write(tree.0.join("written"), written.replace('@', tree.0.to_str().unwrap())).unwrap();
    let converted = tree.command(&[&["convert"], flags, &["written"]].concat());
    assert_eq!(converted.status.code(), Some(0), "{converted:?}");
    fs::write(tree.0.join("converted.toml"), &converted.stdout).unwrap();
    (Server::start(tree, &["--config", "converted.toml", "-b", "127.0.0.1"]), text(&converted.stdout))
}

fn ask_all(name: &str, written: &str, flags: &[&str], wanted: Wanted) {
    let tree = tree(name);
    let (server, toml) = serve(&tree, written, flags);
    for (path, words) in wanted {
        let (path, fields) = match path.strip_prefix("joe:") {
            Some(path) => (path, "Authorization: Basic am9lOnNlc2FtZQ==\r\n"),
            None => (*path, ""),
        };
        let answer = server.get(path, fields);
        let holds = match words.parse::<u16>() {
            Ok(status) => answer.starts_with(&format!("HTTP/1.1 {status} ")),
            Err(_) => answer.starts_with("HTTP/1.1 200 ") && answer.contains(words),
        };
        assert!(holds, "{name}: {path} is not {words}: {answer}\n{toml}");
        assert!(!answer.contains("#!/bin/sh") && !answer.contains("<?php"), "{name}: the text of {path}: {answer}");
    }
}

#[test]
fn a_folder_of_programs() {
    let written = "<IfModule mod_alias.c>\n<IfModule mod_cgid.c>\n  Define HAVE_CGI_FOLDER\n</IfModule>\n\
        <IfDefine HAVE_CGI_FOLDER>\n  ScriptAlias /cgi-bin/ @/lib/cgi-bin/\n  <Directory \"@/lib/cgi-bin\">\n    \
        AllowOverride None\n    Options +ExecCGI -MultiViews\n    Require all granted\n  </Directory>\n</IfDefine>\n\
        </IfModule>\n";
    ask_all(
        "serve-cgi-bin",
        written,
        &[],
        &[
            ("/cgi-bin/awstats.pl/x?y=z", "ran [/cgi-bin/awstats.pl] [/x] [y=z]"),
            ("/cgi-bin/nagios4/status.cgi", "ran [/cgi-bin/nagios4/status.cgi] []"),
            ("/cgi-bin/none", "404"),
            ("/written", "404"),
            ("/", "404"),
        ],
    );
}

#[test]
fn programs_among_the_files() {
    let written = "<IfModule mod_cgi.c>\n  Define HAVE_GITWEB\n</IfModule>\n<IfDefine HAVE_GITWEB>\n\
        Alias /gitweb @/share/gitweb\n<Directory @/share/gitweb>\n  Options +FollowSymLinks +ExecCGI\n  \
        AddHandler cgi-script .cgi\n</Directory>\n</IfDefine>\n";
    ask_all(
        "gitweb",
        written,
        &[],
        &[
            ("/gitweb/index.cgi?p=x", "ran [/gitweb/index.cgi] [] [p=x]"),
            ("/gitweb/?p=x", "ran [/gitweb/index.cgi] [] [p=x]"),
            ("/gitweb/static/gitweb.css", "css of gitweb"),
            ("/gitweb", "301"),
        ],
    );
}

#[test]
fn one_program_for_a_path() {
    let cgit = "ScriptAlias /cgit/ \"@/lib/cgit/cgit.cgi/\"\nRedirectMatch ^/cgit$ /cgit/\nAlias /cgit-css \"@/share/cgit/\"\n\
        <Directory \"@/lib/cgit/\">\n  AllowOverride None\n  Options ExecCGI FollowSymlinks\n  Require all granted\n\
        </Directory>\n";
    ask_all(
        "cgit",
        cgit,
        &[],
        &[("/cgit/repo/tree", "ran [/cgit] [/repo/tree]"), ("/cgit", "302"), ("/cgit-css/cgit.css", "css of cgit")],
    );
    let part = "ScriptAlias /cgit @/lib/cgit/cgit.cgi\n<Location /cgit/secret>\n  Require all denied\n</Location>\n";
    let wanted: Wanted = &[("/cgit/repo", "ran [/cgit] [/repo]"), ("/cgit/secret", "301"), ("/cgit/secret/x", "404")];
    ask_all("cgit-part", part, &[], wanted);
    let mapserver = "ScriptAlias /cgi-bin/mapserv @/lib/cgi-bin/mapserv\n<Location /cgi-bin/mapserv>\n  \
        SetEnv CONFIG /etc/maps.conf\n</Location>\n";
    ask_all(
        "mapserver",
        mapserver,
        &[],
        &[
            ("/cgi-bin/mapserv?map=x", "ran [/cgi-bin/mapserv] [] [map=x] [/etc/maps.conf]"),
            ("/cgi-bin/mapserv/y", "ran [/cgi-bin/mapserv] [/y]"),
        ],
    );
    let statistics = "<Directory @/share/icon>\n  Order allow,deny\n  Allow from all\n</Directory>\n\
        Alias /awstats-icon/ @/share/icon/\nScriptAlias /cgi-bin/ @/lib/cgi-bin/\n";
    ask_all("awstats", statistics, &[], &[("/awstats-icon/a.png", "an icon"), ("/cgi-bin/awstats.pl", "ran ")]);
}

#[test]
fn who_may_come_by_address_is_this_machine() {
    let written = "ScriptAlias /nagios4/cgi-bin @/lib/cgi-bin/nagios4\nAlias /nagios4 @/share/nagios4\n\
        <DirectoryMatch (@/share/nagios4|@/lib/cgi-bin/nagios4)>\n  DirectoryIndex index.php index.html\n  \
        Require ip ::1/128 10.0.0.0/8 127.0.0.0/8\n  <Files \"cmd.cgi\">\n    AuthType Digest\n    \
        AuthUserFile \"@/htdigest\"\n    Require all granted\n  </Files>\n</DirectoryMatch>\n";
    ask_all("nagios", written, &[], &[("/nagios4/cgi-bin/status.cgi", "ran [/nagios4/cgi-bin/status.cgi]")]);
    let tree = tree("nagios-php");
    let (server, toml) = serve(&tree, written, &[]);
    assert!(toml.starts_with("bind = [\"127.0.0.1\"] #") && toml.contains("WHO COMES IS NOT LIMITED"), "{toml}");
    let answer = server.get("/nagios4/index.php", "");
    let run = answer.contains("it ran") || answer.starts_with("HTTP/1.1 404 ");
    assert!(run, "without php-cgi nobody gets its text: {answer}\n{toml}");
}

#[test]
fn what_a_site_of_apache_protects_stays_protected() {
    let written = "Listen 80\n<Directory />\n  Require all denied\n</Directory>\n<VirtualHost *:80>\nDocumentRoot \"@/www\"\n\
        ScriptAlias /cgi-bin/ \"@/lib/cgi-bin/\"\nAddHandler cgi-script .pl .cgi\n\
        <Directory @/www>\n  Require all granted\n</Directory>\n<Directory @/lib/cgi-bin>\n  Require all granted\n</Directory>\n\
        <Directory @/www/private>\n  Require all denied\n</Directory>\n\
        <Location /staff>\n  AuthType Basic\n  AuthName Staff\n  AuthUserFile @/users\n  Require valid-user\n</Location>\n\
        <Location /cgi-bin/admin.cgi>\n  AuthType Basic\n  AuthUserFile @/users\n  Require user joe\n</Location>\n\
        <Location /b.txt>\n  Require all denied\n</Location>\n\
        <Directory @/lib/cgi-bin/nagios4>\n  <Files \"status.cgi\">\n    Require all denied\n  </Files>\n</Directory>\n\
        <Location /inside>\n  Require ip 10.0.0.0/8\n</Location>\n\
        <FilesMatch \"\\.(inc|bak)$\">\n  Require all denied\n</FilesMatch>\n</VirtualHost>\n";
    ask_all(
        "site",
        written,
        &[],
        &[
            ("/", "the first page"),
            ("/a.pl", "ran [/a.pl]"),
            // A suffix that runs among the files does not take the folder of programs away.
            ("/cgi-bin/awstats.pl/x", "ran [/cgi-bin/awstats.pl] [/x]"),
            ("/private/i.html", "404"),
            ("/private/a.pl", "404"),
            ("/inside/i.html", "404"),
            ("/b.inc", "404"),
            ("/b.txt", "404"),
            ("/staff/i.html", "401"),
            ("/staff/a.pl", "401"),
            ("joe:/staff/i.html", "for the staff"),
            ("joe:/staff/a.pl", "[joe]"),
            // One program, with path behind it and without.
            ("/cgi-bin/admin.cgi", "401"),
            ("/cgi-bin/admin.cgi/x", "401"),
            ("joe:/cgi-bin/admin.cgi/x", "ran [/cgi-bin/admin.cgi] [/x] [] [] [joe]"),
            ("/cgi-bin/nagios4/status.cgi", "404"),
            ("/cgi-bin/nagios4/status.cgi/x", "404"),
        ],
    );
}

#[test]
fn a_password_for_an_expression_is_asked_for_more_rather_than_less() {
    let written = "ScriptAlias /git/ @/lib/cgit/cgit.cgi/\n<LocationMatch \"^/git/.*/git-receive-pack$\">\n  AuthType Basic\n  \
        AuthUserFile @/users\n  Require valid-user\n</LocationMatch>\nScriptAlias /cgi-bin/ @/lib/cgi-bin/\n\
        <Location /cgi-bin>\n  AuthType Basic\n  AuthUserFile @/users\n  <LimitExcept GET HEAD>\n    Require valid-user\n  \
        </LimitExcept>\n</Location>\n";
    ask_all(
        "expression",
        written,
        &[],
        &[
            ("/git/x/git-receive-pack", "401"),
            ("joe:/git/x/git-receive-pack", "ran [/git] [/x/git-receive-pack] [] [] [joe]"),
            ("/cgi-bin/awstats.pl", "401"),
            ("joe:/cgi-bin/awstats.pl", "ran "),
        ],
    );
}

#[test]
fn check_knows_what_is_closed_on_purpose() {
    let tree = tree("checked");
    let written = "Alias /x/ @/www/\n<FilesMatch \"\\.inc$\">\n  Require all denied\n</FilesMatch>\n";
    drop(serve(&tree, written, &[]));
    let checked = tree.command(&["check", "--config", "converted.toml"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));
}

#[test]
fn what_cannot_be_said_of_credentials_closes() {
    let written = "Alias /x/ @/www/\n<Location /x/staff>\n  AuthType Digest\n  AuthUserFile @/htdigest\n  Require valid-user\n\
        </Location>\n";
    ask_all("digest", written, &[], &[("/x/index.html", "the first page"), ("/x/staff/i.html", "404")]);
}

#[test]
fn lighttpds_own() {
    let written = "server.modules += ( \"mod_cgi\" )\n\n$HTTP[\"url\"] =~ \"^/cgi-bin/\" {\n\tcgi.assign = ( \"\" => \"\" )\n\
        \talias.url += ( \"/cgi-bin/\" => \"@/lib/cgi-bin/\" )\n}\n";
    ask_all(
        "lighttpd",
        written,
        &[],
        &[("/cgi-bin/awstats.pl/x?y", "ran [/cgi-bin/awstats.pl] [/x] [y]"), ("/", "404")],
    );
    let site = "server.document-root = \"@/www\"\nserver.port = 80\ncgi.assign = ( \".pl\" => \"/bin/sh\" )\n\
        url.access-deny = ( \"~\", \".inc\" )\nauth.backend = \"htpasswd\"\nauth.backend.htpasswd.userfile = \"@/users\"\n\
        auth.require = ( \"/staff\" => ( \"method\" => \"basic\", \"realm\" => \"Staff\", \"require\" => \"valid-user\" ) )\n\
        $HTTP[\"url\"] =~ \"^/private\" {\n  url.access-deny = ( \"\" )\n}\n\
        $HTTP[\"remoteip\"] != \"10.0.0.0/8\" {\n  $HTTP[\"url\"] =~ \"^/inside/\" {\n    url.access-deny = ( \"\" )\n  }\n}\n";
    ask_all(
        "lighttpd-site",
        site,
        &[],
        &[
            ("/", "the first page"),
            ("/a.pl", "ran [/a.pl]"),
            ("/b.inc", "404"),
            ("/private/i.html", "404"),
            ("/private/a.pl", "404"),
            ("/inside/i.html", "404"),
            ("/staff/i.html", "401"),
            ("/staff/a.pl", "401"),
            ("joe:/staff/a.pl", "[joe]"),
        ],
    );
}

#[test]
fn busyboxes_users_need_a_file() {
    let written = "H:@/www\nI:index.html\nA:127.0.0.1\nD:*\n/cgi-bin/one.pl:joe:sesame\n/b.txt:joe:sesame\n/staff:joe:sesame\n/cgi-bin/staff:joe:sesame\n/private:root:*\n\
        *.pl:/bin/sh\nE404:@/www/index.html\nE403:/sorry.html\n";
    let open: Wanted = &[("/", "the first page"), ("/cgi-bin/told", "ran [/cgi-bin/told]"), ("/private/i.html", "404")];
    let flags = ["--from", "busybox"];
    ask_all("busybox", written, &flags, open);
    ask_all("busybox-closed", written, &flags, &[("/staff/i.html", "404"), ("joe:/cgi-bin/staff/told", "404")]);
    let flags = ["--from", "busybox", "--htpasswd", "theirs"];
    ask_all("busybox-open", written, &flags, open);
    ask_all(
        "busybox-users",
        written,
        &flags,
        &[
            ("/staff/i.html", "401"),
            ("/staff/a.pl", "401"),
            ("/cgi-bin/staff/told", "401"),
            ("joe:/cgi-bin/staff/told", "[joe]"),
            ("joe:/staff/i.html", "for the staff"),
            ("joe:/private/i.html", "404"),
            ("/cgi-bin/one.pl/x", "401"),
            ("joe:/cgi-bin/one.pl/x", "ran [/cgi-bin/one.pl] [/x] [] [] [joe]"),
            ("/b.txt", "401"),
            ("joe:/b.txt", "nobody's"),
        ],
    );
    let tree = tree("busybox-file");
    drop(serve(&tree, written, &flags));
    let toml = fs::read_to_string(tree.0.join("converted.toml")).unwrap();
    assert!(toml.contains("{ \"404\" = \"/index.html\" }") && toml.contains("#   E403:/sorry.html"), "{toml}");
    let file = fs::read_to_string(tree.0.join("theirs")).unwrap();
    assert!(file.starts_with("joe:$2b$") && !file.contains("sesame") && !file.contains("root"), "{file}");
    assert_eq!(
        tree.command(&["convert", "--from", "busybox", "--htpasswd", "theirs", "written"]).status.code(),
        Some(2)
    );
}

#[test]
fn command_lines() {
    let tree = tree("commands");
    tree.put("www/htbin/told", TELLS, 0o755);
    let (server, toml) = serve(&tree, "exec python3 -m http.server --cgi -d '@/www' -H X-Own 'a b' 8083\n", &[]);
    for (path, words) in [("/", "the first page"), ("/cgi-bin/told", "ran "), ("/htbin/told", "ran ")] {
        assert!(server.get(path, "").contains(words), "{path}: {toml}");
    }
    assert!(server.get("/", "").to_ascii_lowercase().contains("x-own: a b"), "{toml}");
    drop(server);
    let (server, toml) = serve(&tree, "ExecStart=/usr/bin/websocketd --port=8084 /bin/cat\n", &[]);
    let fields = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = server.upgrade("/", fields);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}\n{toml}");
}

#[test]
fn the_readme_shows_what_comes_out() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let block = |language: &str| {
        let (_, rest) = readme.split_once(&format!("```{language}\n")).unwrap_or_else(|| panic!("no {language}"));
        rest.split("```").next().unwrap().to_owned()
    };
    let tree = tree("readme");
    fs::write(tree.0.join("written"), block("apache")).unwrap();
    let converted = text(&tree.command(&["convert", "written"]).stdout);
    // The first block of TOML in that section is the result.
    let (_, section) = readme.split_once("## Coming from").unwrap();
    let shown = section.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(converted, shown);
}
