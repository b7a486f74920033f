"""What a function's role does not allow: named, with the fix, and the rest of the policy is judged all the same."""

import boto3
import pytest
from botocore.exceptions import ClientError

from local import INSTANCES, lomash
from world import fleet
from world.stack import ACCOUNT

PRIVATE = "lomash-wood-private"


@pytest.fixture(scope="module")
def policy():
    """Lomash Wood's, with a bucket that the stack's parameters do not name."""
    def private(policy: dict) -> None:
        policy["redis"]["redis"]["storage"]["bucket"] = PRIVATE
        policy["buckets"]["private"] = {"bucket": PRIVATE, "versioning": True}
        policy["postgres"]["ledger"] = {
            "databases": ["one", "two"], "storage": {"bucket": PRIVATE, "prefix": "pg/"},
            "dumps": {"daily": {"keep": {"for": "7d"}}}}
    return lomash(private)


@pytest.fixture(scope="module", autouse=True)
def private(seeded):
    """That bucket, with all that the policy could ask of it."""
    s3 = seeded.client("s3")
    s3.create_bucket(Bucket=PRIVATE, CreateBucketConfiguration={"LocationConstraint": fleet.HOME})
    s3.put_bucket_versioning(Bucket=PRIVATE, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=PRIVATE, Key="redis/dump-now.rdb", Body=b"REDIS0011")


def test_freshness_names_the_bucket_that_it_may_not_list_and_judges_the_rest(world):
    answer, findings = world.judged("freshness")
    assert answer.error
    denied = [each for each in findings if PRIVATE in each["message"] and "denied" in each["message"].lower()]
    assert sorted(each["asset"] for each in denied) == [f"{fleet.HOME} in {ACCOUNT}", "one", "two"], denied
    assert all("role" in each["hint"] for each in denied), denied
    assert {each["asset"] for each in findings if each["code"] == "offsite-copy-missing"} == set(INSTANCES)
    assert "redis" in {each["asset"] for each in findings if each["code"] == "backup-unknown"}
    assert world.metric("BackupAge", Group="redis") == [], "what was not seen has no age"
    assert world.metric("BackupAge", Group="dumps") != []


def test_replication_names_the_bucket_that_it_may_not_look_at_and_judges_the_rest(world):
    answer, findings = world.judged("replication")
    assert answer.error
    assert [each["asset"] for each in findings] == [PRIVATE]
    assert "role" in findings[0]["hint"]
    assert world.metric("ReplicationLag", Group="media")[-1] == 0


def test_retention_names_the_group_whose_dumps_it_may_not_list_and_judges_the_rest(world):
    answer, findings = world.judged("retention")
    assert answer.error is None, answer.payload
    assert [(each["asset"], each["code"], each["level"]) for each in findings] == [("ledger", "store-access-denied", "WARN")]
    assert PRIVATE in findings[0]["message"] and "DumpBuckets" in findings[0]["hint"]
    assert world.metric("BackupsRetained")[-1] >= fleet.DUMP_WEEKS * len(fleet.SERVICES)


def test_the_role_of_a_function_that_looks_reads_no_other_bucket_and_changes_nothing(world):
    """The same denial, seen from the role itself."""
    role = world.client("lambda").get_function_configuration(FunctionName="holdfast-freshness")["Role"]
    found = world.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    s3 = boto3.client(
        "s3", region_name=fleet.HOME, endpoint_url=world.env["AWS_ENDPOINT_URL"], aws_access_key_id=found["AccessKeyId"],
        aws_secret_access_key=found["SecretAccessKey"], aws_session_token=found["SessionToken"])
    s3.list_objects_v2(Bucket=fleet.BACKUPS)
    for refused in (lambda: s3.list_objects_v2(Bucket=PRIVATE),
                    lambda: s3.get_object(Bucket=PRIVATE, Key="redis/dump-now.rdb"),
                    lambda: s3.delete_object(Bucket=fleet.BACKUPS, Key="redis/x.rdb"),
                    lambda: s3.put_object(Bucket=fleet.POLICIES, Key="policy.yaml", Body=b"")):
        with pytest.raises(ClientError) as denied:
            refused()
        assert denied.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
