use super::*;
use shared::policy::Policy;

#[test]
fn a_second_place_names_dumps_anew_only_where_its_key_is_another() {
    let alike = |place: &str| {
        let text = format!(
            "{{holdfast: 1, company: listings, id: host-1, postgres: {{main: {{databases: [orders], \
             storage: {{directory: /a, key: \"{{database}}_{{reason}}_%Y%m%d_%H%M%S.dump\"}}, \
             copies: [{{directory: /b{place}}}], dumps: {{daily: {{keep: {{newest: 1}}}}}}}}}}}}"
        );
        let policy = Policy::parse(&text).unwrap_or_else(|e| panic!("{e}"));
        let (_, rules) = policy.postgres.first_key_value().expect("a group");
        let dumps = rules.all_dumps();
        let dump = dumps.first_key_value().map(|(_, dump)| dump);
        has_same_names(&rules.copies[0], rules, dump).expect("keys that can be made")
    };
    assert!(alike(""));
    assert!(alike(", key: \"{database}_{reason}_%Y%m%d_%H%M%S.dump\""));
    assert!(!alike(", key: \"{database}_{reason}_%Y%m%d.dump\""));
}
