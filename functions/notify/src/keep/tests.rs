use super::*;

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().expect("a time")
}

fn state_store(folder: &Path) -> StateStore {
    StateStore(StateBackend::File(folder.join(STATE_KEY)))
}

#[tokio::test]
async fn what_was_written_is_read_and_nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let keep = state_store(folder.path());
    let found = keep.load(now()).await.expect("a memory");
    assert_eq!(found.reset_reason, Some(ResetReason::First));
    let mut state = found.state;
    state.messages = 7;
    assert!(keep.save(&state, &found.version).await.expect("written"));
    let again = keep.load(now()).await.expect("a memory");
    assert_eq!((again.state, again.reset_reason), (state, None));
    let mode = |p: &Path| std::fs::metadata(p).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join(STATE_KEY)), 0o600);
    assert_eq!(mode(&folder.path().join("notify")), 0o700);
}

#[tokio::test]
async fn who_comes_second_does_not_overwrite_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let keep = state_store(folder.path());
    let (one, two) = (keep.load(now()).await.expect("read"), keep.load(now()).await.expect("read"));
    assert!(keep.save(&one.state, &one.version).await.expect("written"));
    let mut late = two.state;
    late.messages = 1;
    assert!(!keep.save(&late, &two.version).await.expect("asked"));
    assert_eq!(keep.load(now()).await.expect("read").state.messages, 0);
}

#[tokio::test]
async fn a_memory_that_is_broken_or_newer_begins_anew_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(STATE_KEY);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let other = NotifyState { version: 99, ..NotifyState::new(now()) };
    let newer = serde_json::to_string(&other).expect("json");
    for broken in ["", "{", "{\"version\": 1", "\u{0}\u{1}", "[]", &newer] {
        std::fs::write(&path, broken).expect("written");
        let found = state_store(folder.path()).load(now()).await.expect("read");
        assert!(
            matches!(found.reset_reason, Some(ResetReason::Lost(_))),
            "{broken}: {:?}",
            found.reset_reason
        );
        assert!(
            state_store(folder.path()).save(&found.state, &found.version).await.expect("replaced")
        );
    }
    std::fs::write(&path, [0xff, 0xfe]).expect("written");
    assert!(matches!(
        state_store(folder.path()).load(now()).await.expect("read").reset_reason,
        Some(ResetReason::Lost(_))
    ));
}

#[tokio::test]
async fn eight_at_once_write_one_after_the_other_and_none_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                runtime.block_on(async {
                    let keep = state_store(&path);
                    for _ in 0..10 {
                        loop {
                            let found = keep.load(now()).await.expect("read");
                            let state =
                                NotifyState { messages: found.state.messages + 1, ..found.state };
                            if keep.save(&state, &found.version).await.expect("asked") {
                                break;
                            }
                        }
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert_eq!(state_store(&path).load(now()).await.expect("read").state.messages, 80);
}

#[test]
fn an_address_that_is_none_is_refused_with_the_hint() {
    for bad in ["", "s3://", "https://a.example/b", "azure://x"] {
        let said = parse_location(bad).expect_err("no place").to_line_with_hint();
        assert!(said.contains("s3://bucket/prefix"), "{said}");
    }
    let s3 = |key: &str| StateLocation::S3 { bucket: "b".into(), key: key.into() };
    assert_eq!(parse_location("s3://b"), Ok(s3("notify/state.json")));
    assert_eq!(parse_location("s3://b/x/"), Ok(s3("x/notify/state.json")));
    assert_eq!(
        parse_location("/var/lib/holdfast"),
        Ok(StateLocation::File("/var/lib/holdfast/notify/state.json".into()))
    );
}
