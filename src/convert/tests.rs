//! Configurations as packages ship them, in the words that count; each result must be one that the server takes.

use std::path::PathBuf;

use super::{From, convert, guess};
use crate::config::{Config, Flags, resolve_text};
use crate::route::{Route, Target};

fn served(from: From, text: &str) -> (String, Config) {
    let (toml, _) = convert(from, text, None).unwrap();
    let folder = std::env::temp_dir();
    let flags = Flags { directory: Some(folder), ..Flags::default() };
    let config = resolve_text(&flags, "converted", &toml).unwrap_or_else(|problems| panic!("{problems}\n{toml}"));
    (toml, config)
}

fn target(config: &Config, pattern: &str) -> String {
    let pattern = crate::route::Pattern::parse(pattern).unwrap();
    let Some(Route { target, .. }) = config.routes.iter().find(|route| route.pattern == pattern) else {
        return "nothing".to_owned();
    };
    let path = |path: &PathBuf| path.display().to_string();
    match target {
        Target::Scripts(scripts) => format!("scripts {}", path(&scripts.path)),
        Target::Script(scripts) => format!("script {}", path(&scripts.path)),
        Target::Files(files) => format!("files {}", path(&files.tree.options().root)),
        Target::Redirect(status, to) => format!("{} {}", status.as_u16(), String::from_utf8_lossy(to)),
        Target::Builtin(_) | Target::Status(_) => "built in".to_owned(),
    }
}

#[test]
fn what_debians_packages_say_to_apache() {
    let serve_cgi_bin = "<IfModule mod_alias.c>\n<IfModule mod_cgid.c>\nDefine ENABLE_USR_LIB_CGI_BIN\n</IfModule>\n\
        <IfDefine ENABLE_USR_LIB_CGI_BIN>\nScriptAlias /cgi-bin/ /usr/lib/cgi-bin/\n<Directory \"/usr/lib/cgi-bin\">\n\
        AllowOverride None\nOptions +ExecCGI -MultiViews +SymLinksIfOwnerMatch\nRequire all granted\n</Directory>\n\
        </IfDefine>\n</IfModule>\n";
    let gitweb = "<IfDefine ENABLE_GITWEB>\n  Alias /gitweb /usr/share/gitweb\n  <Directory /usr/share/gitweb>\n\
        Options +FollowSymLinks +ExecCGI\n    AddHandler cgi-script .cgi\n  </Directory>\n</IfDefine>\n";
    let cgit = "ScriptAlias /cgit/ \"/usr/lib/cgit/cgit.cgi/\"\nRedirectMatch ^/cgit$ /cgit/\n\
        Alias /cgit-css \"/usr/share/cgit/\"\n<Directory \"/usr/lib/cgit/\">\n AllowOverride None\n</Directory>\n";
    let nagios = "ScriptAlias /nagios4/cgi-bin /usr/lib/cgi-bin/nagios4\nAlias /nagios4/stylesheets /etc/nagios4/stylesheets\n\
        Alias /nagios4 /usr/share/nagios4/htdocs\n\
        <DirectoryMatch (/usr/share/nagios4/htdocs|/usr/lib/cgi-bin/nagios4|/etc/nagios4/stylesheets)>\n\
        DirectoryIndex index.php index.html\nRequire ip ::1/128 10.0.0.0/8\n<Files \"cmd.cgi\">\nAuthType Digest\n\
        Require all granted\n</Files>\n</DirectoryMatch>\n";
    let awstats = "Alias /awstats-icon/ /usr/share/awstats/icon/\nScriptAlias /cgi-bin/ /usr/lib/cgi-bin/\n\
        <Directory /var/lib/awstats>\nOrder allow,deny\nAllow from all\n</Directory>\n";
    let mapserver =
        "ScriptAlias /cgi-bin/mapserv /usr/lib/cgi-bin/mapserv.cgi\nSetEnv MAPSERVER_CONFIG_FILE /etc/mapserver.conf\n";
    for (text, routes) in [
        (serve_cgi_bin, &[("/cgi-bin/", "scripts /usr/lib/cgi-bin")][..]),
        (gitweb, &[("/gitweb/", "files /usr/share/gitweb"), ("/gitweb/*.cgi", "scripts /usr/share/gitweb")]),
        (
            cgit,
            &[
                ("/cgit/", "script /usr/lib/cgit/cgit.cgi"),
                ("/cgit", "302 /cgit/"),
                ("/cgit-css/", "files /usr/share/cgit"),
            ],
        ),
        (
            nagios,
            &[
                ("/nagios4/cgi-bin/", "scripts /usr/lib/cgi-bin/nagios4"),
                ("/nagios4/stylesheets/", "files /etc/nagios4/stylesheets"),
                ("/nagios4/", "files /usr/share/nagios4/htdocs"),
            ],
        ),
        (awstats, &[("/awstats-icon/", "files /usr/share/awstats/icon"), ("/cgi-bin/", "scripts /usr/lib/cgi-bin")]),
        (
            mapserver,
            &[
                ("/cgi-bin/mapserv", "script /usr/lib/cgi-bin/mapserv.cgi"),
                ("/cgi-bin/mapserv/", "script /usr/lib/cgi-bin/mapserv.cgi"),
            ],
        ),
    ] {
        assert_eq!(guess(text, "x"), Some(From::Apache));
        let (toml, config) = served(From::Apache, text);
        for (path, wanted) in routes {
            assert_eq!(target(&config, path), *wanted, "{path}:\n{toml}");
        }
        assert_eq!(target(&config, "/"), "nothing", "only what was written is served");
    }
    let (toml, _) = served(From::Apache, nagios);
    for line in ["Require ip ::1/128", "AuthType Digest", "<Files \"cmd.cgi\">"] {
        assert!(toml.contains(&format!("#   {line}")), "{line} was dropped without a word:\n{toml}");
    }
    assert!(toml.contains("index = [\"index.php\", \"index.html\"]"), "{toml}");
}

