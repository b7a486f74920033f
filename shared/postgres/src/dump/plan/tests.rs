use super::*;

#[test]
fn the_table_and_the_columns_of_a_copy_statement_are_found_whatever_they_are_called() {
    let table = [
        ("COPY public.t (a, b) FROM stdin;\n", Some(("public.t", "(a, b)"))),
        ("COPY public.t  FROM stdin;\n", Some(("public.t", ""))),
        (
            "COPY \"a b\".\"c (\"\"d\"\") FROM stdin;\" (\"x y\", \") FROM stdin;\") FROM stdin;\n",
            Some(("\"a b\".\"c (\"\"d\"\") FROM stdin;\"", "(\"x y\", \") FROM stdin;\")")),
        ),
        ("INSERT INTO t", None),
    ];
    for (statement, expected) in table {
        assert_eq!(parse_copy_statement(statement), expected, "{statement}");
    }
}
