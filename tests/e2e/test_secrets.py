"""Marked secrets everywhere that a policy can name one, and every output searched for them."""

import json
from pathlib import Path

import pytest

from backups import in_folder, well
from peers import group, policy_of
from sinks import FULL, PAGERDUTY, SLACK, mail_sink, web_sink

VARIABLES = {
    "PHRASE": "marked-passphrase-4711", "CHAT": "marked-webhook-4712", "PAGER": "markedroutingkey4713xxxxxxxxxxxx",
    "TOKEN": "marked-token-4714", "MAIL": "marked-mail-password-4715",
}


@pytest.fixture
def marked(fresh_database, tmp_path, identity) -> tuple[dict, dict[str, str]]:
    """Dumps of one database under each cipher, recorded, with a page; and all that is secret there."""
    database = fresh_database()
    database.sql("CREATE TABLE orders AS SELECT generate_series(1, 42) AS id")
    key = identity()
    openssl = {"keep": {"newest": 9}, "encrypt": {"openssl": {"env": "PHRASE"}, "iterations": 10_000}}
    age = {"keep": {"newest": 9}, "encrypt": {"age": [key.recipient], "identity": {"file": str(key.file)}}}
    stored = in_folder(tmp_path / "backups", "{reason}_{database}_%Y%m%d_%H%M%S.dump.zst.enc")
    shop = group(database.server, [database.name], stored) | {"dumps": {"manual": openssl, "sealed": age}}
    policy = policy_of(shop=shop) | {
        "audit": {"directory": str(tmp_path / "record"), "keep": "1y"},
        "status_page": {"directory": str(tmp_path / "page"), "key": "index.html"},
    }
    return policy, VARIABLES | {"IDENTITY": key.secret, "DATABASE": database.server.password}


def everybody(web: str, mail_port: int) -> dict:
    """Every kind of channel, each told of everything."""
    return {
        "channels": {
            "chat": {"slack": {"env": "CHAT"}}, "pager": {"pagerduty": {"env": "PAGER"}, "endpoint": web},
            "web": {"http": f"{web}/full", "token": {"env": "TOKEN"}}, "mail": {"email": ["a@example.com"]},
        },
        "routes": [{"severity": "info", "to": ["chat", "pager", "web", "mail"]}],
        "recovery": {"to": ["chat", "web", "mail"], "every": "15m"},
        "expect": {"dump": "30d"},
        "smtp": {"host": "127.0.0.1", "port": mail_port, "from": "b@example.com", "tls": "never", "user": "u",
                 "password": {"env": "MAIL"}},
    }


def written(*folders: Path) -> dict[str, bytes]:
    """Every readable file below these; what is stored encrypted can't hold a secret that anybody reads."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in files}


def test_no_secret_is_in_anything_that_is_written_said_or_sent(marked, holdfast, tmp_path):
    policy, secrets = marked
    name = policy["postgres"]["shop"]["databases"][0]
    with web_sink(slack=SLACK, full=FULL, **{"v2/enqueue": PAGERDUTY}) as web, mail_sink(login=("u", VARIABLES["MAIL"])) as mails:
        policy["notify"] = everybody(web.url, mails.port)
        env = VARIABLES | {"CHAT": f"{web.url}/slack?key={VARIABLES['CHAT']}", "HOLDFAST_STATE": str(tmp_path / "state")}
        wrong = json.loads(json.dumps(policy))
        wrong["postgres"]["shop"]["port"] = 1
        said = []
        for rules, words in [
            (policy, ["dump", "--reason", "manual", "-v"]), (policy, ["dump", "--reason", "sealed", "-v"]),
            (wrong, ["dump", "--reason", "manual", "-v"]), (policy, ["verify", "--full", "--all", "-v"]),
            (policy, ["restore", f"shop/{name}", "--to", f"{name}_back", "-v"]), (policy, ["list", "--json", "-v"]),
            (policy, ["notify", "--test", "-v"]), (policy, ["notify", "-v"]), (policy, ["report", "-v"]),
            (policy, ["status", "--json", "-v"]), (policy, ["monitor", "--once", "-v"]), (policy, ["audit", "list", "--json", "-v"]),
        ]:
            ran = holdfast(rules, *words, **env)
            said.append((words, ran.out + ran.err))
            if rules is policy and words[0] not in ("status", "monitor"):
                well(ran)
    assert not web.faults and len(mails.mails) > 3 and {"/full", "/v2/enqueue"} < {each.path for each in web.told}

    outputs = {" ".join(words): text.encode() for words, text in said}
    outputs |= written(tmp_path / "backups", tmp_path / "record", tmp_path / "page", tmp_path / "state")
    outputs |= {f"mail {i}": mail.bytes for i, mail in enumerate(mails.mails)}
    # PagerDuty's key is a field of its body, and that is where it belongs.
    outputs |= {f"{each.path} {i}": each.body for i, each in enumerate(web.told) if not each.path.startswith("/v2/")}
    assert any(path.endswith("index.html") for path in outputs) and any(path.endswith(".jsonl") for path in outputs)
    found = [(where, mark) for where, text in outputs.items() for mark, secret in secrets.items() if secret.encode() in text]
    assert not found
