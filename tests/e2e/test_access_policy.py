"""What `access` of the policy asks of a local AWS: policies of buckets, rotation of keys, sessions of roles (B13, B18, P18)."""

import json
from typing import Any

import boto3
import pytest

from local import QUICK, World
from world.fleet import HOME, OFFSITE_REGION
from world.stack import ACCOUNT

VAULT, COPIES = "acme-vault", "acme-copies"
ROLE = "acme-reader"
WORDS = {"plain-http-allowed", "mfa-not-required", "read-access", "delete-access", "public-access", "key-age",
         "session-too-long", "access-not-readable"}


def rotating(world: World) -> Any:
    """KMS of ministack: moto's, which has the keys of snapshots, knows no rotation period."""
    return boto3.client(
        "kms", region_name=OFFSITE_REGION, endpoint_url=world.env["AWS_ENDPOINT_URL"], config=QUICK,
        aws_access_key_id=world.env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=world.env["AWS_SECRET_ACCESS_KEY"])


@pytest.fixture(scope="module")
def key(bare) -> str:
    """Two buckets, a key that never rotates, a role with long sessions, and the passphrase of the dumps."""
    for bucket, region in [(VAULT, HOME), (COPIES, OFFSITE_REGION)]:
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        bare.client("s3", region).create_bucket(Bucket=bucket, **where)
    trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    bare.client("iam").create_role(
        RoleName=ROLE, MaxSessionDuration=43_200, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    bare.client("secretsmanager").create_secret(Name="acme/key", SecretString="not a real passphrase")
    return rotating(bare).create_key()["KeyMetadata"]["Arn"]


def found(world: World, key: str, **access: object) -> set[tuple[str, str]]:
    """What a status finds of access, and of what."""
    encrypt = {"openssl": {"secret": "acme/key"}, "rotate_every": "90d"}
    policy = {
        "holdfast": 1, "company": "acme", "home": {"account": ACCOUNT, "region": HOME},
        "destinations": {"copies": {"region": OFFSITE_REGION, "bucket": COPIES, "kms_key": key}},
        "buckets": {"vault": {"bucket": VAULT, "copies": [{"to": "copies"}]}},
        "postgres": {"main": {
            "databases": ["orders"], "host": "127.0.0.1", "storage": {"bucket": VAULT, "prefix": "pg/"},
            "dumps": {"full": {"keep": {"for": "7d"}, "encrypt": encrypt}}}},
        "access": access,
    }
    ran = world.holdfast("status", "--json", policy=policy, AWS_ENDPOINT_URL_KMS="")
    return {(each["asset"], each["code"]) for each in ran.json["findings"] if each["code"] in WORDS}


def allow_only(world: World, who: str) -> None:
    """Both buckets let nobody but `who` delete, and nobody read or delete without MFA."""
    actions = ["s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObject", "s3:DeleteObjectVersion"]
    for bucket, region in [(VAULT, HOME), (COPIES, OFFSITE_REGION)]:
        deny = {"Effect": "Deny", "Principal": "*", "Resource": f"arn:aws:s3:::{bucket}/*"}
        only = deny | {"Action": actions[2:], "Condition": {"ArnNotLike": {"aws:PrincipalArn": who}}}
        mfa = deny | {"Action": actions, "Condition": {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}}
        world.client("s3", region).put_bucket_policy(
            Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [only, mfa]}))


def test_buckets_without_a_policy_refuse_nobody_and_with_one_all_whom_it_does_not_name(bare, key):
    keeper = f"arn:aws:iam::{ACCOUNT}:role/keeper"
    asked = {"tls_only": True, "mfa": True, "may_delete": [keeper]}
    open_ones = {(f"s3://{bucket}", what) for bucket in (VAULT, COPIES) for what in ("plain-http-allowed", "mfa-not-required", "delete-access")}
    assert found(bare, key, **asked) == open_ones
    allow_only(bare, keeper)
    # The local AWS speaks plain HTTP, which a policy that refuses it would shut out.
    assert found(bare, key, **asked) == {(f"s3://{bucket}", "plain-http-allowed") for bucket in (VAULT, COPIES)}
    allow_only(bare, "*")
    assert found(bare, key, may_delete=[keeper]) == {(f"s3://{bucket}", "delete-access") for bucket in (VAULT, COPIES)}


def test_a_key_rotates_and_a_session_ends_as_the_policy_says(bare, key):
    role = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
    asked = {"rotate_keys_every": "90d", "max_session": "1h", "machines": [role]}
    assert found(bare, key, **asked) == {(key, "key-age"), (role, "session-too-long")}
    kms = rotating(bare)
    kms.enable_key_rotation(KeyId=key)
    bare.client("iam").update_role(RoleName=ROLE, MaxSessionDuration=3600)
    assert found(bare, key, **asked) == {(key, "key-age")}, "once a year is not every 90 days"
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    assert found(bare, key, **asked) == set()
    nobody = f"arn:aws:iam::{ACCOUNT}:role/nobody"
    assert found(bare, key, **asked | {"machines": [nobody]}) == {(nobody, "access-not-readable")}


def test_the_passphrase_of_dumps_is_changed_as_often_as_the_policy_says(bare, key):
    assert found(bare, key) == set()
    bare.forward(minutes=91 * 24 * 60)
    assert found(bare, key) == {("acme/key", "key-age")}
    bare.client("secretsmanager").put_secret_value(SecretId="acme/key", SecretString="another one")
    assert found(bare, key) == set()
