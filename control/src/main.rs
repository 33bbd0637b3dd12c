//! The binary `martlet`.
#![deny(unsafe_code)]

mod allocator;

use std::process::ExitCode;

use martlet_control::args::Args;
use martlet_control::run::{self, RunError};

fn main() -> ExitCode {
    allocator::give_back_soon();
    let args = match Args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            // Help goes to standard output with code 0, a wrong command line to standard error
            // with 2; that nobody reads it is no reason to fail otherwise.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    match run::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        // With the lines that are wrong, marked.
        Err(RunError::Corefile(problems)) => {
            eprintln!("{}", problems.render());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("martlet: {error}");
            ExitCode::FAILURE
        }
    }
}
