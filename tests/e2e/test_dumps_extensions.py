"""Databases with large extensions, real ones: one that is bound to a database's name, and one whose own tables are dumped in part."""

from collections.abc import Callable, Iterator

import pytest

from backups import dump, in_folder, record, refused, rows, well
from peers import PASSWORD, Database, group, policy_of
from world.postgres import extension, postgres

CRON = """
    CREATE EXTENSION pg_cron;
    CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders SELECT generate_series(1, 100);
    SELECT cron.schedule('nightly', '0 3 * * *', 'DELETE FROM orders WHERE id < 0');
"""
SITES = """
    CREATE EXTENSION postgis;
    CREATE TABLE sites (id int PRIMARY KEY, at geometry(Point, 4326));
    INSERT INTO sites SELECT i, ST_SetSRID(ST_MakePoint(i % 180, i % 80), 4326) FROM generate_series(1, 1000) i;
    CREATE INDEX ON sites USING gist (at);
    INSERT INTO spatial_ref_sys (srid, auth_name, auth_srid, srtext, proj4text) VALUES (990001, 'acme', 990001, 'x', '+proj=longlat');
"""
FORMS = pytest.mark.parametrize("form", ["custom", "plain"])


@pytest.fixture
def dumped(folder) -> Callable[[Database, str], dict]:
    """The policy of a database whose dumps have this form."""
    return lambda database, form: policy_of(
        shop=group(database.server, [database.name], in_folder(folder), {"keep": {"newest": 3}, "format": form}))


@pytest.fixture(scope="module")
def cron() -> Iterator[Database]:
    """A database with pg_cron, which is made in no other one of that server."""
    if why := extension("pg_cron"):
        pytest.skip(why)
    with postgres(shared_preload_libraries="pg_cron", cron__database_name="shop") as server:
        server.sql("CREATE DATABASE shop")
        database = Database(server, "shop")
        database.sql(CRON)
        yield database


@FORMS
def test_a_database_whose_extension_is_bound_to_its_name(form, cron, holdfast, dumped, folder):
    policy, known = dumped(cron, form), {PASSWORD: cron.server.password}
    taken = dump(holdfast, policy, **known)["backup"]
    had = rows(record(folder, taken))
    assert had["public.orders"] == 100 and had["cron.job"] == 1

    # Under another name it can't all come back: that is said, and nothing stays that seems to be whole.
    target = f"again_{form}"
    refused(holdfast(policy, "restore", "shop/shop", "--to", target, **known), 1, "pg_cron", "--accept-losses", "by hand")
    assert target not in cron.server.databases()
    ran = holdfast(policy, "restore", "shop/shop", "--to", target, "--accept-losses", "--json", **known)
    assert ran.code == 6, f"{ran.out}\n{ran.err}"
    lost = " ".join(f"{each['statement']} {each['message']}" for each in ran.json["warnings"])
    assert "pg_cron" in lost and "cron.job" in lost and "nightly" not in lost, lost
    again = Database(cron.server, target)
    assert again.sql("SELECT count(*) FROM orders") == "100"
    assert again.sql("SELECT count(*) FROM pg_constraint WHERE conname = 'orders_pkey'") == "1"

    # A scratch server has no pg_cron either: the same judgement, and the extension is named.
    ran = holdfast(policy, "verify", "shop/shop", "--full", **known)
    assert ran.code != 0 and "pg_cron" in ran.out + ran.err, f"exit {ran.code}\n{ran.out}\n{ran.err}"


@FORMS
def test_rows_of_an_extensions_own_table_are_counted_as_they_were_dumped(form, fresh_database, holdfast, dumped, folder):
    if why := extension("postgis"):
        pytest.skip(why)
    database = fresh_database()
    database.sql(SITES)
    policy = dumped(database, form)
    taken = dump(holdfast, policy)["backup"]
    had = rows(record(folder, taken))
    assert (had["public.sites"], had["public.spatial_ref_sys"]) == (1000, 1)
    well(holdfast(policy, "verify", f"shop/{database.name}", "--full"))
    target = f"{database.name}_{form}"
    ran = well(holdfast(policy, "restore", f"shop/{database.name}", "--to", target, "--json"))
    assert ran.json["warnings"] == []
    again = Database(database.server, target)
    everything = "SELECT count(*), sum(srid) FROM spatial_ref_sys"
    near = "SELECT count(*) FROM sites WHERE at && ST_MakeEnvelope(0, 0, 10, 10, 4326)"
    for question in (everything, near):
        assert again.sql(question) == database.sql(question)
    assert int(again.sql("SELECT count(*) FROM spatial_ref_sys")) > 8000
