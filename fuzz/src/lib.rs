//! Every parser of bytes from outside, given anything: no input may make one panic, run long or take much memory.
//!
//! - [`targets`]: the parsers, each behind one function of bytes, and the good inputs that fuzzing starts from
//! - [`mutate`]: changes to those inputs
//! - [`run`]: inputs under limits of time and memory
//!
//! On the stable toolchain and without any tool: `cargo test -p fuzz` runs each target for a second, and for as long as
//! `HOLDFAST_FUZZ_SECONDS` says. The run is the same each time unless `HOLDFAST_FUZZ_SEED` is another; `HOLDFAST_FUZZ_TARGET`
//! names one target. An input that breaks a limit is written to `fuzz/regressions/TARGET/`, and every file there is tried
//! first in each run: commit it together with its fix. What ends the process, such as an overflow of the stack, can't be
//! caught: the inputs that were at work then are in `target/tmp/fuzz-TARGET`, and with `HOLDFAST_FUZZ_BATCH=1` only the one.

pub mod mutate;
pub mod run;
pub mod targets;
