//! The packet seam as benches and counters call it.
//!
//! Only the engine is needed here: what CI builds with all optimisations, to count instructions, must not
//! wait for the control half. [`seam`] is the server that is measured,
//! [`external`] puts replies of made-up upstreams into its cache, [`sample`] is a small cluster with
//! one kind of answer for each thing counted, [`turn`] answers batches as a worker does.

pub mod external;
pub mod sample;
pub mod seam;
pub mod turn;
