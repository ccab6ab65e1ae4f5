//! The load generator of `cargo xtask bench proxy`, and the upstream behind the proxies that it measures.

mod answer; // the client's side of a connection
mod args; // the command line
mod drive; // requests by number of connections, or by the clock
mod grpc; // the upstream of calls
mod histogram; // percentiles
mod hold; // connections that are kept
mod origin; // the upstream
mod ready; // epoll

use std::io::{self, Write};
use std::process::ExitCode;

use args::Request;

fn main() -> ExitCode {
    let ended = match args::parse(std::env::args().skip(1)) {
        Ok(Request::Origin { ports }) => {
            origin::run(ports).map_err(|error| format!("the origin failed: {error}"))
        }
        Ok(Request::Drive(plan)) => drive::run(&plan)
            .and_then(|report| writeln!(io::stdout(), "{report}"))
            .map_err(|error| format!("cannot drive {}: {error}", plan.target)),
        Ok(Request::Hold(plan)) => {
            hold::run(&plan).map_err(|error| format!("cannot hold connections to {}: {error}", plan.target))
        }
        Err(wrong) => Err(format!("{wrong}\n{}", args::USAGE)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("gw-load: {reason}");
            ExitCode::FAILURE
        }
    }
}
