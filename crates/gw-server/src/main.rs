//! The `gw-server` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    gw_server::main()
}
