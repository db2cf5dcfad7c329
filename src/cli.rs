//! The command line: that of `python -m http.server`, and ours. Each flag overrides one key of the configuration.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::access_log::Format;
use crate::config::Flags;

/// Drop a script into cgi-bin and it is on the web.
///
/// Serves DIR/htdocs with the scripts of DIR/cgi-bin if there is a DIR/htdocs; otherwise DIR itself, with the scripts
/// of DIR/cgi-bin and DIR/htbin, as `python -m http.server --cgi` did.
#[derive(Debug, Parser)]
#[command(name = "cgiserve", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look for everything that keeps scripts from working, without serving
    Check(crate::check::Check),
    /// Run one script as the server would, and show its answer
    Run(crate::rehearse::Run),
    /// Print the variables that a script would see
    Env(crate::rehearse::Env),
    /// Print the resolved configuration, every value with where it came from
    Config {
        #[command(flatten)]
        serve: Serve,
    },
    /// Print another server's configuration as cgiserve.toml
    Convert(crate::convert::Convert),
    /// Write a script that works, to begin with
    New(crate::starter::New),
    /// Find a request in the log by its id
    Why(crate::why::Why),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
    /// Make a command that reads and writes lines a WebSocket server, by websocketd's command line
    #[command(disable_help_flag = true)]
    Ws {
        /// As websocketd takes them; --help tells them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// Port to listen at; 0 picks a free one [default: 8000]
    port: Option<u16>,
    /// Address to listen at: an IP address, a host name, or unix:PATH [default: 127.0.0.1]
    #[arg(short, long, value_name = "ADDRESS")]
    bind: Option<String>,
    /// The folder to serve [default: .]
    #[arg(short, long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// HTTP/1.0 closes each connection after one answer
    #[arg(short, long, value_name = "VERSION", value_parser = ["HTTP/1.0", "HTTP/1.1"])]
    protocol: Option<String>,
    /// Python's layout and listings: DIR is the document root, scripts are in DIR/cgi-bin and DIR/htbin
    #[arg(long)]
    cgi: bool,
    /// A header field for every answer
    #[arg(short = 'H', long = "header", num_args = 2, value_names = ["NAME", "VALUE"], action = clap::ArgAction::Append)]
    headers: Vec<String>,
    /// Media type of files whose name says nothing [default: application/octet-stream]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Certificate chain, PEM: serve HTTPS
    #[arg(long, value_name = "PATH")]
    tls_cert: Option<PathBuf>,
    /// Private key, PEM, if it is not in the certificate's file
    #[arg(long, value_name = "PATH", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// File with the private key's password
    #[arg(long, value_name = "PATH", requires = "tls_cert")]
    tls_password_file: Option<PathBuf>,
    /// Serve HTTPS with a certificate made on the spot
    #[arg(long, conflicts_with = "tls_cert")]
    tls: bool,
    /// Configuration file [default: DIR/cgiserve.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Python's habits: always 200, the server's folder and environment, the whole query as argument
    #[arg(long)]
    python_compat: bool,
    /// Open the first page in a browser
    #[arg(long)]
    open: bool,
    /// How requests are logged [default: python]
    #[arg(long, value_name = "FORMAT")]
    log: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Off,
    Python,
    Common,
    Combined,
    Json,
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Serve.
    Serve(Box<Flags>),
    /// Serve WebSockets as websocketd's command line says.
    WebSocketd(Vec<String>),
    /// Print this and be done.
    Print(Vec<u8>),
    /// `cgiserve check`.
    Check(crate::check::Check),
    /// `cgiserve run`.
    Run(crate::rehearse::Run),
    /// `cgiserve env`.
    Env(crate::rehearse::Env),
    /// `cgiserve config`.
    Config(Box<Flags>),
    /// `cgiserve convert`.
    Convert(crate::convert::Convert),
    /// `cgiserve new`.
    New(crate::starter::New),
    /// `cgiserve why`.
    Why(crate::why::Why),
}

