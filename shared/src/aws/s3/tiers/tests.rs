use super::*;

fn sample_transition() -> TransitionRule {
    TransitionRule {
        id: "holdfast-acme-main".into(),
        prefix: "pg/".into(),
        larger_than: 1 << 20,
        steps: vec![(30, "GLACIER".into()), (90, "DEEP_ARCHIVE".into())],
        abort_after: 7,
    }
}

fn foreign_rule(id: &str) -> LifecycleRule {
    let filter = LifecycleRuleFilter::builder().prefix("logs/").build();
    let rule = LifecycleRule::builder().id(id).filter(filter).status(ExpirationStatus::Enabled);
    rule.build().expect("a rule")
}

#[test]
fn one_rule_is_set_and_all_others_stay_as_they_are() {
    let there = BucketLifecycle(vec![
        foreign_rule("logs"),
        foreign_rule("holdfast-acme-main"),
        foreign_rule("more"),
    ]);
    assert!(!there.contains_transition(&sample_transition()), "a rule of that id is not that rule");
    let set = there.with_transition(&sample_transition());
    let ids: Vec<_> = set.0.iter().filter_map(LifecycleRule::id).collect();
    assert_eq!(ids, ["logs", "more", "holdfast-acme-main"]);
    assert_eq!(set.0[..2], [foreign_rule("logs"), foreign_rule("more")]);
    assert!(set.contains_transition(&sample_transition()));
}

#[test]
fn the_order_of_steps_is_no_difference_and_another_day_is() {
    let mut answered = transition_to_sdk(&sample_transition());
    answered.transitions.as_mut().expect("steps").reverse();
    let there = BucketLifecycle(vec![answered]);
    assert!(there.contains_transition(&sample_transition()));
    let mut later = sample_transition();
    later.steps[0].0 = 31;
    assert!(!there.contains_transition(&later));
}
