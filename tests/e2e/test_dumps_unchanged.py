"""A database in which nothing changed: its newest dump is noted to be still true, and nothing more is stored."""

from pathlib import Path

import pytest

from backups import files, good, in_folder, listed, next_second, record, refused, well, whole
from local import Ran
from peers import Command, Database, group, policy_of

PHRASE, OLD = "geheim: der Satz von heute", "geheim: der Satz von gestern"
NOTE = ".unchanged-"


@pytest.fixture
def shop(fresh_database) -> Database:
    """A small database."""
    database = fresh_database()
    database.sql("CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS what FROM generate_series(1, 5000) i")
    return database


def policy(shop: Database, folder: Path, **more) -> dict:
    """A policy that stores the same once."""
    rules = policy_of(shop=group(shop.server, [shop.name], in_folder(folder), {"skip_unchanged": True} | more))
    return rules


def locked_by(phrase: str, *previous: str) -> tuple[dict, dict[str, str]]:
    """Encryption by a passphrase, with those before it."""
    kept = {"previous": [{"env": f"OLD{i}"} for i in range(len(previous))]} if previous else {}
    env = {f"OLD{i}": each for i, each in enumerate(previous)} | {"PHRASE": phrase}
    return {"encrypt": {"openssl": {"env": "PHRASE"}, "iterations": 10_000} | kept}, env


def take(holdfast: Command, rules: dict, **env: str) -> Ran:
    """Dumps in a second of its own."""
    next_second()
    return well(holdfast(rules, "dump", "--reason", "manual", **env))


def dump(holdfast: Command, rules: dict, **env: str) -> dict:
    """The same, and how it is listed."""
    take(holdfast, rules, **env)
    return listed(holdfast, rules, **env)[0]


def notes(folder: Path) -> list[str]:
    """The notes that lie there."""
    return sorted(name for name in files(folder) if NOTE in name)


@pytest.mark.parametrize("form", [{}, {"compress": "gzip", "level": 1}, {"format": "plain"}], ids=["custom", "gzip", "plain"])
def test_what_did_not_change_is_stored_once_and_counts_as_young(form, holdfast, shop, folder):
    rules = policy(shop, folder, **form)
    first = dump(holdfast, rules)
    assert len(record(folder, first["backup"])["fingerprint"]) == 64 and first["unchanged_since"] is None
    ran = take(holdfast, rules)
    assert "nothing changed" in ran.out
    again = listed(holdfast, rules)
    assert [each["backup"] for each in again] == [first["backup"]]
    assert again[0]["data_time"] > first["data_time"] == again[0]["unchanged_since"]
    assert files(folder) == whole(first["backup"]) | set(notes(folder)) and len(notes(folder)) == 1
    assert "unchanged since" in holdfast(rules, "list").out
    well(holdfast(rules, "verify", "--full", "--all"))

    shop.sql("UPDATE orders SET what = 'changed' WHERE id = 77")
    second = dump(holdfast, rules)
    assert second["backup"] != first["backup"] and len(good(holdfast, rules)) == 2
    well(holdfast(rules, "restore", "shop", "--to", f"{shop.name}_back"))
    assert Database(shop.server, f"{shop.name}_back").sql("SELECT what FROM orders WHERE id = 77") == "changed"


def test_without_the_word_in_the_policy_each_dump_is_stored(holdfast, shop, folder):
    rules = policy(shop, folder, skip_unchanged=False)
    dump(holdfast, rules)
    assert "fingerprint" not in record(folder, dump(holdfast, rules)["backup"])
    assert len(good(holdfast, rules)) == 2 and not notes(folder)


def test_after_a_new_key_it_is_stored_anew(holdfast, shop, folder, identity):
    one, two = identity(), identity()
    for keys in ([one], [one], [one, two], [one, two]):
        age = {"age": [key.recipient for key in keys], "identity": {"file": str(one.file)}}
        take(holdfast, policy(shop, folder, encrypt=age))
    assert len(good(holdfast, policy(shop, folder))) == 2 and len(notes(folder)) == 2


def test_after_another_passphrase_it_is_still_true_and_still_opens(holdfast, shop, folder):
    encrypt, env = locked_by(PHRASE)
    rules = policy(shop, folder, **encrypt)
    dump(holdfast, rules, **env)
    take(holdfast, rules, **env)
    assert len(notes(folder)) == 1
    well(holdfast(rules, "verify", **env))


@pytest.mark.parametrize("how", ["cut", "one bit"])
def test_a_damaged_file_is_no_reason_to_store_nothing(how, holdfast, shop, folder):
    rules = policy(shop, folder)
    backup = dump(holdfast, rules)["backup"]
    file = folder / backup
    whole_one = bytearray(file.read_bytes())
    file.chmod(0o640)
    if how == "cut":
        file.write_bytes(whole_one[:-1])
        next_second()
        refused(holdfast(rules, "dump", "--reason", "manual"), 1, "counts as no backup")
    else:
        whole_one[len(whole_one) // 2] ^= 1
        file.write_bytes(whole_one)
        assert "nothing changed" not in take(holdfast, rules).out
    assert good(holdfast, rules)[0] != backup and not notes(folder)


def test_a_second_place_is_told_too(holdfast, shop, folder, tmp_path):
    rules = policy(shop, folder)
    rules["postgres"]["shop"]["copies"] = [in_folder(tmp_path / "second")]
    for _ in range(2):
        take(holdfast, rules)
    assert len(notes(tmp_path / "second")) == 1
    ages = {each["location_index"]: each["data_time"] for each in listed(holdfast, rules)}
    assert ages[0] == ages[1]


def test_with_the_last_reason_to_keep_it_a_dump_goes_with_its_notes(holdfast, shop, folder):
    rules = policy(shop, folder, keep={"newest": 1})
    rules["postgres"]["shop"]["min_backups"] = 1
    rules["limits"] = {"delete": {"share": "100%"}}
    for _ in range(2):
        dump(holdfast, rules)
    shop.sql("INSERT INTO orders VALUES (0, 'new')")
    last = dump(holdfast, rules)["backup"]
    assert files(folder) == whole(last)


def test_what_can_not_be_compared_or_is_locked_each_for_itself_is_refused(holdfast, shop, folder):
    refused(holdfast(policy(shop, folder, format="csv", tables=["orders"]), "policy", "check"), 64, "skip_unchanged", "custom")
    stored = {"bucket": "acme-dumps", "lock": "governance"}
    rules = policy_of(shop=group(shop.server, [shop.name], stored, {"skip_unchanged": True}))
    refused(holdfast(rules, "policy", "check"), 64, "skip_unchanged", "lock")
