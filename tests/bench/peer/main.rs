//! The other side of `make bench`: a device that answers at once, and clients that load a server.
//!
//! It prints one JSON object a line and ends with its standard input.
#![forbid(unsafe_code)]

mod approve;
mod clock;
mod crypto;
mod load;
mod streams;

use serde_json::Value;
use std::process::ExitCode;

/// What a measurement ends in.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "usage: bench-peer approve HOME [watch]
       bench-peer crypto
       bench-peer load ORIGIN TOKENS AT-ONCE SECONDS
       bench-peer streams ORIGIN TOKEN COUNT...";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    let done = runtime.block_on(async {
        match words.as_slice() {
            ["approve", home] => approve::run(home, true).await,
            ["approve", home, "watch"] => approve::run(home, false).await,
            ["crypto"] => crypto::run(),
            ["load", origin, tokens, at_once, seconds] => load::run(origin, tokens, at_once, seconds).await,
            ["streams", origin, token, counts @ ..] => streams::run(origin, token, counts).await,
            _ => Err(USAGE.into()),
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("bench-peer: {why}");
    ExitCode::FAILURE
}

/// Says what happened.
fn say(event: &Value) {
    println!("{event}");
}
