"""Secrets of Secrets Manager: checked, exported once, compared and restored, and no value in anything that is said (L9, L15)."""

import hashlib
import json
import uuid
from pathlib import Path

import pytest

from local import World
from world.fleet import HOME
from world.stack import ACCOUNT

PREVIOUS, CURRENT, BINARY = "canary-old-4711-value", "canary-new-4712-value", b"\x00\xffcanary-binary-4713"
ELSEWHERE = "eu-central-1"


def manager(world: World, region: str = HOME):
    return world.client("secretsmanager", region)


def policy_of(folder: Path, recipient: str, prefix: str, **more) -> dict:
    return {
        "holdfast": 1, "company": "acme", "home": {"account": ACCOUNT, "region": HOME},
        "secrets": {"app": {
            "prefix": prefix, "previous_version": True, "storage": {"directory": str(folder / "exports")},
            "encrypt": {"age": [recipient]}} | more},
        "audit": {"directory": str(folder / "audit"), "keep": "1y"},
    }


@pytest.fixture
def exported(bare, identity, tmp_path):
    """Two secrets, exported; their key, their policy, and all that was said until then."""
    prefix = f"app-{uuid.uuid4().hex[:8]}/"
    client = manager(bare)
    client.create_secret(Name=prefix + "db", SecretString=PREVIOUS)
    client.put_secret_value(SecretId=prefix + "db", SecretString=CURRENT)
    client.create_secret(Name=prefix + "cert", SecretBinary=BINARY)
    key = identity()
    policy = policy_of(tmp_path, key.recipient, prefix)
    said = []

    def run(*words: str, **env: str):
        ran = bare.holdfast(*words, policy=policy, **env)
        said.append(ran.out + ran.err)
        return ran

    assert run("store", "init").code == 0
    dry = run("secrets", "export", "--dry-run", "--json")
    assert len(dry.json["outcomes"]) == 3, dry.out
    first = run("secrets", "export", "--json", "-v")
    assert {each["result"] for each in first.json["outcomes"]} == {"done"}, first.out + first.err
    return prefix, key, policy, run, said, tmp_path


def test_a_version_is_exported_once_and_the_next_one_with_its_label(exported, bare):
    prefix, _, _, run, _, folder = exported
    files = sorted(p.name for p in (folder / "exports" / prefix).rglob("*.age"))
    assert len(files) == 3
    again = run("secrets", "export", "--json")
    assert again.json["outcomes"] == []
    manager(bare).put_secret_value(SecretId=prefix + "db", SecretString="canary-third-4714")
    third = run("secrets", "export", f"app/{prefix}db", "--json")
    assert [each["result"] for each in third.json["outcomes"]] == ["done"]


def test_check_shows_versions_by_name_and_age(exported, bare):
    prefix, _, _, run, _, _ = exported
    ran = run("secrets", "check", "--json")
    rows = {each["name"]: each for each in ran.json["secrets"]}
    assert rows[prefix + "db"]["previous"]["version"] and rows[prefix + "db"]["exported"] is True
    assert rows[prefix + "cert"]["previous"] is None
    assert {each["code"] for each in ran.json["findings"]} == {"secret-no-previous"}
    manager(bare).delete_secret(SecretId=prefix + "cert", RecoveryWindowInDays=7)
    codes = {each["code"] for each in run("secrets", "check", "--json").json["findings"]}
    assert "secret-deletion-planned" in codes
    status = run("status", "--json")
    assert any(each["group"] == "app" and each["max_severity"] == "critical" for each in status.json["assets"])


def test_diff_compares_without_a_value(exported, bare):
    prefix, key, _, run, _, _ = exported
    by_id = run("secrets", "diff", "--json")
    assert by_id.code == 0 and {each["result"] for each in by_id.json} == {"exported"}
    by_value = run("secrets", "diff", "--identity", str(key.file), "--json")
    assert by_value.code == 0 and {each["result"] for each in by_value.json} == {"equal"}, by_value.out
    manager(bare).put_secret_value(SecretId=prefix + "db", SecretString="canary-unexported-4715")
    later = run("secrets", "diff", "--json")
    assert later.code == 1 and "not-exported" in {each["result"] for each in later.json}


def test_a_prefix_comes_back_in_another_region_with_both_versions(exported, bare):
    prefix, key, _, run, _, _ = exported
    words = ["secrets", "restore", f"app/{prefix}*", "--to", f"drill-{prefix}", "--region", ELSEWHERE, "--identity", str(key.file)]
    assert run(*words).code == 0
    assert manager(bare, ELSEWHERE).list_secrets()["SecretList"] == [], "a dry run writes nothing"
    done = run(*words, "--yes", "--json")
    assert done.code == 0, done.out + done.err
    there = manager(bare, ELSEWHERE)
    assert there.get_secret_value(SecretId=f"drill-{prefix}db")["SecretString"] == CURRENT
    assert there.get_secret_value(SecretId=f"drill-{prefix}db", VersionStage="AWSPREVIOUS")["SecretString"] == PREVIOUS
    assert there.get_secret_value(SecretId=f"drill-{prefix}cert")["SecretBinary"] == BINARY


def test_a_secret_that_is_there_is_rolled_back_only_when_asked(exported, bare):
    prefix, key, _, run, _, _ = exported
    client, name = manager(bare), prefix + "db"
    old = client.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS")["VersionId"]
    words = ["secrets", "restore", f"app/{name}", "--to", name, "--version", old, "--identity", str(key.file), "--yes"]
    assert run(*words).code == 1
    assert client.get_secret_value(SecretId=name)["SecretString"] == CURRENT
    assert run(*words, "--overwrite").code == 0
    assert client.get_secret_value(SecretId=name)["SecretString"] == PREVIOUS


def test_no_value_hash_or_length_is_in_anything_that_is_said_or_stored(exported):
    _, key, _, run, said, folder = exported
    run("secrets", "diff", "--identity", str(key.file), "-v", RUST_LOG="trace")
    run("secrets", "check", "-v", RUST_LOG="trace")
    run("status", "--json", "-v", RUST_LOG="trace")
    run("audit", "list", "--json", "-v", RUST_LOG="trace")
    stored = [p.read_bytes() for each in ("exports", "audit") for p in (folder / each).rglob("*") if p.is_file()]
    everything = b"\n".join([*(text.encode() for text in said), *stored])
    for value in (PREVIOUS.encode(), CURRENT.encode(), BINARY):
        for sign in (value, hashlib.sha256(value).hexdigest().encode(), hashlib.md5(value).hexdigest().encode()):
            assert sign not in everything
    sizes = {p.stat().st_size for p in (folder / "exports").rglob("*.age")}
    assert all(4096 < size < 4096 + 1024 for size in sizes), "padded, and age's header has a random part"


def test_a_record_that_somebody_put_there_does_not_hide_a_version(exported, bare, tmp_path):
    prefix, _, _, run, _, folder = exported
    record = next((folder / "exports" / prefix / "db").glob("*.age.json"))
    forged = json.loads(record.read_text()) | {"owner": "somebody@else"}
    record.chmod(0o600)
    record.write_text(json.dumps(forged))
    again = run("secrets", "export", "--json")
    assert [each["result"] for each in again.json["outcomes"]] == ["done"], again.out
    assert "object-ignored" in {each["code"] for each in again.json["findings"]}
