use super::*;
use crate::{BackupStore, KeyTemplate, OrphanKind, UploadOptions, key::DEFAULT_KEY_TEMPLATE};
use std::os::unix::fs::PermissionsExt;

const KEY: &str = "orders/orders_daily_20261120_020000.dump";

fn test_store(root: &tempfile::TempDir) -> BackupStore {
    BackupStore::Directory(DirectoryBackend::new(root.path().join("backups"), ""))
}

fn key_templates() -> Vec<KeyTemplate> {
    vec![KeyTemplate::new(DEFAULT_KEY_TEMPLATE, ".dump").expect("a form")]
}

/// Every name in the directory, with its mode.
fn list_tree(root: &tempfile::TempDir) -> Vec<String> {
    fn walk_tree(at: &Path, below: &str, all: &mut Vec<String>) {
        for entry in std::fs::read_dir(at).expect("a directory") {
            let entry = entry.expect("an entry");
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            let facts = entry.metadata().expect("facts");
            all.push(format!("{:o} {name}", facts.permissions().mode() & 0o7777));
            if facts.is_dir() {
                walk_tree(&entry.path(), &format!("{name}/"), all);
            }
        }
    }
    let mut all = Vec::new();
    walk_tree(&root.path().join("backups"), "", &mut all);
    all.sort_by(|a, b| a[4..].cmp(&b[4..]));
    all
}

async fn upload_bytes(
    store: &BackupStore,
    key: &str,
    bytes: &'static [u8],
) -> Result<crate::UploadReceipt, StoreError> {
    let mut upload = store.start_upload(key, &UploadOptions::default()).await?;
    upload.write(bytes.into()).await?;
    upload.finish().await
}

async fn commit_backup(store: &BackupStore, key: &str) {
    store
        .put_if_absent(&beside::checksum_key(key), "x".into(), &UploadOptions::default())
        .await
        .expect("sums");
    store
        .put_if_absent(&beside::manifest_key(key), "{}".into(), &UploadOptions::default())
        .await
        .expect("manifest");
}

async fn read_content(store: &BackupStore, key: &str) -> Vec<u8> {
    let (out, mut stream) = mpsc::channel(4);
    let reading = store.stream_object(key, out);
    let collecting = async {
        let mut all = Vec::new();
        loop {
            let chunk = stream.recv().await.expect("a clean end").expect("no error");
            if chunk.is_empty() {
                return all;
            }
            all.extend_from_slice(&chunk);
        }
    };
    let (read, all) = tokio::join!(reading, collecting);
    read.expect("read");
    all
}

