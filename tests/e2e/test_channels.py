"""Channels against real peers: a web server that checks what it is told by the vendors' schemas, a mail server with
STARTTLS and a login, and the local AWS's SNS and SES."""

import json
import os
import subprocess
import urllib.request
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from local import BINARIES, Ran, until
from sinks import ALERT, BACKUP, FULL, PAGERDUTY, PAGERDUTY_CHANGE, SLACK, VERIFICATION, Reply, certificate, mail_sink, web_sink

KEY = "R0UTINGKEY0000000000000000000042"
WEBHOOK = "T0MARKED/B0MARKED/marked4webhook"
TOKEN = "marked4token-äöü".encode().hex()
PASSWORD = "marked4password"
# aiosmtpd says that a login without STARTTLS is no good idea, and that is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")
MARKED = [KEY, "T0MARKED", "B0MARKED", "marked4webhook", TOKEN, PASSWORD]
KINDS = ["opened", "still-open", "resolved", "success", "digest", "recovery-started", "recovery-update",
         "recovery-complete", "undelivered", "test"]
NOW = "2026-11-21T08:30:00Z"


def incident(name: str, **more: Any) -> dict:
    """Something that is wrong with an asset."""
    return {"key": f"lomash/{name}/backup-stale", "asset": name, "group": "größen", "code": "backup-stale", "severity": "critical",
            "message": f"{name}: the newest good point is 26h old & too old", "hint": f"holdfast run snapshot --asset {name}",
            "since": "2026-11-21T06:15:00Z", "until": None, "step": 0,
            "at_risk": {"newest": "orders-daily-202611200200", "age_seconds": 93600, "max_age_seconds": 86400,
                        "location": "eu-west-1"}} | more


def message(kind: str, **more: Any) -> dict:
    """A message of a kind."""
    until = NOW if kind == "resolved" else None
    wrong = [incident("bestellungen-größe", until=until), incident("<script>alert(1)</script>", until=until)]
    made = [{"asset": "indostar", "name": "daily/indostar_20261121.dump", "location": "s3://indostar-backups-primary",
             "bytes": 1610612736, "seconds": 194.6, "rows": 48211}]
    return {"id": f"lomash-{kind}-1", "company": "Lomash Wööd & Söhne", "kind": kind, "severity": "critical", "at": NOW,
            "title": f"{kind}: bestellungen-größe <b>&</b>", "omitted": 0,
            "incidents": wrong if kind in ("opened", "still-open", "resolved") else [],
            "backups": made if kind == "success" else [], "lines": ["8 of 9 assets are fresh"] if kind == "digest" else [],
            "thread": "recovery-7" if kind.startswith("recovery") else None} | more


def flood() -> dict:
    """Ten thousand findings with the longest texts that anybody could write."""
    many = [incident(f"{n}-{'<ü&' * 300}", key=f"{n}-{'k' * 400}", why="&" * 5000) for n in range(10_000)]
    return message("opened", incidents=many, title="x\r\nBcc: everybody@example.com " + "ü" * 5000)


@pytest.fixture
def send(tmp_path):
    """Sends any message to a channel, by the example `send` of the crate notify: the command itself sends only what it has
    to tell. Nothing that is said of it may hold a secret."""
    assert (BINARIES / "examples" / "send").is_file(), "run `cargo build -p notify --example send`"

    def sending(channel: dict, told: dict, env: dict[str, str] | None = None, **notify: Any) -> Ran:
        asked = {"notify": {"channels": {"tested": channel}, "routes": [], **notify},
                 "channel": "tested", "message": told, "now": NOW}
        base = {"PATH": os.defpath, "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "RUST_LOG": "trace",
                "RUST_BACKTRACE": "1"}
        secrets = {"KEY": KEY, "TOKEN": TOKEN, "PASSWORD": PASSWORD}
        done = subprocess.run([BINARIES / "examples" / "send"], input=json.dumps(asked), env=base | secrets | (env or {}),
                              capture_output=True, text=True, timeout=120)
        for secret in MARKED:
            assert secret not in done.stdout + done.stderr, done.stdout + done.stderr
        assert done.returncode == 0 or done.stdout, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    return sending