#[test]
fn what_people_write_for_apache() {
    let users = std::env::temp_dir().join(format!("cgiserve-convert-{}", std::process::id()));
    std::fs::write(&users, "alice:$2y$05$abcdefghijklmnopqrstuuPsLw2lfeTcQoX3YHO4pF0eUOp8hPH2G\n").unwrap();
    let text = format!(
        "Listen 127.0.0.1:8081\n<VirtualHost *:80>\nServerName www.example.org:80\nDocumentRoot \"/srv/www\"\n\
         DirectoryIndex index.html index.pl\nScriptAlias /cgi-bin/ \"/srv/cgi-bin/\"\nAddHandler cgi-script .pl .cgi\n\
         AddHandler zzz .zzz\nAction zzz /cgi-bin/zzz.py\nSetEnv DB \"a b\"\nPassEnv TZ \\\n LANG\n\
         <Location /cgi-bin/>\nAuthType Basic\nAuthName \"Staff only\"\nAuthUserFile {}\nRequire user alice bob\n\
         SetEnv WHO staff\n</Location>\nRedirect permanent /old /new\nErrorDocument 404 /sorry.html\n\
         ErrorDocument 500 /cgi-bin/told.py\nErrorDocument 403 \"Go away\"\n\
         <FilesMatch \"\\.inc$\">\nRequire all denied\n</FilesMatch>\nRewriteRule ^/x /y\n</VirtualHost>\n",
        users.display()
    );
    let (toml, config) = served(From::Apache, &text);
    std::fs::remove_file(&users).unwrap();
    for (path, wanted) in [
        ("/cgi-bin/", "scripts /srv/cgi-bin"),
        ("*.pl", "scripts /srv/www"),
        ("*.zzz", "script /srv/cgi-bin/zzz.py"),
        ("/old", "301 /new"),
    ] {
        assert_eq!(target(&config, path), wanted, "{path}:\n{toml}");
    }
    assert_eq!(config.server_name.as_deref(), Some("www.example.org"));
    assert!(toml.contains("error-pages = { \"404\" = \"/sorry.html\" }"), "{toml}");
    let guarded = config.routes.iter().filter(|route| route.auth.is_some()).count();
    // The folder, and the suffixes that go before it.
    assert_eq!(guarded, 4, "{toml}");
    assert_eq!(target(&config, "/cgi-bin/*.pl"), "scripts /srv/cgi-bin", "{toml}");
    assert_eq!(target(&config, "*.inc"), "files /dev/null", "{toml}");
    for left in ["RewriteRule ^/x /y", "ErrorDocument 500", "ErrorDocument 403", "<VirtualHost *:80>"] {
        assert!(toml.contains(&format!("#   {left}")), "{left}:\n{toml}");
    }
    for kept in
        ["\"DB\" = \"a b\"", "pass-env = [\"TZ\", \"LANG\"]", "\"WHO\" = \"staff\"", "users = [\"alice\", \"bob\"]"]
    {
        assert!(toml.contains(kept) || toml.replace('"', "").contains(&kept.replace('"', "")), "{kept}:\n{toml}");
    }
}

