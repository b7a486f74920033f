use super::*;
use redis::RedisErrorKind;
use shared::policy::Policy;

const NOW: i64 = 1_700_000_000;

fn findings(
    group: &str,
    info: &str,
    settings: &[(&str, &str)],
    sentinels: Vec<(String, Result<SentinelView, RedisError>)>,
) -> String {
    let yaml = format!(
        "{{holdfast: 1, company: acme, id: host-1, redis: {{cache: {{address: \"db:6379\", storage: {{directory: /b}}, \
         keep: {{newest: 3}}{group}}}}}}}"
    );
    let policy = Policy::parse(&yaml).unwrap_or_else(|faults| panic!("{faults}"));
    let (name, rules) = policy.redis.first_key_value().expect("a group");
    let settings = settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let facts = ServerFacts {
        address: "db:6379".into(),
        info: ServerInfo::parse(info),
        settings: Ok(settings),
    };
    let seen = ObservedRedis { name, rules, server: Ok(facts), sentinels };
    let now = Timestamp::from_second(NOW).expect("a time");
    let all = evaluate_server(&seen, now);
    all.iter()
        .map(|f| format!("{:?} {} {}", f.severity, f.code, f.message))
        .collect::<Vec<_>>()
        .join("\n")
}

fn good_info() -> String {
    format!(
        "role:master\nrdb_last_bgsave_status:ok\nrdb_last_save_time:{}\nrdb_changes_since_last_save:5\nrdb_saves:3\n",
        NOW - 60
    )
}

fn view(primary: &str, epoch: i64) -> SentinelView {
    SentinelView {
        primary: primary.into(),
        flags: vec!["master".into()],
        other_sentinels: 1,
        epoch,
        quorum_error: None,
    }
}

#[test]
fn a_server_as_the_policy_says_has_no_finding() {
    let settings = [("save", "60 10000 3600 1"), ("appendonly", "yes"), ("rdbchecksum", "yes")];
    let group = ", settings: {save: \"3600 1 60 10000\", appendonly: \"yes\"}";
    assert_eq!(findings(group, &good_info(), &settings, Vec::new()), "");
}

#[test]
fn what_differs_and_what_failed_is_said() {
    let settings = [("save", "3600 1"), ("appendonly", "no"), ("rdbchecksum", "no")];
    let group = ", settings: {appendonly: \"yes\", nosuch: \"1\"}";
    let info = good_info().replace("status:ok", "status:err");
    insta::assert_snapshot!(findings(group, &info, &settings, Vec::new()), @r#"
    Warning settings-drift appendonly is "no", and the policy says "yes"
    Warning settings-drift Redis  has no setting nosuch
    Warning rdb-checksum-off rdbchecksum is no: nobody sees damage in its own RDB files when they are loaded
    Critical rdb-save-failed its last BGSAVE failed, and it may refuse writes
    "#);
}

#[test]
fn lastsave_of_a_server_that_never_saved_is_its_start_and_no_save() {
    let old = |saves: &str| {
        let info = good_info().replace("rdb_saves:3", saves);
        info.replace(&(NOW - 60).to_string(), &(NOW - 10_000).to_string())
    };
    let save = [("save", "3600 1")];
    assert!(
        findings("", &old("rdb_saves:0"), &save, Vec::new())
            .contains("has not saved since its start")
    );
    assert!(findings("", &old("rdb_saves:9"), &save, Vec::new()).contains("its last save is"));
    // Without save points nothing is promised; without changes nothing is lost.
    assert_eq!(findings("", &old("rdb_saves:9"), &[("save", "")], Vec::new()), "");
    let idle = old("rdb_saves:9").replace("save:5", "save:0");
    assert_eq!(findings("", &idle, &save, Vec::new()), "");
}

#[test]
fn replicas_are_held_to_their_lag_and_no_replica_is_a_finding() {
    let group = ", replica_max_lag: 10s";
    let with = |line: &str| findings(group, &format!("{}{line}", good_info()), &[], Vec::new());
    assert!(with("").contains("no-replica"));
    assert_eq!(with("slave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=10"), "");
    assert!(
        with("slave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=11").contains("replica-lag")
    );
    assert!(
        with("slave0:ip=10.0.0.2,port=6379,state=send_bulk,offset=1,lag=0")
            .contains("replica-stopped")
    );
    // A client that takes a file is no replica.
    assert!(
        with("slave0:ip=10.0.0.2,port=0,state=wait_bgsave,offset=0,lag=0").contains("no-replica")
    );
    let replica = "role:slave\nmaster_link_status:up\nmaster_last_io_seconds_ago:11\n";
    assert!(findings(group, replica, &[], Vec::new()).contains("replica-lag"));
    let lost = replica.replace(":up", ":down");
    assert!(findings("", &lost, &[], Vec::new()).contains("replica-stopped"));
}

#[test]
fn sentinels_agree_on_address_and_epoch_and_all_of_them_answer() {
    let say = |views| findings("", &good_info(), &[], views);
    let one = |v| ("a:26379".to_owned(), v);
    let two = |v| ("b:26379".to_owned(), v);
    assert_eq!(say(vec![one(Ok(view("db:6379", 1))), two(Ok(view("db:6379", 1)))]), "");
    for other in [view("other:6379", 1), view("db:6379", 2)] {
        let said = say(vec![one(Ok(view("db:6379", 1))), two(Ok(other))]);
        assert!(said.contains("sentinel-disagreement"), "{said}");
    }
    let down = SentinelView { flags: vec!["master".into(), "o_down".into()], ..view("db:6379", 1) };
    assert!(say(vec![one(Ok(down)), two(Ok(view("db:6379", 1)))]).contains("o_down"));
    let few = SentinelView { quorum_error: Some("NOQUORUM".into()), ..view("db:6379", 1) };
    assert!(say(vec![one(Ok(few)), two(Ok(view("db:6379", 1)))]).contains("sentinel-quorum-lost"));
    let gone = RedisError::new(RedisErrorKind::Connection, "connect to b", "refused", "");
    assert!(say(vec![one(Ok(view("db:6379", 1))), two(Err(gone))]).contains("could not be asked"));
}