def slack(send, sink, told: dict) -> Ran:
    """Sends to Slack's place in the sink."""
    sink.schemas = {f"/services/{WEBHOOK}": SLACK}
    return send({"slack": {"env": "WEBHOOK"}}, told, {"WEBHOOK": f"{sink.url}/services/{WEBHOOK}"})


def pagerduty(send, sink, told: dict) -> Ran:
    """Sends to PagerDuty's place in the sink, which answers as PagerDuty does."""
    sink.schemas, sink.status = {"/v2/enqueue": PAGERDUTY, "/v2/change/enqueue": PAGERDUTY_CHANGE}, 202
    return send({"pagerduty": {"env": "KEY"}, "endpoint": sink.url}, told)


# -- what is told ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_slack_takes_every_kind_of_message(send, kind):
    with web_sink() as sink:
        ran = slack(send, sink, message(kind))
        assert (ran.code, sink.faults, len(sink.told)) == (0, [], 1), (ran, sink.faults)
    body = sink.told[0].json
    assert "Lomash Wööd &amp; Söhne" in body["text"]
    assert "<" not in json.dumps(body["blocks"][1:], ensure_ascii=False)


@pytest.mark.parametrize("kind", KINDS)
def test_pagerduty_takes_every_kind_of_message(send, kind):
    with web_sink() as sink:
        ran = pagerduty(send, sink, message(kind))
        assert (ran.code, sink.faults) == (0, []), (ran, sink.faults)
    assert sink.told
    assert all(told.json["routing_key"] == KEY for told in sink.told)


def test_pagerduty_resolves_what_it_was_told_of(send):
    with web_sink() as sink:
        for kind in ("opened", "still-open", "resolved"):
            assert pagerduty(send, sink, message(kind)).code == 0
    keys = {action: [told.json["dedup_key"] for told in sink.told if told.json["event_action"] == action]
            for action in ("trigger", "resolve")}
    assert len(keys["resolve"]) == 2
    assert keys["trigger"] == keys["resolve"] * 2


@pytest.mark.parametrize(("body", "schema", "told"), [
    ("backup", BACKUP, [{"status": "success", "backup_file": "indostar_20261121.dump", "size": "1.5G"}]),
    ("verification", VERIFICATION, [{"status": "success", "backup_file": "indostar_20261121.dump", "record_count": 48211}]),
])
def test_a_companys_own_service_gets_the_body_of_its_own_script(send, body, schema, told):
    with web_sink(notification=schema) as sink:
        assert send({"http": f"{sink.url}/notification", "body": body}, message("success")).code == 0
        assert send({"http": f"{sink.url}/notification", "body": body}, message("digest")).code == 0
        assert send({"http": f"{sink.url}/notification", "body": body}, message("opened")).code == 0
    assert sink.faults == []
    assert [each.json for each in sink.told[:1]] == told
    assert [each.json["status"] for each in sink.told[1:]] == ["failed", "failed"]


@pytest.mark.parametrize("kind", KINDS)
def test_alerts_and_whole_messages_fit_their_schemas(send, kind):
    with web_sink(alert=ALERT, full=FULL) as sink:
        assert send({"http": f"{sink.url}/alert", "body": "alert"}, message(kind)).code == 0
        assert send({"http": f"{sink.url}/full"}, message(kind)).code == 0
    assert sink.faults == []
    assert {told.path for told in sink.told} == {"/alert", "/full"}


def test_a_post_has_its_token_its_headers_and_a_key_that_is_the_same_at_every_try(send):
    channel = {"token": {"env": "TOKEN"}, "headers": {"X-Team": "backups"}}
    with web_sink(full=FULL) as sink:
        for _ in range(2):
            assert send({"http": f"{sink.url}/full", **channel}, message("opened")).code == 0
    for told in sink.told:
        assert told.headers["authorization"] == f"Bearer {TOKEN}"
        assert told.headers["x-team"] == "backups"
        assert told.headers["idempotency-key"] == "lomash-opened-1"


