//! Years of trouble, seed by seed: no rule is ever broken, and when the trouble ends everything becomes green by itself.
//!
//! `HOLDFAST_SIMULATE_YEARS` plays more than the usual years, `HOLDFAST_SIMULATE_SEED` begins at another seed. A failure
//! prints the line that replays it; the seed is then kept in `regressions`.

use simulation::scenario::{PlayedStats, draw_scenario};
use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

/// Fleet-years of the usual run: what half a minute of two busy cores plays without optimization.
const USUAL_YEARS: f64 = 0.3;
/// Seeds that once found a fault, each with what it found.
const REGRESSIONS: [(u64, &str); 2] = [
    (
        20,
        "a snapshot taken anew for its slot hid the copy of the first: copied and deleted every hour",
    ),
    (4, "a monthly snapshot that its own rule had let go was told as never taken"),
];

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|n| n.parse().ok())
}

/// Days of a seed's scenario: short, so that more policies are tried; every sixteenth is a year.
fn days(seed: u64) -> i64 {
    if seed.is_multiple_of(16) { 365 } else { 60 }
}

/// Plays seeds on all cores until there are so many fleet-years.
fn play(first: u64, years: f64) -> (PlayedStats, Vec<String>) {
    let next = AtomicU64::new(first);
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let share = years / f64::from(u32::try_from(workers).unwrap_or(2));
    let work = || {
        let (mut all, mut failures) = (PlayedStats::default(), Vec::new());
        while all.fleet_years < share && failures.len() < 3 {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            match draw_scenario(seed, days(seed)).play_and_shrink() {
                Ok(played) => {
                    all.fleet_years += played.fleet_years;
                    all.databases += played.databases;
                    all.runs += played.runs;
                    all.asked += played.asked;
                    all.steps += played.steps;
                }
                Err(failure) => failures.push(failure.to_string()),
            }
        }
        (all, failures)
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|w| w.join().expect("a worker")).collect()
    });
    let mut total = (PlayedStats::default(), Vec::new());
    for (played, failures) in parts {
        total.0.fleet_years += played.fleet_years;
        total.0.runs += played.runs;
        total.0.asked += played.asked;
        total.0.steps += played.steps;
        total.1.extend(failures);
    }
    total
}

#[test]
fn no_rule_is_broken_in_years_of_trouble_and_everything_becomes_green_again() {
    #[expect(clippy::cast_precision_loss, reason = "years")]
    let years = number("HOLDFAST_SIMULATE_YEARS").map_or(USUAL_YEARS, |y| y as f64);
    let began = Instant::now();
    let (played, failures) = play(number("HOLDFAST_SIMULATE_SEED").unwrap_or(1), years);
    let seconds = began.elapsed().as_secs_f64();
    let report = format!(
        "{:.1} fleet-years in {seconds:.1} s: {} runs, {} steps, {} questions",
        played.fleet_years, played.runs, played.steps, played.asked
    );
    assert!(failures.is_empty(), "{report}\n{}", failures.join("\n\n"));
    // Where nothing is done or asked, nothing is shown.
    assert!(played.steps > 1000 && played.asked > 10_000, "{report}");
    eprintln!("{report}");
}

#[test]
fn seeds_that_found_a_fault_find_it_no_more() {
    for (seed, found) in REGRESSIONS {
        let played = draw_scenario(seed, days(seed)).play();
        assert!(played.is_ok(), "{found}: {played:?}");
    }
}

/// One seed, with the pieces of its trouble that are named, and what was done in it.
#[test]
fn replay() {
    let Some(seed) =
        number("HOLDFAST_SIMULATE_SEED").filter(|_| env::var("HOLDFAST_SIMULATE_KEEP").is_ok())
    else {
        return;
    };
    let kept = env::var("HOLDFAST_SIMULATE_KEEP").unwrap_or_default();
    let mut scenario = draw_scenario(seed, days(seed));
    scenario.kept = Some(kept.split(',').filter_map(|n| n.parse().ok()).collect());
    eprintln!("{}", scenario.policies.join("\n---\n"));
    let mut simulation = scenario.build();
    simulation.keeps_history = true;
    simulation.run(&mut ());
    let from = simulation.history.len().saturating_sub(80);
    for entry in &simulation.history[from..] {
        eprintln!("{} {} {:?} {}", entry.at, entry.policy, entry.done.kind, entry.done.id);
    }
    assert!(simulation.checks.violations.is_empty(), "{:?}", simulation.checks.violations);
}
