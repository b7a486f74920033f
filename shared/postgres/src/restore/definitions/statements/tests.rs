use super::*;

fn entry(toc: &Toc, id: i32) -> TocEntry {
    toc.entry_by_id(id).expect("it is there").clone()
}

#[test]
fn an_entry_gets_its_owner_by_the_name_that_alter_wants() {
    let toc = crate::restore::sample::sample_toc(&[(1, "TABLE", &[])]);
    let table = [
        (
            "TABLE",
            "Odd \"one\"",
            "DROP TABLE x;\n",
            Some("ALTER TABLE \"s\".\"Odd \"\"one\"\"\" OWNER TO \"bob\""),
        ),
        ("SCHEMA", "s", "DROP SCHEMA s;\n", Some("ALTER SCHEMA \"s\" OWNER TO \"bob\"")),
        (
            "FUNCTION",
            "f(integer)",
            "DROP FUNCTION s.f(a integer);\n",
            Some("ALTER FUNCTION s.f(a integer) OWNER TO \"bob\""),
        ),
        ("INDEX", "i", "DROP INDEX s.i;\n", None),
        ("EXTENSION", "e", "DROP EXTENSION e;\n", None),
        ("TABLE", "without_drop", "", None),
    ];
    for (desc, tag, drop_stmt, expected) in table {
        let mut entry = entry(&toc, 1);
        (entry.desc, entry.tag) = (desc.into(), tag.into());
        (entry.defn, entry.drop_stmt) = ("CREATE".into(), drop_stmt.into());
        (entry.namespace, entry.owner) = (Some("s".into()), Some("bob".into()));
        let owner = |owners| {
            let all = entry_statements(&toc, &entry, owners);
            all.into_iter().flat_map(|s| s.all).find(|sql| sql.contains("OWNER TO"))
        };
        assert_eq!(owner(true).as_deref(), expected, "{desc} {tag}");
        assert_eq!(owner(false), None);
    }
}

#[test]
fn what_is_said_of_many_large_objects_is_said_of_each() {
    let toc = crate::restore::sample::sample_toc(&[(1, "BLOB METADATA", &[]), (2, "ACL", &[1])]);
    let mut toc = toc;
    toc.entries[0].defn = "100\n200\n".into();
    toc.entries[1].tag = "LARGE OBJECTS 100..200".into();
    toc.entries[1].defn =
        "REVOKE ALL ON LARGE OBJECT 100 FROM \"LARGE OBJECT 7\";\nGRANT SELECT ON LARGE OBJECT 100 TO eve;".into();
    let sql = |id| {
        let entry = entry(&toc, id);
        entry_statements(&toc, &entry, true)
            .into_iter()
            .map(|s| s.all.join("; "))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        sql(1),
        [
            "SELECT pg_catalog.lo_create('100'::pg_catalog.oid); SELECT pg_catalog.lo_create('200'::pg_catalog.oid)"
        ]
    );
    let acl = sql(2);
    assert_eq!(acl.len(), 2, "{acl:?}");
    assert!(acl[0].contains("LARGE OBJECT 200 FROM \"LARGE OBJECT 7\""), "{acl:?}");
    assert!(acl[1].ends_with("GRANT SELECT ON LARGE OBJECT 200 TO eve"), "{acl:?}");
    // What is in a string is no statement.
    toc.entries[1].desc = "COMMENT".into();
    toc.entries[1].defn = "COMMENT ON LARGE OBJECT 100 IS 'a; ALTER ROLE eve SUPERUSER; b';".into();
    let entry = entry(&toc, 2);
    let comment: Vec<_> =
        entry_statements(&toc, &entry, true).into_iter().flat_map(|s| s.all).collect();
    assert_eq!(comment.len(), 2, "{comment:?}");
    assert!(comment.iter().all(|s| s.starts_with("COMMENT ON LARGE OBJECT")), "{comment:?}");
}

#[test]
fn without_owners_a_schema_is_made_by_its_name_alone_and_public_stays_as_it_is() {
    let toc = crate::restore::sample::sample_toc(&[(1, "SCHEMA", &[])]);
    let of = |defn: &str| {
        let mut entry = entry(&toc, 1);
        (entry.tag, entry.defn) = ("s".into(), defn.into());
        entry_statements(&toc, &entry, false).remove(0).all
    };
    assert_eq!(of("CREATE SCHEMA s AUTHORIZATION bob;"), ["CREATE SCHEMA \"s\""]);
    assert_eq!(of("-- *not* creating schema"), Vec::<String>::new());
}
