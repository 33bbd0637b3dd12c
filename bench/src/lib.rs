//! Measuring martlet: what the benches and the side-by-side runs are made of.
//!
//! [`cluster`] invents clusters and the questions their pods ask, the same ones for the same seed;
//! [`load`] asks a server as fast as it can answer (or at a fixed rate) and checks what comes back;
//! [`echo`] is the ceiling, a server that does nothing but move datagrams; [`versus`] puts servers
//! beside that ceiling in one run; [`upstream`] is whom they forward to; [`fixture`] puts an invented
//! cluster behind the engine's packet seam, [`served`] behind a socket. The binaries are thin shells over these modules, so that the criterion benches can use the
//! same pieces.

pub mod cluster;
pub mod echo;
pub mod fixture;
pub mod load;
pub mod pin;
pub mod served;
pub mod sys;
pub mod upstream;
pub mod versus;

/// Prints an error with all its causes and gives the exit code of a failed run.
pub fn fail(error: &dyn std::error::Error) -> std::process::ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    eprintln!("error: {text}");
    std::process::ExitCode::FAILURE
}
