"""Keys and passwords: who can read a dump, and that no secret is ever shown."""

import json
from pathlib import Path

import pytest

from backups import LARGE, dump, ended, good, in_folder, record, refused, well
from local import until
from peers import PASSWORD, Database, group, policy_of

PHRASE, OLD = "geheim: der Satz von heute", "geheim: der Satz von gestern"


@pytest.fixture
def shop(fresh_database) -> Database:
    """A small database."""
    database = fresh_database()
    database.sql("CREATE TABLE orders AS SELECT i AS id FROM generate_series(1, 500) i")
    return database


def policy(shop: Database, folder: Path, **encrypt) -> dict:
    """A policy whose dumps are encrypted so."""
    if "openssl" in encrypt:
        encrypt["iterations"] = 10_000
    return policy_of(shop=group(shop.server, [shop.name], in_folder(folder), {"encrypt": encrypt}))


def secret_file(folder: Path, text: str, mode: int = 0o600) -> dict:
    """Where a policy finds a secret: a file with this text."""
    file = folder / f"secret-{mode:o}"
    file.write_text(text)
    file.chmod(mode)
    return {"file": str(file)}


# -- age -------------------------------------------------------------------------------------------------------------------


def test_either_of_two_recipients_reads_it_and_the_host_itself_does_not(holdfast, shop, folder, identity):
    first, second, stranger = identity(), identity(), identity()
    only_public = policy(shop, folder, age=[first.recipient, second.recipient])
    item = dump(holdfast, only_public)["backup"]
    assert record(folder, item)["recipients"] == [first.recipient, second.recipient]
    assert b"age-encryption.org" in (folder / item).read_bytes()[:40]

    refused(holdfast(only_public, "verify"), 4, "identity")
    refused(holdfast(only_public, "restore", item, "--to", "never"), 4)
    refused(holdfast(only_public, "verify", "--key", str(stranger.file)), 4)
    refused(holdfast(only_public, "restore", item, "--to", "never", "--key", str(stranger.file)), 4)
    assert "never" not in shop.server.databases()
    for key in (first, second):
        well(holdfast(only_public, "verify", "--key", str(key.file)))
    well(holdfast(only_public, "restore", item, "--to", f"{shop.name}_back", "--key", str(second.file)))
    assert Database(shop.server, f"{shop.name}_back").sql("SELECT count(*) FROM orders") == "500"


def test_a_recipient_is_added_and_taken_out_and_older_dumps_are_still_read(holdfast, shop, folder, identity):
    old, new = identity(), identity()
    before = dump(holdfast, policy(shop, folder, age=[old.recipient], identity={"file": str(old.file)}))["backup"]
    rotated = policy(shop, folder, age=[new.recipient], identity={"file": str(new.file)}, previous=[{"file": str(old.file)}])
    rotated["postgres"]["shop"]["dumps"]["other"] = rotated["postgres"]["shop"]["dumps"]["manual"]
    after = dump(holdfast, rotated, reason="other")["backup"]
    well(holdfast(rotated, "verify", before, after))
    refused(holdfast(policy(shop, folder, age=[new.recipient], identity={"file": str(new.file)}), "verify", before), 4)


@pytest.mark.parametrize("key, code", [("age1nonsense", 64), ("age1" + "q" * 58, 4)], ids=["no key", "a slip of the pen"])
def test_a_key_that_is_none_stops_the_dump(key, code, holdfast, shop, folder):
    refused(holdfast(policy(shop, folder, age=[key]), "dump", "--reason", "manual"), code, "age1")
    assert not list(folder.rglob("*.zst"))


# -- openssl ---------------------------------------------------------------------------------------------------------------


def test_an_old_passphrase_still_opens_what_was_made_with_it(holdfast, shop, folder):
    before = dump(holdfast, policy(shop, folder, openssl={"env": "NOW"}), NOW=OLD)["backup"]
    rotated = policy(shop, folder, openssl={"env": "NOW"}, previous=[{"env": "BEFORE"}])
    well(holdfast(rotated, "verify", before, NOW=PHRASE, BEFORE=OLD))
    well(holdfast(rotated, "restore", before, "--to", f"{shop.name}_back", NOW=PHRASE, BEFORE=OLD))
    refused(holdfast(rotated, "verify", before, NOW=PHRASE), 4, "passphrase")
    refused(holdfast(rotated, "restore", before, "--to", "never", NOW=PHRASE, BEFORE="neither"), 4)
    assert "never" not in shop.server.databases()


