//! Heads of archives for tests.

use crate::toc::Toc;

fn push_int(out: &mut Vec<u8>, value: i32) {
    out.push(u8::from(value < 0));
    out.extend(value.unsigned_abs().to_le_bytes());
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_int(out, i32::try_from(text.len()).expect("short"));
    out.extend(text.as_bytes());
}

/// The head of an archive of version 1.14 with these entries: number, kind, what they depend on.
pub(crate) fn sample_toc(entries: &[(i32, &str, &[i32])]) -> Toc {
    let mut out = b"PGDMP\x01\x0e\x00\x04\x08\x01".to_vec();
    (0..8).for_each(|_| push_int(&mut out, 0)); // no compression, and a time
    for word in ["database", "15.18", "15.18"] {
        push_text(&mut out, word);
    }
    push_int(&mut out, i32::try_from(entries.len()).expect("few"));
    for (id, desc, on) in entries {
        push_int(&mut out, *id);
        push_int(&mut out, i32::from(*desc == "TABLE DATA"));
        for word in ["1259", "16384", "name", desc] {
            push_text(&mut out, word);
        }
        push_int(&mut out, 4);
        // Definition, drop and copy statements, schema, tablespace, access method, owner, WITH OIDS.
        (0..8).for_each(|_| push_int(&mut out, -1));
        on.iter().for_each(|id| push_text(&mut out, &id.to_string()));
        push_int(&mut out, -1);
        out.push(if *desc == "TABLE DATA" { 1 } else { 3 });
        out.extend([0; 8]);
    }
    Toc::read(&mut &out[..]).expect("a table of contents")
}
