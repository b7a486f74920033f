use super::*;

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().expect("a time")
}

fn keep(folder: &Path) -> Keep {
    Keep(Where::File(folder.join(DOCUMENT)))
}

#[tokio::test]
async fn what_was_written_is_read_and_nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let keep = keep(folder.path());
    let found = keep.load(now()).await.expect("a memory");
    assert_eq!(found.fresh, Some(Fresh::First));
    let mut state = found.state;
    state.messages = 7;
    assert!(keep.save(&state, &found.tag).await.expect("written"));
    let again = keep.load(now()).await.expect("a memory");
    assert_eq!((again.state, again.fresh), (state, None));
    let mode = |p: &Path| std::fs::metadata(p).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join(DOCUMENT)), 0o600);
    assert_eq!(mode(&folder.path().join("notify")), 0o700);
}

#[tokio::test]
async fn who_comes_second_does_not_overwrite_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let keep = keep(folder.path());
    let (one, two) = (keep.load(now()).await.expect("read"), keep.load(now()).await.expect("read"));
    assert!(keep.save(&one.state, &one.tag).await.expect("written"));
    let mut late = two.state;
    late.messages = 1;
    assert!(!keep.save(&late, &two.tag).await.expect("asked"));
    assert_eq!(keep.load(now()).await.expect("read").state.messages, 0);
}

#[tokio::test]
async fn a_memory_that_is_broken_or_newer_begins_anew_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(DOCUMENT);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let other = State { version: 99, ..State::new(now()) };
    let newer = serde_json::to_string(&other).expect("json");
    for broken in ["", "{", "{\"version\": 1", "\u{0}\u{1}", "[]", &newer] {
        std::fs::write(&path, broken).expect("written");
        let found = keep(folder.path()).load(now()).await.expect("read");
        assert!(matches!(found.fresh, Some(Fresh::Lost(_))), "{broken}: {:?}", found.fresh);
        assert!(keep(folder.path()).save(&found.state, &found.tag).await.expect("replaced"));
    }
    std::fs::write(&path, [0xff, 0xfe]).expect("written");
    assert!(matches!(
        keep(folder.path()).load(now()).await.expect("read").fresh,
        Some(Fresh::Lost(_))
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
                    let keep = keep(&path);
                    for _ in 0..10 {
                        loop {
                            let found = keep.load(now()).await.expect("read");
                            let state = State { messages: found.state.messages + 1, ..found.state };
                            if keep.save(&state, &found.tag).await.expect("asked") {
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
    assert_eq!(keep(&path).load(now()).await.expect("read").state.messages, 80);
}

#[test]
fn an_address_that_is_none_is_refused_with_the_mend() {
    for bad in ["", "s3://", "https://a.example/b", "azure://x"] {
        let said = address(bad).expect_err("no place").to_line_with_hint();
        assert!(said.contains("s3://bucket/prefix"), "{said}");
    }
    let s3 = |key: &str| Address::S3 { bucket: "b".into(), key: key.into() };
    assert_eq!(address("s3://b"), Ok(s3("notify/state.json")));
    assert_eq!(address("s3://b/x/"), Ok(s3("x/notify/state.json")));
    assert_eq!(
        address("/var/lib/holdfast"),
        Ok(Address::File("/var/lib/holdfast/notify/state.json".into()))
    );
}
