//! The chain by itself: what verification finds.

use super::*;

const NOW: &str = "2026-02-01T00:00:00Z";

#[test]
fn a_record_is_one_line_of_json_that_others_can_hash() {
    let (bytes, _) = encode_object(
        1,
        &sample_run("r", "2026-01-01T00:00:00Z"),
        &[sample_entry("main/shop")],
        ChainTip::genesis(),
    );
    let text = String::from_utf8(bytes).expect("text");
    insta::assert_snapshot!(text, @r#"{"action":"dump","asset":"main/shop","detail":"done","function":"dump","group":"main","hash":"d75536a8f7e7f56dfbc8d9fed823be75073591d50e70579bc804bed3603196f6","host":"db1","line":1,"lines":1,"operation":"backup","policy":"acme","prev_hash":"0000000000000000000000000000000000000000000000000000000000000000","reason":"it is due","recorded_at":"2026-01-01T00:00:00Z","result":"done","run_id":"r","seconds":1.235,"seq":1,"user":"ana"}"#);
    let record = parse_record(text.trim_end().as_bytes()).expect("a record");
    assert_eq!((record.group.as_deref(), record.entry.seconds), (Some("main"), Some(1.235)));
}

#[test]
fn a_chain_as_it_was_written_is_well_and_its_head_is_told() {
    let objects = build_objects(&[1, 3, 2]);
    let verdict = verify_objects(&objects, &expect_one_year(NOW));
    assert_eq!((verdict.records, verdict.objects, &verdict.first_break), (6, 3, &None));
    assert_eq!(verdict.from, Some(parse_time("2026-01-01T00:00:00Z")));
    assert_eq!(verdict.to, Some(parse_time("2026-01-03T00:00:00Z")));
    let head: ChainHead = verdict.head.expect("a head").parse().expect("as it was printed");
    assert_eq!(head.seq, 3);
    assert_eq!(verify_objects(&[], &expect_one_year(NOW)), ChainVerification::default());
}

#[test]
fn the_first_bad_place_is_named() {
    let whole = build_objects(&[1, 3, 2, 1]);
    let change = |from: &str, to: &str, i: usize| {
        let mut objects = whole.clone();
        let text = String::from_utf8(objects[i].1.clone()).expect("text");
        assert!(text.contains(from), "{from} in {text}");
        objects[i].1 = text.replacen(from, to, 1).into_bytes();
        objects
    };
    let without = |i: usize| {
        let mut objects = whole.clone();
        objects.remove(i);
        objects
    };
    let mut moved = whole.clone();
    let (a, b) = (moved[1].1.clone(), moved[2].1.clone());
    (moved[1].1, moved[2].1) = (b, a);
    let mut shorter = whole.clone();
    let end = shorter[1].1.iter().rposition(|b| *b == b'{').expect("a line");
    shorter[1].1.truncate(end);
    let mut table = vec![
        ("a word is changed", change("it is due", "it was due", 1)),
        ("a space is put in", change("\"action\":", "\"action\": ", 1)),
        ("an object is missing", without(2)),
        ("the first object is missing", without(0)),
        ("two objects are swapped", moved),
        ("the last line of an object is cut", shorter),
        (
            "an object is empty",
            whole.iter().map(|(s, b)| (*s, if *s == 3 { vec![] } else { b.clone() })).collect(),
        ),
        (
            "an object is no JSON",
            whole
                .iter()
                .map(|(s, b)| (*s, if *s == 3 { b"x\n".to_vec() } else { b.clone() }))
                .collect(),
        ),
        (
            "the last line has no end",
            whole
                .iter()
                .map(|(s, b)| (*s, if *s == 4 { b[..b.len() - 1].to_vec() } else { b.clone() }))
                .collect(),
        ),
    ];
    // Sealed anew by somebody who knows how: the next record is chained to the true one.
    let forged = {
        let mut objects = whole.clone();
        let mut record = parse_record(objects[0].1.trim_ascii_end()).expect("a record");
        record.entry.detail = "something else".into();
        record.hash = String::new();
        objects[0].1 =
            [super::super::record::hash_and_serialize(&record).1, b"\n".to_vec()].concat();
        objects
    };
    table.push(("a record is forged", forged));
    let said: Vec<_> = table
        .iter()
        .map(|(case, objects)| {
            let bad = verify_objects(objects, &expect_one_year(NOW))
                .first_break
                .unwrap_or_else(|| panic!("{case}"));
            let why = bad.reason.split(": its hash is").next().unwrap_or_default().to_owned();
            format!("{case}: {}: {why}", bad.location)
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"), @"
    a word is changed: 000000/000000002.jsonl line 1: it was changed
    a space is put in: 000000/000000002.jsonl line 1: it was changed: it is not written as Holdfast writes
    an object is missing: 000000/000000003.jsonl: it is missing; what follows 2 is 4
    the first object is missing: 000000/000000002.jsonl line 1: the object before it is missing: it was written at 2026-01-01T00:00:00Z, and is to be kept longer
    two objects are swapped: 000000/000000002.jsonl line 1: it is record 1 of 2 of object 3, and lies as 1 of 2 in 2
    the last line of an object is cut: 000000/000000002.jsonl line 1: it is record 1 of 3 of object 2, and lies as 1 of 2 in 2
    an object is empty: 000000/000000003.jsonl: it is empty
    an object is no JSON: 000000/000000003.jsonl line 1: it is no JSON: expected value at line 1 column 1
    the last line has no end: 000000/000000004.jsonl line 1: it was changed: it has no end
    a record is forged: 000000/000000002.jsonl line 1: it is not chained to the record before it: that one was changed, or this one
    ");
}

#[test]
fn a_cut_tail_and_a_chain_written_anew_are_found_by_an_earlier_head() {
    let whole = build_objects(&[1, 2, 1]);
    let head: ChainHead = verify_objects(&whole, &expect_one_year(NOW))
        .head
        .expect("a head")
        .parse()
        .expect("a head");
    let expected = ChainExpectation { head: Some(head.clone()), ..expect_one_year(NOW) };
    let longer = build_objects(&[1, 2, 1, 1]);
    assert_eq!(verify_objects(&longer, &expected).first_break, None, "it may have grown");
    assert_eq!(
        verify_objects(&whole[..2], &expect_one_year(NOW)).first_break,
        None,
        "by itself a cut tail can't be seen"
    );
    let anew = build_objects(&[1, 2, 2]);
    let said = [&whole[..2], &[], &anew[..]].map(|objects| {
        let bad = verify_objects(objects, &expected).first_break.expect("bad");
        format!("{}: {}", bad.location, bad.reason.split(" hash is").next().unwrap_or_default())
    });
    insta::assert_snapshot!(said.join("\n"), @"
    000000/000000003.jsonl: it is missing: an earlier verification saw it, and the log ends with 2
    000000/000000003.jsonl: it is missing: an earlier verification saw it, and the log ends with 0
    000000/000000003.jsonl: its last record's
    ");
    // The head of a verification so long ago that what it saw was let go since.
    let old = ChainExpectation {
        head: Some(ChainHead { seq: 1, ..head }),
        ..expect_one_year("2027-01-02T12:00:00Z")
    };
    assert!(
        verify_objects(&whole[1..], &old)
            .first_break
            .is_some_and(|bad| bad.reason.contains("newer"))
    );
}

#[test]
fn what_was_let_go_is_no_gap_and_what_was_taken_away_before_its_time_is() {
    let whole = build_objects(&[1, 1, 1]);
    // The first object is of 1 January 2026 and is kept a year.
    assert_eq!(
        verify_objects(&whole[1..], &expect_one_year("2027-01-01T00:00:00Z")).first_break,
        None
    );
    let bad = verify_objects(&whole[1..], &expect_one_year("2026-12-31T23:59:59Z"))
        .first_break
        .expect("bad");
    insta::assert_snapshot!(format!("{}: {}", bad.location, bad.reason), @"000000/000000002.jsonl line 1: the object before it is missing: it was written at 2026-01-01T00:00:00Z, and is to be kept longer");
}

#[test]
fn a_text_of_a_megabyte_and_a_failure_are_recorded_in_bounds() {
    let entry = AuditEntry {
        detail: "é".repeat(500_000),
        result: OperationResult::Failed,
        ..sample_entry("a")
    };
    let (bytes, _) = encode_object(1, &sample_run("r", NOW), &[entry], ChainTip::genesis());
    assert!(bytes.len() < 4000, "{}", bytes.len());
    assert_eq!(verify_objects(&[(1, bytes)], &expect_one_year(NOW)).first_break, None);
}

#[test]
fn a_head_is_read_as_it_was_printed_and_nothing_else_is() {
    let hash = "0123456789abcdef".repeat(4);
    assert_eq!(format!("7:{hash}").parse(), Ok(ChainHead { seq: 7, hash: hash.clone() }));
    for wrong in ["", "7", "7:", ":abc", &format!("x:{hash}"), &format!("7:{hash}0"), "7:zz"] {
        assert!(wrong.parse::<ChainHead>().is_err(), "{wrong}");
    }
}

/// What somebody may do to a log.
#[derive(Clone, Debug)]
enum TamperKind {
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    RemoveObject(prop::sample::Index),
    SwapObjects(prop::sample::Index, prop::sample::Index),
    CopyObject(prop::sample::Index, prop::sample::Index),
    RemoveLine(prop::sample::Index),
    DoubleLine(prop::sample::Index),
    SwapLines(prop::sample::Index, prop::sample::Index),
}

fn tamper_strategy() -> impl Strategy<Value = TamperKind> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 1..=255_u8).prop_map(|(i, b)| TamperKind::Flip(i, b)),
        (index(), any::<u8>()).prop_map(|(i, b)| TamperKind::Insert(i, b)),
        index().prop_map(TamperKind::Cut),
        index().prop_map(TamperKind::RemoveObject),
        (index(), index()).prop_map(|(a, b)| TamperKind::SwapObjects(a, b)),
        (index(), index()).prop_map(|(a, b)| TamperKind::CopyObject(a, b)),
        index().prop_map(TamperKind::RemoveLine),
        index().prop_map(TamperKind::DoubleLine),
        (index(), index()).prop_map(|(a, b)| TamperKind::SwapLines(a, b)),
    ]
}

/// The log after it, or none if that changed nothing.
fn apply_tamper(objects: &[NumberedObject], how: &TamperKind) -> Option<Vec<NumberedObject>> {
    let mut all = objects.to_vec();
    let places: Vec<(usize, usize)> =
        all.iter().enumerate().flat_map(|(o, (_, b))| (0..b.len()).map(move |i| (o, i))).collect();
    // Each line with its end, by its object.
    let mut lines: Vec<Vec<Vec<u8>>> = all
        .iter()
        .map(|(_, b)| b.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect())
        .collect();
    let spots: Vec<(usize, usize)> =
        lines.iter().enumerate().flat_map(|(o, l)| (0..l.len()).map(move |i| (o, i))).collect();
    let mut relined = false;
    match how {
        TamperKind::Flip(i, mask) => {
            let (o, i) = *i.get(&places);
            all[o].1[i] ^= mask;
        }
        TamperKind::Insert(i, byte) => {
            let (o, i) = *i.get(&places);
            all[o].1.insert(i, *byte);
        }
        TamperKind::Cut(i) => {
            let (o, i) = *i.get(&places);
            all[o].1.truncate(i);
        }
        TamperKind::RemoveObject(i) => {
            all.remove(i.index(all.len()));
        }
        TamperKind::SwapObjects(a, b) => {
            let (a, b) = (a.index(all.len()), b.index(all.len()));
            let bytes = all[a].1.clone();
            all[a].1 = std::mem::replace(&mut all[b].1, bytes);
        }
        TamperKind::CopyObject(a, b) => {
            let bytes = a.get(&all).1.clone();
            let b = b.index(all.len());
            all[b].1 = bytes;
        }
        TamperKind::RemoveLine(i) => {
            let (o, i) = *i.get(&spots);
            lines[o].remove(i);
            relined = true;
        }
        TamperKind::DoubleLine(i) => {
            let (o, i) = *i.get(&spots);
            let line = lines[o][i].clone();
            lines[o].insert(i, line);
            relined = true;
        }
        TamperKind::SwapLines(a, b) => {
            let ((ao, ai), (bo, bi)) = (*a.get(&spots), *b.get(&spots));
            let line = lines[ao][ai].clone();
            lines[ao][ai] = std::mem::replace(&mut lines[bo][bi], line);
            relined = true;
        }
    }
    if relined {
        for (object, lines) in all.iter_mut().zip(&lines) {
            object.1 = lines.concat();
        }
    }
    (all != objects).then_some(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_is_changed_removed_moved_or_doubled_is_found(
        counts in prop::collection::vec(1..4_usize, 1..6),
        how in tamper_strategy(),
    ) {
        let objects = build_objects(&counts);
        let verdict = verify_objects(&objects, &expect_one_year(NOW));
        prop_assert_eq!(&verdict.first_break, &None);
        // With the head that an earlier verification printed, so that a cut tail is found as well.
        let head = verdict.head.and_then(|head| head.parse().ok());
        let held = ChainExpectation { head, ..expect_one_year(NOW) };
        if let Some(changed) = apply_tamper(&objects, &how) {
            prop_assert!(verify_objects(&changed, &held).first_break.is_some(), "{:?}", how);
        }
    }
}