#[tokio::test]
async fn a_backup_has_its_modes_and_no_temporary_name_once_it_is_committed() {
    let root = tempfile::tempdir().expect("a directory");
    let store = test_store(&root);
    assert_eq!(store.list("").await, Ok(Vec::new()), "nothing is there yet, not even a directory");
    let written = upload_bytes(&store, KEY, b"abc").await.expect("written");
    assert_eq!(written.bytes, 3);
    // FIPS 180-2, appendix B.1.
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(written.checksum.as_deref(), Some(abc));
    insta::assert_snapshot!(list_tree(&root).join("\n"), @"
    750 orders
    640 orders/.orders_daily_20261120_020000.dump.holdfast
    640 orders/orders_daily_20261120_020000.dump
    ");
    commit_backup(&store, KEY).await;
    insta::assert_snapshot!(list_tree(&root).join("\n"), @"
    750 orders
    640 orders/orders_daily_20261120_020000.dump
    640 orders/orders_daily_20261120_020000.dump.json
    640 orders/orders_daily_20261120_020000.dump.sha256
    ");
    assert_eq!(read_content(&store, KEY).await, b"abc");
    assert_eq!(store.list_orphans(&key_templates()).await, Ok(Vec::new()));
    let listed = store.list("orders/").await.expect("listed");
    let listed: Vec<_> = listed.iter().map(|e| (e.key.as_str(), e.size)).collect();
    assert_eq!(listed[0], (KEY, 3));
    assert_eq!(store.list("order/").await, Ok(Vec::new()));
    assert!(store.free_space().await.expect("asked").expect("a disk") > 0);
}

#[tokio::test]
async fn nothing_is_ever_rewritten() {
    let root = tempfile::tempdir().expect("a directory");
    let store = test_store(&root);
    upload_bytes(&store, KEY, b"first").await.expect("written");
    commit_backup(&store, KEY).await;
    let error = upload_bytes(&store, KEY, b"second").await.expect_err("taken");
    assert_eq!(error.kind, StoreErrorKind::Exists);
    let manifest = beside::manifest_key(KEY);
    let error = store
        .put_if_absent(&manifest, "new".into(), &UploadOptions::default())
        .await
        .expect_err("taken");
    assert_eq!(error.kind, StoreErrorKind::Exists);
    assert_eq!(store.get_small(&manifest).await.expect("read").as_deref(), Some(b"{}".as_slice()));
    assert_eq!(read_content(&store, KEY).await, b"first");

    // Taken only after the upload began: the link fails, and what was there stays.
    let other = "orders/orders_daily_20261121_020000.dump";
    let mut late = store.start_upload(other, &UploadOptions::default()).await.expect("begun");
    late.write("mine".into()).await.expect("written");
    std::fs::write(root.path().join("backups").join(other), "theirs").expect("write");
    assert_eq!(late.finish().await.expect_err("taken").kind, StoreErrorKind::Exists);
    assert_eq!(read_content(&store, other).await, b"theirs");
    assert!(!list_tree(&root).iter().any(|n| n.contains(".holdfast")), "{:?}", list_tree(&root));
}

#[tokio::test]
async fn a_second_run_at_the_same_key_is_refused_while_the_first_one_writes() {
    let root = tempfile::tempdir().expect("a directory");
    let store = test_store(&root);
    let first = store.start_upload(KEY, &UploadOptions::default()).await.expect("begun");
    let error = store.start_upload(KEY, &UploadOptions::default()).await.expect_err("at work");
    assert_eq!(
        (error.kind, error.why.as_str()),
        (StoreErrorKind::Exists, "another run writes it, or was killed while it did")
    );
    first.abort().await;
    assert_eq!(list_tree(&root), ["750 orders"]);
    drop(store.start_upload(KEY, &UploadOptions::default()).await.expect("free again"));
    assert_eq!(list_tree(&root), ["750 orders"]);
}

/// What a run that is killed leaves behind, step by step, and that the next run's cleaning leaves nothing of it.
#[tokio::test]
async fn killed_at_any_step_nothing_counts_and_everything_is_cleaned() {
    for step in 0..7 {
        let root = tempfile::tempdir().expect("a directory");
        let store = test_store(&root);
        // A good one beside it, which must not be touched.
        let good = "orders/orders_daily_20261119_020000.dump";
        upload_bytes(&store, good, b"good").await.expect("written");
        commit_backup(&store, good).await;
        let before = list_tree(&root);

        let object = root.path().join("backups").join(KEY);
        let manifest = root.path().join("backups").join(beside::manifest_key(KEY));
        let temporary = steps::temp_path(&object);
        let write = |path: &Path, text: &str| std::fs::write(path, text).expect("write");
        if step >= 1 {
            write(&temporary, "par");
        }
        if step >= 2 {
            steps::publish_by_link(&object).expect("linked");
        }
        if step >= 3 {
            write(
                &steps::temp_path(&root.path().join("backups").join(beside::checksum_key(KEY))),
                "x",
            );
        }
        if step >= 4 {
            store
                .delete_orphan(&find_orphan(&store, &beside::checksum_key(KEY)).await)
                .await
                .expect("cleaned");
            store
                .put_if_absent(&beside::checksum_key(KEY), "x".into(), &UploadOptions::default())
                .await
                .expect("sums");
        }
        if step >= 5 {
            write(&steps::temp_path(&manifest), "{");
        }
        if step == 6 {
            // From here on it is a backup: linked, with both temporary names still there.
            steps::publish_by_link(&manifest).expect("linked");
        }

        for left in store.list_orphans(&key_templates()).await.expect("found") {
            assert_eq!(left.database.as_deref(), Some("orders"), "{left:?}");
            store.delete_orphan(&left).await.expect("cleaned");
        }
        assert_eq!(store.list_orphans(&key_templates()).await, Ok(Vec::new()), "step {step}");
        let after = list_tree(&root);
        if step == 6 {
            assert_eq!(after.len(), before.len() + 3, "committed: {after:?}");
            assert!(!after.iter().any(|n| n.contains(".holdfast")), "{after:?}");
        } else {
            assert_eq!(after, before, "step {step}");
        }
    }
}

async fn find_orphan(store: &BackupStore, key: &str) -> crate::OrphanedObject {
    let all = store.list_orphans(&key_templates()).await.expect("found");
    all.into_iter().find(|l| l.key == key).expect("it is there")
}

/// The steps of a delete, killed after each: what is left is a backup still, or a leftover, and never a foreign file.
#[tokio::test]
async fn a_delete_that_is_killed_is_gone_on_with_by_the_next_cleaning() {
    for step in 1..4 {
        let root = tempfile::tempdir().expect("a directory");
        let store = test_store(&root);
        upload_bytes(&store, KEY, b"abc").await.expect("written");
        commit_backup(&store, KEY).await;
        let object = root.path().join("backups").join(KEY);
        let gone = |key: &str| {
            steps::remove_if_exists(&root.path().join("backups").join(key)).expect("gone");
        };
        steps::mark_incomplete(&object).expect("marked");
        if step >= 2 {
            gone(&beside::manifest_key(KEY));
        }
        if step >= 3 {
            gone(&beside::checksum_key(KEY));
        }
        let left = store.list_orphans(&key_templates()).await.expect("found");
        let expected = if step == 1 { OrphanKind::Temporary } else { OrphanKind::Object };
        assert_eq!(left.iter().map(|l| &l.kind).collect::<Vec<_>>(), [&expected], "step {step}");
        store.delete_orphan(&left[0]).await.expect("cleaned");
        let there = store.list("").await.expect("listed").len();
        assert_eq!(there, if step == 1 { 3 } else { 0 }, "step {step}");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_as_one_and_leaves_nothing() {
    // /dev/full refuses every write as a full disk does; the temporary name is made to lead there.
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("x.dump");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let mut writing = writing::DirectoryUpload::for_path(path, full);
    let many = Bytes::from(vec![0; CHUNK_BYTES]);
    let error = writing.write(many).await.expect_err("no room");
    assert_eq!(error.kind, StoreErrorKind::Full, "{error}");
    assert!(error.hint.contains("make room"), "{}", error.hint);
    let again =
        writing.write(Bytes::from(vec![0; CHUNK_BYTES])).await.expect_err("it failed before");
    assert_eq!(again.kind, StoreErrorKind::Refused);
    drop(writing);
    assert_eq!(std::fs::read_dir(root.path()).expect("a directory").count(), 0);
}

#[tokio::test]
async fn a_key_never_leads_out_of_the_directory() {
    let root = tempfile::tempdir().expect("a directory");
    let store = test_store(&root);
    for key in ["../x", "a/../../x", "/x", "a//x", ".x", "a/.x.holdfast", "", "a\0"] {
        let error = store.start_upload(key, &UploadOptions::default()).await.expect_err(key);
        assert_eq!(error.kind, StoreErrorKind::Refused, "{key}: {error}");
    }
}

#[tokio::test]
async fn links_and_hidden_files_are_no_backups() {
    let root = tempfile::tempdir().expect("a directory");
    let dir = root.path().join("backups");
    std::fs::create_dir_all(dir.join(".git")).expect("made");
    std::fs::write(dir.join("a.dump"), "x").expect("write");
    std::fs::write(dir.join(".git/b.dump"), "x").expect("write");
    std::os::unix::fs::symlink("a.dump", dir.join("latest.dump")).expect("a link");
    std::os::unix::fs::symlink(&dir, dir.join("loop")).expect("a link");
    let listed = test_store(&root).list("").await.expect("listed");
    assert_eq!(listed.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["a.dump"]);
}

#[tokio::test]
async fn a_prefix_is_the_begin_of_names() {
    let root = tempfile::tempdir().expect("a directory");
    let store = BackupStore::Directory(DirectoryBackend::new(root.path(), "daily/pg-"));
    upload_bytes(&store, "orders.dump", b"x").await.expect("written");
    assert!(root.path().join("daily/pg-orders.dump").exists());
    std::fs::write(root.path().join("daily/other.dump"), "x").expect("write");
    let listed = store.list("").await.expect("listed");
    assert_eq!(listed.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["orders.dump"]);
    let shown = root.path().display();
    assert_eq!(store.address(), format!("{shown}/daily/pg-"));
    assert_eq!(store.download_command("orders.dump"), format!("cat {shown}/daily/pg-orders.dump"));
    assert_eq!(store.full_uri("orders.dump"), format!("{shown}/daily/pg-orders.dump"));
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_read_is_no_clean_end() {
    let root = tempfile::tempdir().expect("a directory");
    let store = test_store(&root);
    let path = root.path().join("backups/x.dump");
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    std::fs::write(&path, vec![7; 9 * CHUNK_BYTES]).expect("write");
    let (out, mut stream) = mpsc::channel(1);
    let reading = tokio::spawn(async move { store.stream_object("x.dump", out).await });
    assert_eq!(stream.recv().await.expect("a chunk").expect("bytes").len(), CHUNK_BYTES);
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|f| f.set_len(CHUNK_BYTES as u64))
        .expect("cut");
    let mut last = None;
    while let Some(chunk) = stream.recv().await {
        last = Some(chunk);
    }
    assert!(last.expect("an end").is_err());
    assert_eq!(reading.await.expect("ended").expect_err("cut").kind, StoreErrorKind::Damaged);
}

#[tokio::test]
async fn a_file_system_that_does_not_answer_is_an_error_and_not_a_wait() {
    let (release, hung) = std::sync::mpsc::channel::<()>();
    let work = run_blocking_for(std::time::Duration::from_millis(1), move || {
        let _ = hung.recv(); // as a read of a network mount whose server is away
        Ok(())
    });
    let error = work.await.expect_err("no answer");
    assert_eq!(error.kind, StoreErrorKind::Unreachable, "{error}");
    assert!(error.why.contains("the file system did not answer within"), "{error}");
    drop(release);
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cwd, mode) = (rustix::fs::CWD, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR);
    let pipe = folder.path().join("pipe.dump");
    rustix::fs::mknodat(cwd, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    let directory = DirectoryBackend::new(folder.path(), "");
    assert_eq!(
        directory.get_small("pipe.dump").await.expect_err("a pipe").kind,
        StoreErrorKind::Refused
    );
    let (out, _held) = tokio::sync::mpsc::channel(1);
    assert_eq!(
        directory.stream_object("pipe.dump", &out).await.expect_err("a pipe").kind,
        StoreErrorKind::Refused
    );
}

#[tokio::test]
async fn a_small_file_of_a_run_that_was_killed_does_not_stop_the_next() {
    let root = tempfile::tempdir().expect("a folder");
    let store = DirectoryBackend::new(root.path(), "");
    std::fs::write(steps::temp_path(&root.path().join("a.zst")), b"cut").expect("written");
    store.put_if_absent("a.zst", "whole".into()).await.expect("written");
    assert_eq!(store.get_small("a.zst").await.expect("read"), Some("whole".into()));
    let again = store.put_if_absent("a.zst", "other".into()).await.expect_err("write once");
    assert_eq!(again.kind, StoreErrorKind::Exists);
    assert_eq!(store.list("").await.expect("a list").len(), 1);
}
