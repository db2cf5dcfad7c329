//! What a start tells the person at the terminal.

use std::fmt::Write as _;
use std::path::Path;

use super::look;
use crate::config::Config;
use crate::route::{Pattern, Target};

/// Programs that scripts are usually written for.
const INTERPRETERS: [&str; 8] = ["sh", "bash", "perl", "python3", "php-cgi", "ruby", "node", "lua"];

/// The lines under the banner: what is served from where, how the scripts are, what runs them.
pub fn greeting(config: &Config) -> String {
    let mut text = String::new();
    for route in &config.routes {
        let (word, path) = match &route.target {
            Target::Scripts(scripts) => ("scripts", scripts.path.display().to_string()),
            Target::Script(scripts) => ("script", scripts.path.display().to_string()),
            Target::Files(files) => ("files", files.tree.options().root.display().to_string()),
            Target::Redirect(_, to) => ("redirect", String::from_utf8_lossy(to).into_owned()),
            Target::Builtin(_) | Target::Status(_) => continue,
        };
        let pattern = match &route.pattern {
            Pattern::Prefix(path) | Pattern::Exact(path) => String::from_utf8_lossy(path).into_owned(),
            Pattern::Suffix(base, suffix) => {
                format!("{}*{}", String::from_utf8_lossy(base), String::from_utf8_lossy(suffix))
            }
        };
        let _ = writeln!(text, "  {pattern:<14} {word:<8} {path}");
    }
    let is_view = |pattern: &Pattern| matches!(pattern, Pattern::Exact(path) if path == b"/status");
    if config.routes.iter().any(|route| matches!(route.target, Target::Status(_)) && is_view(&route.pattern)) {
        text.push_str("  /status        what is running, how often each script failed\n");
    }
    let mut looked = Vec::new();
    let findings = look(config, &mut looked);
    let bad = looked.iter().filter(|script| findings.iter().any(|finding| finding.file == script.file)).count();
    let _ = write!(text, "  {} scripts", looked.len());
    match bad {
        0 => text.push('\n'),
        1 => text.push_str(", 1 needs attention: cgiserve check\n"),
        n => drop(writeln!(text, ", {n} need attention: cgiserve check")),
    }
    let folders = ["/usr/local/bin", "/usr/bin", "/bin"];
    let here = |name: &&str| folders.iter().any(|folder| Path::new(folder).join(name).is_file());
    let found: Vec<&str> = INTERPRETERS.iter().filter(|name| here(name)).copied().collect();
    let _ = writeln!(text, "  interpreters: {}", found.join(", "));
    match &config.file {
        Some(file) => drop(writeln!(text, "  configuration: {}", file.display())),
        None => text.push_str("  no configuration file; see cgiserve config\n"),
    }
    text
}