def test_ten_thousand_findings_are_a_message_of_bounded_size(send):
    with web_sink(full=FULL) as sink:
        assert slack(send, sink, flood()).code == 0
        assert pagerduty(send, sink, flood()).code == 0
        sink.schemas["/full"] = FULL
        assert send({"http": f"{sink.url}/full"}, flood()).code == 0
    assert sink.faults == []
    assert len(sink.told) == 1 + 21 + 1
    assert max(len(told.body) for told in sink.told) < 512 << 10
    assert sink.told[-1].json["omitted"] == 9980


# -- what goes wrong ---------------------------------------------------------------------------------------------------------


def test_a_service_that_wants_patience_is_left_alone_for_as_long_as_it_says(send):
    with web_sink() as sink:
        sink.replies = [Reply(429, {"Retry-After": "37"}, "rate_limited"), Reply(500),
                        Reply(503, {"Retry-After": "Sat, 21 Nov 2026 08:31:00 GMT"})]
        told = [slack(send, sink, message("test")).json for _ in range(3)]
    assert [(each["permanent"], each["retry_after"]) for each in told] == [(False, 37), (False, None), (False, 60)]
    assert "429" in told[0]["why"] and "rate_limited" in told[0]["why"]


def test_what_is_refused_for_good_is_told_from_what_may_pass(send):
    with web_sink() as sink:
        sink.replies = [Reply(404, body="no_service"), Reply(400, body=f"bad {WEBHOOK}"), Reply(drop=True), Reply(hang=True)]
        told = [slack(send, sink, message("test")).json for _ in range(4)]
    assert [each["permanent"] for each in told] == [True, True, False, False]
    assert "no_service" in told[0]["why"]
    assert "not shown" in told[1]["why"]
    assert "no answer within 15 s" in told[3]["why"]


def test_one_event_that_is_refused_does_not_stop_the_others(send):
    with web_sink() as sink:
        sink.replies = [Reply(400, body='{"errors": ["bad ' + KEY + '"]}')]
        refused = pagerduty(send, sink, message("opened")).json
    assert refused["permanent"]
    assert len(sink.told) == 2


def test_a_redirect_is_not_followed(send):
    with web_sink() as elsewhere, web_sink() as sink:
        sink.replies = [Reply(307, {"Location": f"{elsewhere.url}/x"})]
        assert slack(send, sink, message("test")).json["permanent"]
    assert elsewhere.told == []


def test_a_server_that_is_down_may_come_back_and_a_plain_address_elsewhere_is_never_used(send):
    with web_sink() as sink:
        pass
    assert not slack(send, sink, message("test")).json["permanent"]
    refused = send({"http": "http://example.com/marked4webhook"}, message("test")).json
    assert refused["permanent"] and "https://" in refused["why"]


def test_a_secret_that_is_not_there_is_said(send):
    refused = send({"slack": {"env": "NOT_SET"}}, message("test")).json
    assert refused["permanent"] and "NOT_SET" in refused["why"]


# -- mail ----------------------------------------------------------------------------------------------------------------------

TO = ["\"Bör, Åsa\" <asa@example.com>", "on-call@example.com"]


def server(sink, **more: Any) -> dict:
    """The policy's mail server, with a login."""
    return {"host": "localhost", "port": sink.port, "user": "holdfast", "password": {"env": "PASSWORD"},
            "from": "Höldfast <backups@example.com>"} | more


