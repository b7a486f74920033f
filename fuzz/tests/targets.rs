//! Runs every target for a moment, or for as long as the environment says.
#![expect(
    clippy::print_stdout,
    reason = "how many inputs were tried is for whoever runs it longer"
)]

use fuzz::{
    mutate::{SplitMix64, mutate_seed},
    run::{self, LimitViolation},
    targets::{self, FuzzTarget},
};
use std::{
    env, fs, panic,
    path::Path,
    time::{Duration, Instant},
};

/// The longest input, in bytes.
const MAX_INPUT_BYTES: usize = 64 << 10;

fn env_number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name} is no number: {v}")))
}

/// All that breaks a limit, at most one input a target.
fn find_violation(target: &FuzzTarget, time: Duration, seed: u64) -> Option<String> {
    let said = |fault: LimitViolation, input: &[u8], path: &Path| {
        let (name, bytes) = (target.name, input.len());
        Some(format!("{name}: {fault:?} by {bytes} bytes, kept as {}", path.display()))
    };
    let folder = fs::read_dir(run::regressions_dir(target)).into_iter().flatten().flatten();
    for path in folder.map(|e| e.path()) {
        let input = [fs::read(&path).expect("a regression")];
        if let Err((input, fault)) = run::check_inputs(target, &input) {
            return said(fault, input, &path);
        }
    }
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{}", target.name);
    for input in &seeds {
        assert!((target.parse)(input), "a seed of {} is no good input", target.name);
    }
    let current = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", target.name));
    let batch = env_number("HOLDFAST_FUZZ_BATCH").unwrap_or(32);
    let (mut rng, began, mut tried) = (SplitMix64::new(seed), Instant::now(), 0);
    while began.elapsed() < time {
        let inputs =
            (0..batch).map(|_| mutate_seed(&mut rng, &seeds, target.words, MAX_INPUT_BYTES));
        let inputs: Vec<_> = inputs.collect();
        fs::write(&current, inputs.concat()).expect("written");
        if let Err((input, fault)) = run::check_inputs(target, &inputs) {
            return said(fault, input, &run::save_regression(target, input));
        }
        tried += batch;
    }
    println!("{}: {tried} inputs", target.name);
    None
}

#[test]
fn no_parser_of_foreign_bytes_panics_or_breaks_its_limits() {
    let time = Duration::from_secs(env_number("HOLDFAST_FUZZ_SECONDS").unwrap_or(1));
    let seed = env_number("HOLDFAST_FUZZ_SEED").unwrap_or(1);
    let only = env::var("HOLDFAST_FUZZ_TARGET").ok();
    let wanted = |t: &&FuzzTarget| only.as_ref().is_none_or(|name| name == t.name);
    // A parser's panic is told once, at the end.
    panic::set_hook(Box::new(|_| {}));
    let targets: Vec<_> = targets::ALL_TARGETS.iter().filter(wanted).collect();
    let found = panic::catch_unwind(|| {
        targets.iter().filter_map(|t| find_violation(t, time, seed)).collect::<Vec<_>>()
    });
    let _ = panic::take_hook();
    // The message of a panic here was kept back by the hook.
    let found =
        found.unwrap_or_else(|e| panic!("{}", e.downcast_ref::<String>().map_or("?", |m| m)));
    assert!(!targets.is_empty(), "no target of that name");
    assert!(found.is_empty(), "{}", found.join("\n"));
}
