use super::*;

fn tiers() -> Tiers {
    Tiers {
        id: "holdfast-acme-main".into(),
        prefix: "pg/".into(),
        larger_than: 1 << 20,
        steps: vec![(30, "GLACIER".into()), (90, "DEEP_ARCHIVE".into())],
        abort_after: 7,
    }
}

fn foreign(id: &str) -> LifecycleRule {
    let filter = LifecycleRuleFilter::builder().prefix("logs/").build();
    let rule = LifecycleRule::builder().id(id).filter(filter).status(ExpirationStatus::Enabled);
    rule.build().expect("a rule")
}

#[test]
fn one_rule_is_set_and_all_others_stay_as_they_are() {
    let there = Lifecycle(vec![foreign("logs"), foreign("holdfast-acme-main"), foreign("more")]);
    assert!(!there.has(&tiers()), "a rule of that id is not that rule");
    let set = there.with(&tiers());
    let ids: Vec<_> = set.0.iter().filter_map(LifecycleRule::id).collect();
    assert_eq!(ids, ["logs", "more", "holdfast-acme-main"]);
    assert_eq!(set.0[..2], [foreign("logs"), foreign("more")]);
    assert!(set.has(&tiers()));
}

#[test]
fn the_order_of_steps_is_no_difference_and_another_day_is() {
    let mut answered = rule(&tiers());
    answered.transitions.as_mut().expect("steps").reverse();
    let there = Lifecycle(vec![answered]);
    assert!(there.has(&tiers()));
    let mut later = tiers();
    later.steps[0].0 = 31;
    assert!(!there.has(&later));
}