@pytest.mark.parametrize("wrapped", [False, True])
def test_mail_is_encrypted_and_logged_in(send, tmp_path, wrapped):
    authority, cert, key = certificate(tmp_path)
    with mail_sink(cert, key, ("holdfast", PASSWORD), wrapped) as sink:
        smtp = server(sink, tls_ca=str(authority), tls="always" if wrapped else "start-tls")
        ran = send({"email": TO}, message("opened"), smtp=smtp)
    assert ran.code == 0, ran
    [mail] = sink.mails
    assert (mail.sender, mail.login, mail.encrypted) == ("backups@example.com", "holdfast", True)
    assert mail.to == ["asa@example.com", "on-call@example.com"]
    read = mail.message
    assert read["Subject"] == "Lomash Wööd & Söhne: critical: opened: bestellungen-größe <b>&</b>"
    assert read["Auto-Submitted"] == "auto-generated"
    assert [each.addr_spec for each in read["To"].addresses] == mail.to
    assert read["From"].addresses[0].display_name == "Höldfast"
    assert parsedate_to_datetime(read["Date"]).isoformat() == "2026-11-21T08:30:00+00:00"
    assert "bestellungen-größe" in mail.part("plain") and "<script>" in mail.part("plain")
    assert "&lt;script&gt;" in mail.part("html") and "<script>" not in mail.part("html")


def test_what_is_opened_and_resolved_is_one_conversation(send):
    with mail_sink() as sink:
        smtp = {"host": "127.0.0.1", "port": sink.port, "from": "backups@example.com", "tls": "never"}
        for kind in ("opened", "resolved", "opened"):
            assert send({"email": TO, "smtp": smtp}, message(kind)).code == 0
    opened, resolved, again = (mail.message for mail in sink.mails)
    assert opened["References"] == resolved["References"] is not None
    assert opened["Message-ID"] == again["Message-ID"] != resolved["Message-ID"]


def test_no_text_adds_a_header_or_an_address(send):
    with mail_sink() as sink:
        smtp = {"host": "127.0.0.1", "port": sink.port, "from": "backups@example.com", "tls": "never"}
        assert send({"email": TO, "smtp": smtp}, flood()).code == 0
    [mail] = sink.mails
    assert "Bcc" not in mail.message
    assert mail.to == ["asa@example.com", "on-call@example.com"]
    assert len(mail.bytes) < 512 << 10
    assert "and 9980 more" in mail.part("plain")


def test_a_server_that_can_not_be_trusted_gets_neither_password_nor_mail(send, tmp_path):
    _, cert, key = certificate(tmp_path)
    with mail_sink(cert, key, ("holdfast", PASSWORD)) as sink:
        refused = send({"email": TO}, message("opened"), smtp=server(sink))
        assert "certificate" in refused.json["why"], refused
    with mail_sink(login=("holdfast", PASSWORD)) as plain:
        refused = send({"email": TO}, message("opened"), smtp=server(plain))
        assert refused.code == 1, "a server without STARTTLS"
    assert sink.mails == plain.mails == []


def test_a_wrong_password_is_refused_for_good(send, tmp_path):
    authority, cert, key = certificate(tmp_path)
    with mail_sink(cert, key, ("holdfast", "another")) as sink:
        refused = send({"email": TO}, message("opened"), smtp=server(sink, tls_ca=str(authority))).json
    assert refused["permanent"] and "535" in refused["why"]


def test_one_address_that_is_refused_does_not_keep_the_others_from_being_told(send):
    with mail_sink() as sink:
        sink.refused["asa@example.com"] = "550 no such user"
        smtp = {"host": "127.0.0.1", "port": sink.port, "from": "backups@example.com", "tls": "never"}
        refused = send({"email": TO, "smtp": smtp}, message("opened")).json
        assert refused["permanent"] and "asa@example.com" in refused["why"]
        sink.refused["asa@example.com"] = "451 try later"
        assert not send({"email": ["asa@example.com"], "smtp": smtp}, message("opened")).json["permanent"]
    assert [mail.to for mail in sink.mails] == [["on-call@example.com"]]


# -- AWS -----------------------------------------------------------------------------------------------------------------------


def aws(world) -> dict[str, str]:
    """The variables by which the command finds this world's AWS."""
    return {name: value for name, value in world.env.items() if name.startswith("AWS_")}