#[test]
fn lighttpd() {
    let debian = "# /usr/share/doc/lighttpd/cgi.txt\nserver.modules += ( \"mod_cgi\" )\n$HTTP[\"url\"] =~ \"^/cgi-bin/\" {\n\
        \tcgi.assign = ( \"\" => \"\" )\n\talias.url += ( \"/cgi-bin/\" => \"/usr/lib/cgi-bin/\" )\n}\n#cgi.assign = ( \".py\" => \"x\" )\n";
    assert_eq!(guess(debian, "x"), Some(From::Lighttpd));
    let (toml, config) = served(From::Lighttpd, debian);
    assert_eq!(target(&config, "/cgi-bin/"), "scripts /usr/lib/cgi-bin", "{toml}");
    let own = "server.document-root = \"/srv/www\"\nserver.port = 8082\nindex-file.names = ( \"index.pl\", \"index.html\" )\n\
        cgi.assign = ( \".sh\" => \"/bin/sh\",\n # a comment\n \".cgi\" => \"\" )\nserver.tag = \"x\"\ninclude \"other.conf\"\n";
    let (toml, config) = served(From::Lighttpd, own);
    assert_eq!(target(&config, "*.sh"), "scripts /srv/www", "{toml}");
    assert_eq!(target(&config, "*.cgi"), "scripts /srv/www", "{toml}");
    assert!(toml.contains("interpreter = { \".sh\" = \"/bin/sh\" }"), "{toml}");
    assert!(toml.contains("#   server.tag = \"x\"") && toml.contains("#   include"), "{toml}");
}

#[test]
fn busybox() {
    let text = "H:/srv/www\nI:index.html\nA:10.0.0.\nD:*\n*.sh:/bin/sh\n/cgi-bin:admin:hunter2\nE404:/404.html\n.png:image/png\n";
    assert_eq!(guess(text, "x"), Some(From::Busybox));
    let (toml, config) = served(From::Busybox, text);
    assert_eq!(target(&config, "/cgi-bin/"), "files /dev/null", "nobody without a password: {toml}");
    assert_eq!(target(&config, "*.sh"), "scripts /srv/www", "{toml}");
    assert!(!toml.contains("hunter2") && toml.contains("--htpasswd"), "{toml}");
    assert!(toml.contains("bind = [\"127.0.0.1\"] # "), "{toml}");
}

#[test]
fn command_lines() {
    let (toml, config) = served(From::Command, "exec python3 -m http.server --cgi -b 127.0.0.1 -d '/tmp' 8083 2>&1");
    assert!(toml.contains("port = 8083") && toml.contains("directory = \"/tmp\""), "{toml}");
    assert!(target(&config, "/cgi-bin/").starts_with("scripts /"), "{toml}");
    let (toml, _) = served(From::Command, "ExecStart=/usr/bin/websocketd --port=8084 /bin/cat -u");
    assert!(toml.contains("port = 8084") && toml.contains("/bin/cat"), "{toml}");
    assert!(convert(From::Command, "echo hello", None).is_err());
}

#[test]
fn nonsense_is_no_panic() {
    let pieces = [
        "<Location /é>\nRequire all denied\n</Location>",
        "<Files \"é\">\nRequire user x\n</Files>",
        "DocumentRoot /\nAlias /a /é",
        "/é:u:p\nH:/é",
        "server.document-root = \"/\"\nurl.access-deny = ( \"\", \"é\" )",
        "<Directory",
        "</Directory>",
        "ScriptAlias",
        "\"",
        "(",
        ")",
        "=>",
        "{",
        "}",
        "$HTTP[",
        "é",
        "\\\n",
        "*.",
        ":",
        "#",
    ];
    for from in [From::Apache, From::Lighttpd, From::Busybox, From::Command] {
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    let _ = convert(from, &format!("{a} {b}{c}\n{c}={b}{a}"), None);
                }
            }
        }
    }
}
