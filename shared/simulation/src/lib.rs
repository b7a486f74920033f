//! Years of backups in a second: one simulated world that holds the functions against the safety rules, and answers what
//! a policy will come to.
//!
//! What plans is what ships: the functions' own `plan`s, behind the adapters in [`functions`]. What exists, what calls do
//! to it, and what goes wrong is here, decided by one seed.
//!
//! # Layout
//! - [`world`]: what exists, and what calls and people do to it; [`trouble`], [`faults`]: what goes wrong
//! - [`functions`]: the functions; [`policies`]: the policies; [`moments`]: when something can change
//! - [`simulation`]: the engine
//! - [`invariants`]: what must never happen; [`oracle`]: what is right, written from the docs alone
//! - [`forecast`]: what a policy comes to when nothing goes wrong
//! - [`scenario`]: a seed's policies, databases and faults, played and shrunk

pub mod faults;
pub mod forecast;
pub mod functions;
pub mod invariants;
pub mod moments;
pub mod oracle;
pub mod policies;
pub mod random;
pub mod scenario;
pub mod simulation;
pub mod trouble;
pub mod world;
