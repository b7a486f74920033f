//! Runs in which nothing can change are skipped: what is done, and when, is the same as without.

use jiff::SignedDuration;
use simulation::{
    faults::{Fault, Happening},
    scenario::draw_scenario,
    simulation::{HistoryEntry, Simulation},
};

fn history(seed: u64, skips: bool) -> (Vec<HistoryEntry>, u64) {
    let mut scenario = draw_scenario(seed, 25);
    scenario.kept = Some(Vec::new());
    scenario.databases.iter_mut().for_each(|n| *n = 3);
    scenario.calm_from = scenario.end - SignedDuration::from_hours(24 * 22);
    scenario.end = scenario.start + SignedDuration::from_hours(24 * 8);
    let mut simulation: Simulation = scenario.build();
    let failing = Fault::FailingSnapshots(40);
    let at = |hours| scenario.start + SignedDuration::from_hours(hours);
    simulation.schedule(at(50), Happening::Begin(failing.clone()));
    simulation.schedule(at(100), Happening::End(failing));
    simulation.keeps_history = true;
    simulation.skips = skips;
    simulation.run(&mut ());
    (simulation.history, simulation.runs)
}

#[test]
fn skipping_changes_nothing_that_is_done() {
    for seed in [2, 3, 5, 41] {
        let ((skipped, fewer), (all, runs)) = (history(seed, true), history(seed, false));
        assert!(all.len() > 20, "{}", all.len());
        assert!(fewer * 2 < runs, "{fewer} of {runs} runs");
        for (a, b) in skipped.iter().zip(&all) {
            assert_eq!(a, b, "seed {seed}");
        }
        assert_eq!(skipped.len(), all.len(), "seed {seed}");
    }
}
