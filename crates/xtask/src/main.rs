//! The workspace's chores: `cargo xtask test` is everything that must pass, `cargo xtask bench proxy` measures.

mod args; // the command line
mod bench; // `bench proxy`: the gateway beside nginx and HAProxy
mod components; // what the steps need of the toolchain
mod programs; // what tests and benches run beside our own
mod suite; // the steps of `test`, one after the other

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
    let took = suite::run(&suite::TEST).map_err(|failure| failure.to_string())?;
    eprintln!(
        "xtask: all {} steps passed in {}",
        suite::TEST.len(),
        suite::seconds(took)
    );
    Ok(())
}