def test_without_a_passphrase_nothing_is_dumped(holdfast, shop, folder):
    refused(holdfast(policy(shop, folder, openssl={"env": "NOT_SET"}), "dump", "--reason", "manual"), 4, "NOT_SET")
    assert not list(folder.rglob("*.zst"))


# -- files -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_in_a_file_that_others_can_read_is_refused(mode, holdfast, shop, folder):
    wide = secret_file(holdfast.folder, PHRASE, mode)
    refused(holdfast(policy(shop, folder, openssl=wide), "dump", "--reason", "manual"), 4, wide["file"], "chmod 600")
    plain = policy_of(shop=group(shop.server, [shop.name], in_folder(folder)) | {"password": wide})
    refused(holdfast(plain, "dump", "--reason", "manual"), 1, wide["file"], "chmod 600")
    assert not list(folder.rglob("*.zst"))


def test_a_value_is_picked_out_of_lines_and_out_of_json(holdfast, shop, folder):
    password = shop.server.password
    lines = secret_file(holdfast.folder, f"# of the host\nPGUSER=postgres\nPGPASSWORD='{password}'\n") | {"key": "PGPASSWORD"}
    rds = secret_file(holdfast.folder, json.dumps(
        {"username": "postgres", "password": password, "host": shop.server.host, "port": shop.server.port}), 0o400)
    of_lines = policy_of(shop=group(shop.server, [shop.name], in_folder(folder)) | {"password": lines})
    dump(holdfast, of_lines, **{PASSWORD: ""})
    of_json = policy_of(shop=group(shop.server, [shop.name], in_folder(folder)) | {"password": rds})
    for known_by_the_secret in ("host", "port", "user"):
        del of_json["postgres"]["shop"][known_by_the_secret]
    of_json["postgres"]["shop"]["dumps"] = {"other": {"keep": {"newest": 1}}}
    dump(holdfast, of_json, reason="other", **{PASSWORD: ""})


# -- what is shown ---------------------------------------------------------------------------------------------------------


def test_no_secret_is_in_a_log_a_record_or_a_command_line(holdfast, shop, folder, identity):
    key = identity()
    shop.sql(LARGE.format(rows=20_000))
    passphrase = policy(shop, folder, openssl={"env": "PHRASE"})
    slow = passphrase["postgres"]["shop"]
    slow["storage"]["bandwidth"] = "700KB"
    slow["dumps"]["sealed"] = slow["dumps"]["manual"] | {"encrypt": {"age": [key.recipient], "identity": {"file": str(key.file)}}}
    secrets = [shop.server.password, PHRASE, key.secret]
    told = []
    for words in (["dump", "--reason", "manual", "-v"], ["dump", "--reason", "sealed", "-v"], ["verify", "--full", "-v"],
                  ["restore", f"shop/{shop.name}", "--replace", "--yes", "-v"], ["list", "--json", "-v"]):
        run = holdfast.start(passphrase, *words, PHRASE=PHRASE)
        lines: set[bytes] = set()
        until(f"{words} to end", lambda: lines.update(command_lines()) or run.poll() is not None)  # noqa: B023 (it ends first)
        ran = well(ended(run))
        told += [ran.out, ran.err, b" ".join(lines).decode(errors="replace")]
        assert any(b"holdfast" in line for line in lines)
    assert len(good(holdfast, passphrase)) == 3
    told += [file.read_text() for file in folder.rglob("*") if file.suffix in (".json", ".sha256")]
    assert not [secret for secret in secrets if any(secret in text for text in told)]


def command_lines() -> set[bytes]:
    """The command line of every process."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.add(each.read_bytes().replace(b"\0", b" "))
        except OSError:
            continue  # it ended meanwhile
    return found
