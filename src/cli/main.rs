//! `nested-tls`: does my nested TLS work, and if not, why?
#![allow(clippy::result_large_err, reason = "a failure is told once, then the program ends")]

mod cloudhsm;
mod config;
mod connect;
mod console;
mod demo;
mod diagnosis;
mod doctor;
mod failure;
mod files;
mod gate;
mod idle;
mod inspect;
mod keylog;
mod link;
mod log;
mod manual;
mod metrics;
mod net;
mod operation;
mod options;
mod pcap;
mod pki;
mod probe;
mod provider;
mod pump;
mod refusal;
mod relay;
mod report;
mod scrape;
mod serve;
mod server;
mod settings;
mod trace;
mod tunnel;
mod verify_hsm;
mod watch;
mod wire;
mod witness;

use std::env;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use console::Console;
use failure::{Failure, Status};
use provider::Provider;

/// Two TLS connections, one inside the other: an outer one to a host, an inner one through it.
///
/// Exit status: 0 done, 1 not in order (doctor, verify-hsm), 2 usage or local configuration, 3 transport, 4 outer TLS, 5 inner TLS, 6 truncated, 7 preamble or framing.
#[derive(Debug, Parser)]
#[command(name = "nested-tls", version, disable_help_subcommand = true)]
struct Arguments {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Whose cryptography to use
    #[arg(long, global = true, value_name = "NAME", default_value = "ring")]
    provider: Provider,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Connect(Box<connect::Connect>),
    Serve(Box<serve::Serve>),
    Relay(Box<relay::Relay>),
    Inspect(inspect::Inspect),
    Doctor(doctor::Doctor),
    VerifyHsm(verify_hsm::VerifyHsm),
    Trace(trace::Trace),
    Completions(manual::Completions),
    Man(manual::Man),
}

fn main() -> ExitCode {
    let Arguments { json, provider, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && env::args_os().any(|argument| argument == "--json") => {
            let failure = Failure::usage(failure::of_options(&error), "see --help");
            Console { json: true, quiet: false }.fail(&failure);
            return failure.status().into();
        }
        Err(error) => error.exit(),
    };
    provider.choose();
    let result = run(json, command).and_then(|()| Console::unprinted().map_or(Ok(()), Err));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Console { json, quiet: false }.fail(&failure);
            failure.status().into()
        }
    }
}

fn run(json: bool, command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        let reason = format!("can't begin: {}", files::words(&error));
        Failure::new(Status::Transport, reason, "see the limits of this process")
    })?;
    let result = runtime.block_on(async {
        match command {
            Command::Demo(demo) => demo.run(json).await,
            Command::Connect(connect) => connect.run(json).await,
            Command::Serve(serve) => serve.run(json).await,
            Command::Relay(relay) => relay.run(json).await,
            Command::Inspect(inspect) => inspect.run(json),
            Command::Doctor(doctor) => doctor.run(json).await,
            Command::VerifyHsm(verify) => verify.run(json),
            Command::Trace(trace) => trace.run(json),
            Command::Completions(completions) => completions.run(Arguments::command()),
            Command::Man(man) => man.run(Arguments::command()),
        }
    });
    // A read of standard input may never return.
    runtime.shutdown_background();
    result
}