impl Cli {
    /// What the command line asks for.
    pub fn action(self) -> Action {
        match self.command {
            Some(Command::Completions { shell }) => {
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut <Self as clap::CommandFactory>::command(), "cgiserve", &mut text);
                Action::Print(text)
            }
            Some(Command::Man) => {
                let mut text = Vec::new();
                // Writing to memory cannot fail.
                let _ = manual(&mut text);
                Action::Print(text)
            }
            Some(Command::Check(check)) => Action::Check(check),
            Some(Command::Run(run)) => Action::Run(run),
            Some(Command::Env(env)) => Action::Env(env),
            Some(Command::Config { serve }) => Action::Config(Box::new(serve.flags())),
            Some(Command::Convert(convert)) => Action::Convert(convert),
            Some(Command::New(new)) => Action::New(new),
            Some(Command::Why(why)) => Action::Why(why),
            Some(Command::Ws { arguments }) => Action::WebSocketd(arguments),
            None => Action::Serve(Box::new(self.serve.flags())),
        }
    }
}

/// One page for all: each command is a section of it, rather than a page that nobody installs.
fn manual(out: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = <Cli as clap::CommandFactory>::command();
    command.build();
    let page = clap_mangen::Man::new(command.clone());
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_name().to_uppercase();
        let page = clap_mangen::Man::new(command.clone());
        let mut section = Vec::new();
        page.render_synopsis_section(&mut section)?;
        page.render_description_section(&mut section)?;
        page.render_options_section(&mut section)?;
        out.extend_from_slice(format!(".SH {name}\n").as_bytes());
        out.extend_from_slice(String::from_utf8_lossy(&section).replace("\n.SH ", "\n.SS ").as_bytes());
    }
    page.render_version_section(out)
}

impl Serve {
    fn flags(self) -> Flags {
        let pairs = self.headers.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        Flags {
            headers: pairs.collect(),
            config: self.config,
            directory: self.directory,
            bind: self.bind,
            port: self.port,
            http10: self.protocol.map(|version| version == "HTTP/1.0"),
            python_style: self.cgi,
            python_compat: self.python_compat,
            open: self.open,
            greeting: String::new(),
            content_type: self.content_type,
            tls_cert: self.tls_cert,
            tls_key: self.tls_key,
            tls_password_file: self.tls_password_file,
            tls: self.tls,
            log: self.log.map(|format| match format {
                LogFormat::Off => None,
                LogFormat::Python => Some(Format::Python),
                LogFormat::Common => Some(Format::Common),
                LogFormat::Combined => Some(Format::Combined),
                LogFormat::Json => Some(Format::Json),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_manual_tells_every_flag_of_every_command() {
        let mut page = Vec::new();
        manual(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap().replace("\\-", "-");
        for words in [".SH RUN", "--path-info", "--htpasswd", "--fix", ".SH WHY", "--python-compat"] {
            assert!(page.contains(words), "{words}: {page}");
        }
    }

    #[test]
    fn pythons_command_line_is_taken() {
        let line = "cgiserve --cgi -b 127.0.0.1 -d /tmp -p HTTP/1.1 -H X-A b -H X-C d --content-type text/plain 8001";
        let Action::Serve(flags) = Cli::try_parse_from(line.split(' ')).unwrap().action() else { panic!() };
        assert_eq!((flags.port, flags.http10, flags.python_style), (Some(8001), Some(false), true));
        assert_eq!(flags.headers, [("X-A".to_owned(), "b".to_owned()), ("X-C".to_owned(), "d".to_owned())]);
        for wrong in ["cgiserve x", "cgiserve 70000", "cgiserve -p HTTP/9", "cgiserve --tls-key x", "cgiserve --nope"] {
            assert_eq!(Cli::try_parse_from(wrong.split(' ')).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