def test_people_who_subscribed_to_a_topic_get_text(send, bare):
    sns, sqs = bare.client("sns", "eu-central-1"), bare.client("sqs", "eu-central-1")
    topic, queue = sns.create_topic(Name="people")["TopicArn"], sqs.create_queue(QueueName="people")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
             "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def heard(told: dict) -> dict:
        ran = send({"sns": topic}, told, aws(bare))
        assert ran.code == 0, ran
        [got] = until("the message", lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=got["ReceiptHandle"])
        return json.loads(got["Body"])

    resolved = heard(message("resolved"))
    assert resolved["Subject"] == "Lomash W??d & S?hne: resolved: resolved: bestellungen-gr??e <b>&</b>"
    assert "bestellungen-größe (größen): resolved\n" in resolved["Message"]
    many = heard(flood())
    assert len(many["Subject"]) == 99
    assert len(many["Message"].encode()) < 256 << 10
    assert "and 9980 more" in many["Message"]


def test_ses_sends_what_a_mail_server_would_get(send, bare):
    ses = bare.client("sesv2")
    ses.create_email_identity(EmailIdentity="example.com")
    channel = {"email": ["on-call@example.com"], "ses": {"from": "backups@example.com", "region": ses.meta.region_name}}
    before = ses.get_account()["SendQuota"]["SentLast24Hours"]
    ran = send(channel, message("opened"), aws(bare))
    assert ran.code == 0, ran
    assert ses.get_account()["SendQuota"]["SentLast24Hours"] == before + 1
    # What the local SES has sent, for tests to read.
    with urllib.request.urlopen(f"{bare.env['AWS_ENDPOINT_URL']}/_ministack/ses/messages") as answer:
        [sent] = [each for every in json.load(answer)["messages"].values() for each in every]
    assert (sent["Source"], sent["To"]) == ("backups@example.com", ["on-call@example.com"])
    assert sent["Subject"] == "Lomash Wööd & Söhne: critical: opened: bestellungen-größe <b>&</b>"
    assert "bestellungen-größe (größen): critical" in sent["BodyText"]
    assert "&lt;script&gt;" in sent["BodyHtml"] and "<script>" not in sent["BodyHtml"]
    unknown = channel | {"ses": {"from": "backups@elsewhere.example"}}
    refused = send(unknown, message("opened"), aws(bare)).json
    assert refused["permanent"] and "not verified" in refused["why"]


# -- the command ---------------------------------------------------------------------------------------------------------


def test_the_command_tells_whether_each_channel_works(bare):
    with web_sink(full=FULL) as sink, mail_sink() as mails:
        sink.schemas |= {f"/services/{WEBHOOK}": SLACK, "/v2/enqueue": PAGERDUTY}
        channels = {
            "chat": {"slack": {"env": "WEBHOOK"}}, "pager": {"pagerduty": {"env": "KEY"}, "endpoint": sink.url},
            "web": {"http": f"{sink.url}/full"}, "admins": {"email": ["on-call@example.com"]},
            "gone": {"slack": {"env": "GONE"}},
        }
        smtp = {"host": "127.0.0.1", "port": mails.port, "from": "backups@example.com", "tls": "never"}
        routes = [{"severity": "critical", "to": list(channels)}]
        policy = {"holdfast": 1, "company": "lomash-wood", "id": "host-1", "notify": {"channels": channels, "routes": routes, "smtp": smtp}}
        ran = bare.holdfast("notify", "--test", "--json", policy=policy, WEBHOOK=f"{sink.url}/services/{WEBHOOK}",
                            KEY=KEY, GONE="http://127.0.0.1:9/marked4webhook")
    assert sink.faults == []
    assert ran.code != 0
    told = {each["channel"]: each for each in ran.json}
    assert [name for name, each in told.items() if each["delivered"]] == ["admins", "chat", "pager", "web"], told
    assert "127.0.0.1:9" in told["gone"]["why"]
    assert {each.path for each in sink.told} == {f"/services/{WEBHOOK}", "/v2/enqueue", "/full"}
    assert mails.mails[0].message["Subject"].isascii() and "test" in mails.mails[0].message["Subject"]
    for secret in MARKED:
        assert secret not in ran.out + ran.err
