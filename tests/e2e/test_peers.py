"""The peers themselves: that what the other tests lean on is really there."""

import os
import subprocess

import pytest

from peers import dump_text, group, policy_of, stock_shell, stored
from world.postgres import Failed

TEXT = b"Kaffee f\xc3\xbcr alle\n" * 1000


def filtered(*command: str | os.PathLike, given: bytes = TEXT, **env: str) -> bytes:
    """What a program makes of some bytes."""
    return subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True, env=os.environ | env).stdout


def test_postgresql_answers_over_tls_with_its_name_checked(postgres_server):
    asked = [postgres_server.programs / "psql", "-XAtc", "SELECT 1, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"]
    said = subprocess.run(asked, env=os.environ | postgres_server.env(tls=True), capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "1|t\n"), said.stderr


def test_postgresql_asks_for_the_password(postgres_server):
    asked = [postgres_server.programs / "psql", "-Xc", "SELECT 1"]
    for socket in (False, True):
        env = postgres_server.env(socket=socket) | {"PGPASSWORD": "not this"}
        said = subprocess.run(asked, env=os.environ | env, capture_output=True, text=True)
        assert said.returncode == 2 and "password authentication failed" in said.stderr


def test_sql_that_fails_stops_there(fresh_database):
    database = fresh_database()
    with pytest.raises(Failed, match='relation "missing" does not exist'):
        database.sql("CREATE TABLE first (); SELECT * FROM missing; CREATE TABLE second ()")
    assert database.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'second'") == "0"


def test_two_databases_with_the_same_in_them_have_the_same_text(fresh_database):
    one, two, other = fresh_database(), fresh_database("Größe \"2\""), fresh_database()
    for database, rows in [(one, "(1), (2)"), (two, "(2), (1)"), (other, "(1), (3)")]:
        database.sql(f"CREATE TABLE numbers (n int); INSERT INTO numbers VALUES {rows}")
    assert "COPY public.numbers" in dump_text(one.server, one.name)
    assert dump_text(one.server, one.name) == dump_text(two.server, two.name)
    assert dump_text(one.server, one.name) != dump_text(other.server, other.name)


def test_azure_takes_a_blob_from_who_has_the_key_and_from_nobody_else(azurite, container):
    azurite.put(container, "daily/a b+ü.dump", TEXT)
    assert azurite.get(container, "daily/a b+ü.dump") == TEXT
    assert azurite.blobs(container) == {"daily/a b+ü.dump": len(TEXT)}
    stranger = type(azurite)(azurite.endpoint, "bm90IHRoaXM=")
    assert stranger.request("GET", f"{container}/daily/a b+ü.dump")[0] == 403


def test_azure_does_not_overwrite_what_may_only_be_created(azurite, container):
    create = {"x-ms-blob-type": "BlockBlob", "if-none-match": "*"}
    assert azurite.request("PUT", f"{container}/once", b"1", create)[0] == 201
    assert azurite.request("PUT", f"{container}/once", b"2", create)[0] == 409
    assert azurite.get(container, "once") == b"1"


def test_the_other_s3_server_keeps_objects(s3_server):
    bucket = s3_server.bucket()
    s3_server.client.put_object(Bucket=bucket, Key="daily/ü", Body=TEXT)
    assert s3_server.objects(bucket) == {"daily/ü": len(TEXT)}
    assert s3_server.get(bucket, "daily/ü") == TEXT
    s3_server.client.create_multipart_upload(Bucket=bucket, Key="never ended")
    assert s3_server.uploads(bucket) == ["never ended"]


def test_age_reads_with_the_identity_what_it_wrote_for_the_recipient(tools, identity):
    first, second, stranger = identity(), identity(), identity()
    sealed = filtered(tools["age"], "-r", first.recipient, "-r", second.recipient)
    assert all(filtered(tools["age"], "-d", "-i", each.file, given=sealed) == TEXT for each in (first, second))
    assert subprocess.run([tools["age"], "-d", "-i", stranger.file], input=sealed, capture_output=True).returncode != 0
    assert first.secret.startswith("AGE-SECRET-KEY-1")


def test_openssl_reads_with_the_passphrase_what_it_wrote(tools):
    cipher = [tools["openssl"], "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "600000", "-pass", "env:KEY"]
    sealed = filtered(*cipher, KEY="a passphrase")
    assert sealed.startswith(b"Salted__")
    assert filtered(*cipher, "-d", given=sealed, KEY="a passphrase") == TEXT


@pytest.mark.parametrize("tool", ["zstd", "gzip"])
def test_compression_comes_back(tools, tool):
    packed = filtered(tools[tool], "-c")
    assert len(packed) < len(TEXT)
    assert filtered(tools[tool], "-dc", given=packed) == TEXT


def test_a_folder_is_listed_with_modes(tmp_path):
    (tmp_path / "daily").mkdir()
    (tmp_path / "daily").chmod(0o750)
    (tmp_path / "daily" / "a.dump").write_bytes(b"123")
    (tmp_path / "daily" / "a.dump").chmod(0o640)
    listed = stored(tmp_path)
    assert {name: kept.mode for name, kept in listed.items()} == {"daily/": "750", "daily/a.dump": "640"}
    assert listed["daily/a.dump"].size == 3


def test_the_stock_shell_fails_when_any_part_of_a_pipe_fails(tmp_path):
    assert stock_shell("false | cat", {}, tmp_path).returncode == 1
    assert stock_shell("command -v holdfast", {}, tmp_path).returncode != 0


def test_the_command_finds_the_policy_that_a_test_wrote(holdfast, postgres_server, tmp_path):
    small = policy_of(shop=group(postgres_server, ["shop"], {"directory": str(tmp_path / "backups")}))
    ran = holdfast(small, "policy", "check", str(holdfast.folder / "policy.yaml"))
    assert ran.code == 0, f"{ran.out}\n{ran.err}"
