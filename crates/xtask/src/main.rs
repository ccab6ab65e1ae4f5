//! The workspace's chores: `cargo xtask test` is everything that must pass, `cargo xtask bench` measures,
//! `cargo xtask api-fuzz` looks for what nobody thought of, `cargo xtask soak` for what takes time to show.

mod args; // the command line
mod bench; // `bench`: the gateway beside nginx and HAProxy, and with many routes
mod build; // our own programs, built
mod child; // processes that do not outlive the run
mod components; // what the steps need of the toolchain
mod fuzz; // `api-fuzz`: the Admin API against its own description
mod gateway; // our own program, started
mod http; // one request at a time
mod programs; // what tests and benches run beside our own
mod python; // packages for tests and for the fuzzer
mod soak; // `soak`: the gateway under churn of everything
mod suite; // the steps of `test`, one after the other
mod usage; // processor time and memory, from /proc

use std::io::{self, Write};
use std::process::ExitCode;

use args::Request;

fn main() -> ExitCode {
    let outcome = match args::parse(std::env::args().skip(1)) {
        Ok(Request::Help(text)) => io::stdout()
            .write_all(text.as_bytes())
            .map_err(|error| error.to_string()),
        Ok(Request::Test { install }) => test(install),
        Ok(Request::BenchProxy(options)) => bench::proxy(&options),
        Ok(Request::BenchStart(options)) => bench::start::run(&options),
        Ok(Request::BenchChange(options)) => bench::change::run(&options),
        Ok(Request::BenchChurn(options)) => bench::churn::run(&options),
        Ok(Request::ApiFuzz(options)) => fuzz::api(&options),
        Ok(Request::Soak(options)) => soak::run(&options),
        Err(wrong) => Err(wrong),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn test(install: bool) -> Result<(), String> {
    components::require(install)?;
    programs::require(&programs::SERVERS, install)?;
    programs::require(&[programs::VALGRIND, programs::STRACE], install)?;
    let python = python::require(python::CLIENTS, install)?;
    let took = suite::run(&suite::TEST, &python).map_err(|failure| failure.to_string())?;
    eprintln!(
        "xtask: all {} steps passed in {}",
        suite::TEST.len(),
        suite::seconds(took)
    );
    Ok(())
}
