//! The command line.

use crate::config::{Config, ConfigError, LogLevel, Overrides, check_origin};
use crate::serve::{self, ServeError};
use crate::store::StoreError;
use crate::web::export::{self, ExportError};
use crate::{invite, keeper};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;

/// The packaged server's configuration. `token` reads it by itself, so that it finds the database of
/// the server that runs on this machine; `serve` reads only what it is given.
const INSTALLED: &str = "/etc/countersign/server.toml";
/// Longest life of a join token in seconds: thirty days.
const MAX_JOIN_LIFE: u64 = 30 * 24 * 3600;

#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "\
Without a command it serves: `countersign-server --domain push.example.com` is a server with a certificate \
of its own. While no host has joined it prints, on a terminal, the line to run on one.\n\n\
Exit status: 0 done or stopped as asked, 1 cannot listen or serve, \
    2 command line or configuration, 3 database, 4 certificate."
)]
struct Cli {
    /// Configuration file (TOML); options of the command line win
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Options of `serve`, and without a command")]
    serve: Serve,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM; SIGHUP reads the certificate again
    Serve(Serve),
    /// Print the line that lets one host join, with its one-time token
    ///
    /// Without --config and --database it is for the server of /etc/countersign/server.toml.
    Token(Token),
    /// Write the web app into a directory, to be hosted on an origin of its own
    ///
    /// Whoever serves the app's code could make a phone approve. On another origin it is not this
    /// server. headers.txt in DIR says how to serve it; an earlier export in DIR is replaced.
    WebExport(WebExport),
    /// Print the completions for a shell, as the packages install them
    #[command(hide = true)]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// A shell that completions are made for.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Default, PartialEq, Args)]
struct Serve {
    /// Where to listen [default: 127.0.0.1:8443; with --domain: port 443 of all addresses]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The server's address as hosts and phones know it [default: from --listen]
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// SQLite database, made if it does not exist
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// Get a certificate for this name from Let's Encrypt, agreeing to its terms; may be given more
    /// than once
    #[arg(long = "domain", value_name = "NAME")]
    domains: Vec<String>,
    /// Where that authority may write to you
    #[arg(long, value_name = "MAIL ADDRESS")]
    acme_contact: Option<String>,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// A proxy in front speaks TLS and sets X-Forwarded-For
    #[arg(long)]
    behind_proxy: bool,
    /// Serve the API only, not the web app
    #[arg(long)]
    no_web: bool,
    /// Another origin from which the web app may call; may be given more than once
    #[arg(long = "app-origin", value_name = "URL")]
    app_origins: Vec<String>,
}

#[derive(Debug, Args)]
struct Token {
    /// How long it may be used: 30m, 1h, 7d
    #[arg(long, default_value = "1h", value_parser = parse_life, value_name = "TIME")]
    ttl: u64,
    /// SQLite database, made if it does not exist
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// Print the token alone
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct WebExport {
    /// Where to write
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The server that the app calls, for example https://push.example.com
    #[arg(long, value_name = "URL")]
    server: String,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("too many join tokens are waiting already; let some expire")]
    TooManyTokens,
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    #[error("cannot become the user that keeps {path}: {why}", path = .0.display(), why = .1)]
    Keeper(PathBuf, io::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Store(_) | Self::Serve(ServeError::Store(_)) => 3,
            Self::Serve(ServeError::Tls(_) | ServeError::Acme(_)) => 4,
            Self::Serve(_) | Self::Export(_) | Self::TooManyTokens | Self::Print(_) | Self::Keeper(..) => 1,
        }
    }
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let alone = cli.serve != Serve::default();
    if alone && cli.command.is_some() {
        let text = "the options of a command stand behind it, as in: countersign-server serve --domain NAME";
        Cli::command().error(ErrorKind::ArgumentConflict, text).exit();
    }
    let nothing = || Cli::command().error(ErrorKind::MissingSubcommand, "say what to do: see --help").exit();
    let command = match cli.command {
        Some(command) => command,
        None if alone || cli.config.is_some() => Command::Serve(cli.serve),
        None => nothing(),
    };
    let done = match command {
        Command::Serve(options) => serve(cli.config.as_deref(), options),
        Command::Token(options) => token(cli.config.as_deref(), options),
        Command::WebExport(options) => web_export(&options),
        Command::Completions { shell } => completions(shell),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("countersign-server: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn serve(file: Option<&Path>, options: Serve) -> Result<(), Failure> {
    let over = Overrides {
        listen: options.listen,
        origin: options.origin,
        database: options.database,
        domains: options.domains,
        acme_contact: options.acme_contact,
        tls_cert: options.tls_cert,
        tls_key: options.tls_key,
        behind_proxy: options.behind_proxy,
        no_web: options.no_web,
        app_origins: options.app_origins,
    };
    let config = Config::load(file, over)?;
    log_to_stderr(config.log);
    Ok(serve::run(&config)?)
}

fn token(file: Option<&Path>, options: Token) -> Result<(), Failure> {
    let installed = Path::new(INSTALLED);
    let file = file.or_else(|| (options.database.is_none() && installed.exists()).then_some(installed));
    let leave = |keeper: Option<keeper::Keeper>, path: &Path| match keeper {
        Some(keeper) => keeper.become_it().map_err(|error| Failure::Keeper(path.to_owned(), error)),
        None => Ok(()),
    };
    if let Some(file) = file {
        leave(keeper::owner(file), file)?;
    }
    let config = Config::load(file, Overrides { database: options.database, ..Overrides::default() })?;
    leave(keeper::of(&config.database), &config.database)?;
    let token = invite::token(&config.database, options.ttl)?.ok_or(Failure::TooManyTokens)?;
    let text = if options.quiet { token } else { invite::line(&invite::origin(&config), &token) };
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}

fn web_export(options: &WebExport) -> Result<(), Failure> {
    check_origin("--server", &options.server)?;
    let count = export::export(&options.dir, &options.server)?;
    let dir = options.dir.display();
    writeln!(io::stdout(), "{count} files in {dir}; {dir}/headers.txt says how to serve them")?;
    Ok(())
}

fn completions(shell: Shell) -> Result<(), Failure> {
    use clap_complete::Shell as Generator;
    let shell = match shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut text = Vec::new();
    // The generators offer what is hidden as well.
    let all = Cli::command();
    let mut shown = clap::Command::new("countersign-server")
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(all.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned());
    clap_complete::generate(shell, &mut shown, "countersign-server", &mut text);
    Ok(io::stdout().write_all(&text)?)
}

fn log_to_stderr(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // journald has its own clock.
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().init();
    } else {
        builder.init();
    }
}

/// Reads a time such as `90s`, `30m`, `1h` or `7d`.
fn parse_life(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err("a number with s, m, h or d, for example 1h".to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match seconds {
        Some(seconds @ 1..=MAX_JOIN_LIFE) => Ok(seconds),
        Some(_) => Err("from 1s to 30d".to_owned()),
        None => Err("a number with s, m, h or d, for example 1h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lives_are_numbers_with_a_unit() {
        assert_eq!(parse_life("90s"), Ok(90));
        assert_eq!(parse_life("30m"), Ok(1800));
        assert_eq!(parse_life("30d"), Ok(MAX_JOIN_LIFE));
        for bad in ["", "1", "h", "-1h", "1.5h", "31d", "0s", "1 h", "1ü", "18446744073709551615d"] {
            assert!(parse_life(bad).is_err(), "{bad}");
        }
    }
}

#[cfg(test)]
mod manual;
