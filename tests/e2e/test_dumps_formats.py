"""What is written, anyone can read: every format comes back with stock tools alone, and what others wrote with Holdfast."""

import csv
import gzip
import io
import os
import subprocess
from pathlib import Path

import pytest

from backups import dump, files, in_folder, listed, record, refused, rows, well
from peers import dump_text, group, policy_of, stock_shell

PHRASE = "ein Satz, der nichts öffnet; $HOME `id` \"'"


def shell(server, folder: Path, line: str, **words: str) -> subprocess.CompletedProcess:
    """Runs the line of a commit record as a stranger does: stock tools, its words in capitals replaced."""
    for word, meant in words.items():
        line = line.replace(word.replace("_", "."), meant)
    env = server.env() | {"PATH": f"{server.programs}:{os.environ['PATH']}"}
    return stock_shell(line, env, folder)


# -- what Holdfast writes --------------------------------------------------------------------------------------------------

FORMATS = {
    "custom-zstd-age": ("dump.zst.age", {}),
    "custom-gzip": ("dump", {"compress": "gzip", "level": 9, "jobs": 1}),
    "plain-gzip-openssl": ("sql.gz.enc", {"format": "plain", "compress": "gzip"}),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_kind_of_object_comes_back_by_holdfast_and_without_it(
        name, holdfast, every_kind, fresh_database, folder, identity, tools):
    ending, what = FORMATS[name]
    key = identity()
    if "age" in name:
        what = what | {"encrypt": {"age": [key.recipient], "identity": {"file": str(key.file)}}}
    if "openssl" in name:
        what = what | {"encrypt": {"openssl": {"env": "PHRASE"}, "iterations": 10_000}}
    database, server = every_kind, every_kind.server
    stored_as = in_folder(folder, f"{{database}}_%Y%m%d_%H%M%S.{ending}")
    policy = policy_of(shop=group(server, [database.name], stored_as, what))
    holdfast.env["PHRASE"] = PHRASE
    before = dump_text(server, database.name)

    item = dump(holdfast, policy)
    said = record(folder, item["backup"])
    counted = {name: int(database.sql(f"SELECT count(*) FROM ONLY {name}")) for name in rows(said)}
    assert counted == rows(said) and sum(counted.values()) > 15_000

    well(holdfast(policy, "restore", f"shop/{database.name}", "--to", f"{database.name}_back"))
    assert dump_text(server, f"{database.name}_back") == before.replace(f"{database.name};", f"{database.name}_back;")

    words = {"KEY_txt": str(key.file), "PASSPHRASE_txt": str(holdfast.folder / "phrase")}
    (holdfast.folder / "phrase").write_text(PHRASE)
    again = fresh_database()
    done = shell(server, folder, said["restore"], TARGET=again.name, **words)
    assert done.returncode == 0, f"{said['restore']}\n{done.stderr}"
    owned = ["--no-owner"] if "pg_restore" in said["restore"] else []
    assert dump_text(server, again.name, *owned) == dump_text(server, database.name, *owned)


def test_pg_restore_reads_a_custom_dump_with_gzip_as_it_lies(holdfast, every_kind, folder):
    stored_as = in_folder(folder, "{database}_%Y%m%d_%H%M%S.dump")
    policy = policy_of(shop=group(every_kind.server, [every_kind.name], stored_as, {"compress": "gzip"}))
    item = dump(holdfast, policy)
    toc = every_kind.server.run("pg_restore", "--list", str(folder / item["backup"])).decode()
    assert "Compression: " in toc and "TABLE DATA app kinds" in toc
    text = every_kind.server.run("pg_restore", "-f", "-", "-t", "kinds", str(folder / item["backup"])).decode()
    assert "Ünïcödé" in text or "größer" in text


def test_tables_and_queries_are_csv_files_of_their_own(holdfast, every_kind, fresh_database, folder):
    what = {"format": "csv", "compress": "gzip", "tables": ["public.order", "app.kinds"],
            "queries": {"cities": "SELECT city, sum(value) AS \"to,tal\" FROM app.measured GROUP BY city ORDER BY city"}}
    stored_as = in_folder(folder, "{table}/%Y%m%d_%H%M%S.csv.gz")
    policy = policy_of(shop=group(every_kind.server, [every_kind.name], stored_as, what))
    well(holdfast(policy, "dump", "--reason", "manual"))
    items = {each["table"]: each for each in listed(holdfast, policy)}
    assert set(items) == {"public.order", "app.kinds", "cities"}
    assert {name: each["rows"] for name, each in items.items()} == {"public.order": 1, "app.kinds": 5, "cities": 7}
    cities = list(csv.reader(io.StringIO(gzip.decompress((folder / items["cities"]["backup"]).read_bytes()).decode())))
    assert cities[0] == ["city", "to,tal"] and len(cities) == 8
    well(holdfast(policy, "verify", "--all"))

    again = fresh_database()
    again.sql('CREATE TABLE public."order" (id integer, "user" text)')
    said = record(folder, items["public.order"]["backup"])
    done = shell(again.server, folder, said["restore"], TARGET=again.name)
    assert done.returncode == 0, f"{said['restore']}\n{done.stderr}"
    assert again.sql('SELECT * FROM public."order"') == "1|me"


def test_chosen_tables_only_are_dumped(holdfast, every_kind, folder):
    chosen = {"tables": ["app.serial", "public.order"]}
    policy = policy_of(shop=group(every_kind.server, [every_kind.name], in_folder(folder), chosen))
    assert set(rows(record(folder, dump(holdfast, policy)["backup"]))) == {"app.serial", 'public."order"'}


# -- what others wrote -----------------------------------------------------------------------------------------------------

SCRIPTS = {  # as the scripts that Holdfast replaces write their files
    "sql.gz": "pg_dump --format=plain | gzip -9 > {file}",
    "dump": "pg_dump -Fc > {file}",
    "sql.gz.enc": "pg_dump | gzip | openssl enc -aes-256-cbc -salt -pbkdf2 -pass file:phrase > {file}",
    "enc": "pg_dump | gzip | openssl enc -aes-256-cbc -salt -md sha256 -pass file:phrase > {file} 2> /dev/null",
    "custom.sql.gz": "pg_dump -Fc --compress=9 > {file}",
    "dump.age": "pg_dump -Fc | age -r {recipient} > {file}",
    "sql.zst": "pg_dump | zstd -q > {file}",
    "sql": "pg_dump --clean --if-exists > {file}",
}


@pytest.mark.parametrize("ending", SCRIPTS)
def test_archives_of_other_scripts_are_listed_verified_and_restored(ending, holdfast, fresh_database, folder, identity, tools):
    database, key = fresh_database(), identity()
    database.sql("CREATE TABLE orders AS SELECT i AS id, 'Größe ' || i AS what FROM generate_series(1, 500) i")
    folder.mkdir()
    (holdfast.folder / "phrase").write_text(PHRASE)
    file = f"{database.name}_20251120_020000.{ending}"
    made = shell(database.server, holdfast.folder, SCRIPTS[ending].format(file=folder / file, recipient=key.recipient)
                 .replace("pg_dump", f"pg_dump -d {database.name}"))
    assert made.returncode == 0, made.stderr

    encrypt = {"age": [key.recipient], "identity": {"file": str(key.file)}}
    if "enc" in ending:
        encrypt = {"openssl": {"env": "PHRASE"}, "iterations": 10_000}
    stored_as = in_folder(folder, f"{{database}}_%Y%m%d_%H%M%S.{ending}")
    policy = policy_of(shop=group(database.server, [database.name], stored_as, {"encrypt": encrypt}))
    holdfast.env["PHRASE"] = PHRASE
    item, = listed(holdfast, policy)
    assert (item["backup"], item["state"], item["data_time"]) == (file, "foreign", "2025-11-20T02:00:00Z")
    well(holdfast(policy, "verify", file))
    well(holdfast(policy, "verify", file, "--full"))
    back = f"{database.name}_back"
    well(holdfast(policy, "restore", file, "--to", back))
    assert dump_text(database.server, back) == dump_text(database.server, database.name)
    assert files(folder) == {file}


def test_a_damaged_archive_of_another_script_is_found(holdfast, fresh_database, folder):
    database = fresh_database()
    database.sql("CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS what FROM generate_series(1, 5000) i")
    folder.mkdir()
    file = f"{database.name}_20251120_020000.sql.gz"
    whole = gzip.compress(database.server.run("pg_dump", database=database.name))
    policy = policy_of(shop=group(database.server, [database.name], in_folder(folder, "{database}_%Y%m%d_%H%M%S.sql.gz")))
    for bad in (whole[:-20_000], whole[:50_000] + b"????" + whole[50_004:], gzip.compress(gzip.decompress(whole)[:100_000])):
        (folder / file).write_bytes(bad)
        refused(holdfast(policy, "verify", file, "--full"), 1, file)
        assert holdfast(policy, "restore", file, "--to", "never").code == 1
        assert database.server.databases() == [database.name]
