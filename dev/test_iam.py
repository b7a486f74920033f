"""Who may do what: the roles of template.yaml, deploy/fargate.yaml and deploy/vault.yaml, asked call by call.

    .cache/lint/bin/python dev/test_iam.py

`iam.py` judges as IAM does, with parameters as a company would give them: HOME runs template.yaml, VAULT deploy/vault.yaml.
"""

import json
import re
import unittest

from samcli.yamlhelper import yaml_parse

from iam import Template, allows, met, trusts
from lint_template import ROOT, TEMPLATE, expand

HOME, VAULT = "111122223333", "444455556666"
OWNER, ANOTHER = f"acme@{HOME}/eu-west-1", f"acme@{HOME}/us-east-1"
KEY = f"arn:aws:kms:eu-west-1:{HOME}:key/1a2b3c4d"
DUMPS, MEDIA, OFFSITE, FOREIGN = (f"arn:aws:s3:::{name}" for name in ["acme-dumps", "acme-media", "acme-offsite", "another"])
SECRET = f"arn:aws:secretsmanager:eu-west-1:{HOME}:secret:acme/postgres-AbCdEf"
IN_VAULT = f"arn:aws:iam::{VAULT}:role/"

GIVEN = {
    "Company": "acme", "PolicyBucket": "acme-policy", "SourceBuckets": f"{MEDIA},{DUMPS}", "OffsiteBuckets": OFFSITE,
    "VaultPullRoleArns": IN_VAULT + "PullRole", "VaultReadRoleArns": IN_VAULT + "ReadRole", "KmsKeyArns": KEY,
    "DumpImage": f"{HOME}.dkr.ecr.eu-west-1.amazonaws.com/holdfast:0.1.0", "DumpBuckets": DUMPS, "DumpSecretArns": SECRET,
    "StatusPageBucket": "acme-page", "AuditBucket": "acme-audit", "AuditPrefix": "log/", "EnforceBackupSettings": "true",
}
EXPANDED = expand(TEMPLATE.read_text())
PLAIN = {name: yaml_parse((ROOT / "deploy" / f"{name}.yaml").read_text()) for name in ["fargate", "vault"]}
ROLES = {name: f"{name}Role" for name in ["Snapshot", "Offsite", "Freshness", "Replication", "Secrets", "Retention", "Notify", "Report", "Dump"]}


def home(**more):
    return Template(EXPANDED, HOME, **GIVEN | more)


def vault(**more):
    stack = home()
    given = {
        "HomeAccountId": HOME, "HomeRegion": "eu-west-1", "Owner": OWNER, "ExternalId": "acme-holdfast-1",
        "PullPrincipalArns": stack.named("OffsiteRole"),
        "ReadPrincipalArns": ",".join(map(stack.named, ["OffsiteRole", "FreshnessRole", "ReplicationRole", "RetentionRole", "ReportRole"])),
        "SourceBuckets": MEDIA, "SourceKeyArns": KEY, "BucketName": "acme-vault",
    }
    return Template(PLAIN["vault"], VAULT, region="us-east-1", stack="vault", **given | more)


def fargate():
    given = {
        "Company": "acme", "Group": "orders", "PolicyBucket": "acme-policy", "DumpBucket": "acme-dumps", "DumpPrefix": "orders/",
        "SecretArns": SECRET, "Image": GIVEN["DumpImage"], "Cluster": f"arn:aws:ecs:eu-west-1:{HOME}:cluster/main",
        "SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1", "AuditBucket": "acme-audit", "AuditPrefix": "log/",
    }
    return Template(PLAIN["fargate"], HOME, **given)


def snapshot(name, account=HOME, region="eu-west-1", kind="snapshot"):
    return f"arn:aws:rds:{region}:{account}:{kind}:{name}"


SLOTTED = "orders-daily-202611270200"


def tags(owner=None, requested=None, held=False):
    """The condition keys of a call on something tagged `owner`, that would tag it `requested`."""
    keys = {"aws:ResourceTag/holdfast:owner": owner, "aws:RequestTag/holdfast:owner": requested}
    keys["aws:ResourceTag/holdfast:hold"] = "court" if held else None
    return {key: value for key, value in keys.items() if value is not None}


class Simulator(unittest.TestCase):
    """The judge is judged first."""

    def test_a_deny_wins_and_nothing_is_allowed_by_silence(self):
        may = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::a/*"}
        no = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
        self.assertTrue(allows([may, no], "s3:GetObject", "arn:aws:s3:::a/x", {"aws:SecureTransport": "true"}))
        self.assertFalse(allows([may, no], "s3:GetObject", "arn:aws:s3:::a/x", {"aws:SecureTransport": "false"}))
        self.assertFalse(allows([may], "s3:GetObject", "arn:aws:s3:::b/x", {}))
        self.assertFalse(allows([], "s3:GetObject", "arn:aws:s3:::a/x", {}))

    def test_each_operator_judges_absent_keys_as_iam_does(self):
        cases = [
            ("StringEquals", {}, False), ("StringEqualsIfExists", {}, True), ("StringNotEquals", {}, True),
            ("StringEquals", {"k": "v"}, True), ("StringEquals", {"K": "w"}, False), ("StringEqualsIfExists", {"k": "w"}, False),
            ("StringLike", {"k": "v"}, True), ("ForAllValues:StringEquals", {"k": ["v", "v"]}, True),
            ("ForAllValues:StringEquals", {"k": ["v", "x"]}, False),
        ]
        for operator, context, holds in cases:
            self.assertIs(met({operator: {"k": "v"}}, context), holds, (operator, context))
        self.assertTrue(met({"Null": {"k": "true"}}, {}))
        self.assertFalse(met({"Null": {"k": "true"}}, {"k": "v"}))
        with self.assertRaises(KeyError):
            met({"StringAlmost": {"k": "v"}}, {"k": "v"})

    def test_parameters_are_needed_and_known(self):
        with self.assertRaises(ValueError):
            home(NoSuch="x")
        with self.assertRaises(ValueError):
            Template(EXPANDED, HOME)


class Sizes(unittest.TestCase):
    def test_each_role_has_room_for_the_parameters_of_a_company(self):
        """IAM takes 10,240 characters of inline policies a role, and 6,144 a managed policy; white space is free."""
        many = {"SourceBuckets": ",".join([MEDIA] * 8), "DumpBuckets": ",".join([DUMPS] * 4), "OffsiteBuckets": ",".join([OFFSITE] * 4),
                "KmsKeyArns": ",".join([KEY] * 6), "DumpSecretArns": ",".join([SECRET] * 8), "PolicyId": "fleet"}
        for stack in [home(**many), fargate(), vault(DeletePrincipalArns=IN_VAULT + "keeper")]:
            for name, one in stack.template["Resources"].items():
                if one["Type"] == "AWS::IAM::Role":
                    inline = stack.resolve(one["Properties"]).get("Policies", [])
                    size = sum(len(json.dumps(policy["PolicyDocument"], separators=(",", ":"))) for policy in inline)
                    self.assertLess(size, 10_240, name)
                elif one["Type"] == "AWS::IAM::ManagedPolicy":
                    document = stack.resolve(one["Properties"])["PolicyDocument"]
                    self.assertLess(len(json.dumps(document, separators=(",", ":"))), 6_144, name)


class Snapshots(unittest.TestCase):
    """RDS: what is taken is marked, what is not ours can't be made ours, and only what is ours and free may go."""

    def test_only_retention_deletes_and_only_what_is_the_owners_and_not_held(self):
        stack = home()
        for action, kind in [("rds:DeleteDBSnapshot", "snapshot"), ("rds:DeleteDBClusterSnapshot", "cluster-snapshot")]:
            for name, role in ROLES.items():
                with self.subTest(name, action=action):
                    ours = stack.may(role, action, snapshot(SLOTTED, kind=kind), **tags(OWNER))
                    self.assertIs(ours, name == "Retention")
                    for context in [tags(), tags(ANOTHER), tags("acme"), tags(OWNER, held=True)]:
                        self.assertFalse(stack.may(role, action, snapshot(SLOTTED, kind=kind), **context), context)
                    self.assertFalse(stack.may(role, action, snapshot(SLOTTED, VAULT, kind=kind), **tags(OWNER)))

    def test_with_an_id_the_owner_is_that(self):
        stack = home(PolicyId="fleet")
        self.assertTrue(stack.may("RetentionRole", "rds:DeleteDBSnapshot", snapshot(SLOTTED), **tags("acme@fleet")))
        self.assertFalse(stack.may("RetentionRole", "rds:DeleteDBSnapshot", snapshot(SLOTTED), **tags(OWNER)))

    def test_nothing_is_taken_or_copied_without_the_owners_tag(self):
        stack = home()
        for role, action in [("SnapshotRole", "rds:CreateDBSnapshot"), ("OffsiteRole", "rds:CopyDBSnapshot")]:
            self.assertTrue(stack.may(role, action, snapshot(SLOTTED), **tags(requested=OWNER)))
            for context in [tags(), tags(requested=ANOTHER), tags(requested="acme")]:
                self.assertFalse(stack.may(role, action, snapshot(SLOTTED), **context), (role, context))

    def test_nobody_turns_a_foreign_snapshot_into_one_that_may_be_deleted(self):
        stack = home()
        for name, role in ROLES.items():
            maker = name in ("Snapshot", "Offsite")
            with self.subTest(name):
                tagging = lambda id_, **context: stack.may(role, "rds:AddTagsToResource", snapshot(id_), **context)  # noqa: B023, E731
                self.assertIs(tagging(SLOTTED, **tags(requested=OWNER)), maker, "what is being made")
                self.assertIs(tagging(SLOTTED + "-r2", **tags(requested=OWNER)), maker, "a second try")
                self.assertIs(tagging(f"{SLOTTED}-{HOME}", **tags(requested=OWNER)), maker, "a copy from another account")
                for id_ in ["orders-before-migration", "final-orders", "orders-2026", "orders-20261127"]:
                    self.assertFalse(tagging(id_, **tags(requested=OWNER)), id_)
                self.assertFalse(tagging(SLOTTED, **tags(ANOTHER, requested=OWNER)), "another owner's")
                self.assertFalse(tagging(SLOTTED, **tags(OWNER, requested=ANOTHER)), "given away")
                self.assertFalse(stack.may(role, "rds:AddTagsToResource", f"arn:aws:rds:eu-west-1:{HOME}:db:orders", **tags(requested=OWNER)))
                self.assertFalse(stack.may(role, "rds:RemoveTagsFromResource", snapshot(SLOTTED), **tags(OWNER, held=True)))

    def test_only_own_snapshots_are_shared_and_only_by_offsite(self):
        stack = home()
        for name, role in ROLES.items():
            sharing = [stack.may(role, "rds:ModifyDBSnapshotAttribute", snapshot(SLOTTED), **tags(o)) for o in (OWNER, ANOTHER, None)]
            self.assertEqual(sharing, [name == "Offsite", False, False], name)


class Dumps(unittest.TestCase):
    """Objects: who dumps adds, retention lets go, nobody overwrites."""

    NEW, PART, OVER = {"s3:if-none-match": "*", "s3:ObjectCreationOperation": "true"}, {"s3:ObjectCreationOperation": "false"}, {
        "s3:ObjectCreationOperation": "true"}

    def writers(self):
        return [(home(), "DumpRole", f"{DUMPS}/orders/a.dump"), (fargate(), "TaskRole", f"{DUMPS}/orders/a.dump")]

    def test_who_dumps_adds_and_neither_overwrites_nor_deletes(self):
        for stack, role, key in self.writers():
            with self.subTest(role):
                self.assertTrue(stack.may(role, "s3:PutObject", key, **self.NEW))
                self.assertTrue(stack.may(role, "s3:PutObject", key, **self.PART), "a part of an upload")
                self.assertFalse(stack.may(role, "s3:PutObject", key, **self.OVER), "without If-None-Match it could overwrite")
                self.assertFalse(stack.may(role, "s3:PutObject", f"{FOREIGN}/a", **self.NEW))
                self.assertTrue(stack.may(role, "s3:AbortMultipartUpload", key), "an unfinished upload is given up")
                for action in ["DeleteObject", "DeleteObjectVersion", "PutLifecycleConfiguration", "BypassGovernanceRetention",
                               "PutObjectLegalHold", "PutObjectAcl", "PutBucketPolicy", "PutObjectTagging"]:
                    for arn in (key, DUMPS):
                        self.assertFalse(stack.may(role, f"s3:{action}", arn), action)

    def test_audit_records_are_added_by_who_changes_things_and_never_replaced_or_deleted(self):
        record = "arn:aws:s3:::acme-audit/log/2026/1.json"
        changing = {"Snapshot", "Offsite", "Freshness", "Secrets", "Retention", "Dump"}
        writers = [(home(), role, name in changing) for name, role in ROLES.items()] + [(fargate(), "TaskRole", True)]
        for stack, role, writes in writers:
            with self.subTest(role):
                self.assertIs(stack.may(role, "s3:PutObject", record, **self.NEW), writes)
                self.assertFalse(stack.may(role, "s3:PutObject", record, **self.OVER))
                self.assertFalse(stack.may(role, "s3:PutObject", "arn:aws:s3:::acme-audit/other", **self.NEW))
                for action in ["DeleteObject", "DeleteObjectVersion", "BypassGovernanceRetention"]:
                    self.assertFalse(stack.may(role, f"s3:{action}", record), action)

    def test_retention_alone_deletes_dumps_never_versions_and_not_at_all_when_the_parameter_says_so(self):
        for name, role in ROLES.items():
            self.assertIs(home().may(role, "s3:DeleteObject", f"{DUMPS}/orders/a.dump"), name == "Retention", name)
            self.assertFalse(home().may(role, "s3:DeleteObject", f"{MEDIA}/a"), name)
            self.assertFalse(home(DumpsMayBeDeleted="false").may(role, "s3:DeleteObject", f"{DUMPS}/a"), name)
            for action in ["DeleteObjectVersion", "BypassGovernanceRetention", "PutBucketPolicy", "PutBucketVersioning"]:
                self.assertFalse(home().may(role, f"s3:{action}", f"{DUMPS}/a"), (name, action))
                self.assertFalse(home().may(role, f"s3:{action}", DUMPS), (name, action))

    def test_freshness_reads_records_of_dumps_and_no_dump(self):
        for name in ["a.dump.json", "a.dump.json.minisig", "a.dump.hold", "a.dump.unchanged-20261120T020000Z", "holdfast-store.json"]:
            self.assertTrue(home().may("FreshnessRole", "s3:GetObject", f"{DUMPS}/orders/{name}"), name)
        self.assertFalse(home().may("FreshnessRole", "s3:GetObject", f"{DUMPS}/orders/a.dump"))

    def test_who_writes_records_signs_them(self):
        key = SECRET + "-signing"
        for name, role in ROLES.items():
            signs = home(AuditBucket="acme-audit", SigningSecretArn=key).may(role, "secretsmanager:GetSecretValue", key)
            self.assertIs(signs, name in ("Snapshot", "Offsite", "Freshness", "Secrets", "Retention", "Dump"), name)
            by_kms = home(AuditBucket="acme-audit", SigningKmsKeyArn=KEY)
            for action in ["kms:Sign", "kms:GetPublicKey"]:
                self.assertIs(by_kms.may(role, action, KEY), signs, (name, action))
                self.assertFalse(home(AuditBucket="acme-audit").may(role, action, KEY), (name, action))
        # Without an audit log, dumps are signed all the same.
        self.assertTrue(home(SigningKmsKeyArn=KEY).may(ROLES["Dump"], "kms:Sign", KEY))

    def test_values_of_secrets_are_read_by_who_exports_alone_and_written_by_nobody(self):
        for name, role in ROLES.items():
            stack = home(ExportedSecretArns=SECRET + "-app*")
            self.assertIs(stack.may(role, "secretsmanager:GetSecretValue", SECRET + "-app/db"), name == "Secrets", name)
            for action in ["PutSecretValue", "CreateSecret", "DeleteSecret", "UpdateSecretVersionStage"]:
                self.assertFalse(stack.may(role, f"secretsmanager:{action}", SECRET + "-app/db"), (name, action))
        self.assertFalse(home().may("SecretsRole", "secretsmanager:GetSecretValue", SECRET))
        self.assertFalse(home().may("SecretsRole", "s3:GetObject", f"{DUMPS}/orders/a.dump"))

    def test_passwords_of_databases_are_read_by_who_dumps_alone(self):
        for name, role in ROLES.items():
            self.assertIs(home().may(role, "secretsmanager:GetSecretValue", SECRET), name == "Dump", name)


class Watching(unittest.TestCase):
    def test_functions_keep_the_policys_alarms_and_not_those_that_watch_them(self):
        alarm = "arn:aws:cloudwatch:eu-west-1:" + HOME + ":alarm:{}"
        for role in ROLES.values():
            self.assertTrue(home().may(role, "cloudwatch:PutMetricAlarm", alarm.format("acme-backup-failed")), role)
            for name in ["acme-holdfast-snapshot-silent", "acme-two-backup-failed", "acme-web-5xx", "acmebackup-x"]:
                self.assertFalse(home().may(role, "cloudwatch:PutMetricAlarm", alarm.format(name)), (role, name))

    def test_access_is_looked_at_by_who_judges_it_and_no_secret_is_read_for_that(self):
        for name, role in ROLES.items():
            judges = name in ("Freshness", "Report")
            for action, arn in [("s3:GetBucketPolicy", DUMPS), ("s3:GetBucketPolicy", OFFSITE), ("kms:GetKeyRotationStatus", KEY),
                                ("s3:GetBucketPolicy", "arn:aws:s3:::acme-audit"), ("secretsmanager:ListSecretVersionIds", SECRET),
                                ("iam:GetRole", f"arn:aws:iam::{HOME}:role/x")]:
                self.assertIs(home().may(role, action, arn), judges, (name, action))
        self.assertTrue(vault().may("ReadRole", "s3:GetBucketPolicy", "arn:aws:s3:::acme-vault"))
        self.assertTrue(vault().may("ReadRole", "iam:GetRole", IN_VAULT + "vault-PullRole-ABC"))
        self.assertFalse(vault().may("ReadRole", "iam:GetRole", IN_VAULT + "another"))

    def test_what_looks_at_keys_and_quotas_may(self):
        for name, role in ROLES.items():
            self.assertIs(home().may(role, "kms:DescribeKey", KEY), name in ("Offsite", "Freshness", "Secrets", "Report"), name)
            self.assertIs(home().may(role, "rds:DescribeAccountAttributes", "*"), name in ("Freshness", "Report"), name)

    def test_every_action_is_one_that_the_code_calls(self):
        """By the SDK's method names: `describe_db_snapshots()` is rds:DescribeDBSnapshots."""
        sources = [path.read_text() for folder in ["shared", "functions", "cli"] for path in (ROOT / folder).rglob("*.rs")]
        methods = set(re.findall(r"\.([a-z][a-z0-9_]+)\(\)", "".join(sources)))
        calls = {method.replace("_", "") for method in methods}
        # What one call is authorized as, where AWS's action has another name than the call.
        other = {
            "s3:ListBucket": "listobjectsv2", "s3:ListBucketMultipartUploads": "listmultipartuploads",
            "s3:GetEncryptionConfiguration": "getbucketencryption", "s3:GetReplicationConfiguration": "getbucketreplication",
            "s3:GetLifecycleConfiguration": "getbucketlifecycleconfiguration",
            "s3:PutLifecycleConfiguration": "putbucketlifecycleconfiguration",
            "s3:GetBucketObjectLockConfiguration": "getobjectlockconfiguration", "s3:PutObjectTagging": "tagging",
        }
        # Asked by AWS of a call that has another name: tags and locks in the call, keys in the name of a service, Lambda's own.
        implied = re.compile(
            r"rds:AddTagsToResource|rds-db:connect|s3:PutObjectRetention|sts:AssumeRole|ses:SendRawEmail|sns:Publish|lambda:InvokeFunction"
            r"|kms:(Decrypt|GenerateDataKey(WithoutPlaintext)?|ReEncrypt(From|To)|CreateGrant)|iam:PassRole|(logs|xray|ec2|sqs|ecr|ecs):\w+")
        for stack in [home(), fargate(), vault(DeletePrincipalArns=f"arn:aws:iam::{VAULT}:role/admin")]:
            for role in stack.roles():
                for statement in stack.statements(role):
                    actions = statement["Action"]
                    for action in actions if isinstance(actions, list) else [actions]:
                        if implied.fullmatch(action):
                            continue
                        with self.subTest(role, action=action):
                            self.assertTrue(other.get(action, action.split(":")[1].lower()) in calls, "granted and never called")


class Vault(unittest.TestCase):
    """The account with the backups is taken over: what is in the vault stays."""

    # All that ends a copy, or what protects it.
    ENDING = [
        "rds:DeleteDBSnapshot", "rds:DeleteDBClusterSnapshot", "rds:ModifyDBSnapshotAttribute", "rds:RemoveTagsFromResource",
        "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:DeleteBucket", "s3:PutLifecycleConfiguration", "s3:PutBucketPolicy",
        "s3:DeleteBucketPolicy", "s3:PutBucketVersioning", "s3:PutBucketObjectLockConfiguration", "s3:BypassGovernanceRetention",
        "s3:PutObjectRetention", "s3:PutObjectLegalHold", "s3:PutEncryptionConfiguration", "kms:ScheduleKeyDeletion",
        "kms:DisableKey", "kms:PutKeyPolicy", "kms:RevokeGrant", "kms:RetireGrant", "iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy",
    ]

    def setUp(self):
        self.home, self.vault = home(), vault()

    def things(self):
        key = self.vault.named("Key")
        return ["arn:aws:s3:::acme-vault", "arn:aws:s3:::acme-vault/a", key, snapshot(SLOTTED, VAULT, "us-east-1"),
                snapshot("by-hand", VAULT, "us-east-1"), f"arn:aws:iam::{VAULT}:role/PullRole"]

    def assumable(self, stack, given=None):
        """Pairs of a role at home and a role in the vault that it can become."""
        context = {"sts:ExternalId": "acme-holdfast-1"} if given is None else given
        for mine in self.home.roles():
            for theirs in stack.roles():
                document = stack.resolve(stack.template["Resources"][theirs]["Properties"]["AssumeRolePolicyDocument"])
                if trusts(document, self.home.named(mine), **context):
                    yield mine, theirs

    def test_each_role_at_home_becomes_what_its_work_needs_and_no_more(self):
        looking = {"OffsiteRole", "FreshnessRole", "ReplicationRole", "RetentionRole", "ReportRole"}
        trusted = set(self.assumable(self.vault))
        self.assertEqual(trusted, {("OffsiteRole", "PullRole")} | {(role, "ReadRole") for role in looking})
        allowed = {(mine, theirs) for mine in self.home.roles() for theirs in ["PullRole", "ReadRole", "DeleteRole"]
                   if self.home.may(mine, "sts:AssumeRole", IN_VAULT + theirs)}
        self.assertEqual(allowed, trusted, "both sides say the same")

    def test_without_the_external_id_nobody_becomes_anything(self):
        self.assertEqual(list(self.assumable(self.vault, {})), [])
        self.assertEqual(list(self.assumable(self.vault, {"sts:ExternalId": "another-customer"})), [])

    def test_home_cannot_end_anything_in_the_vault(self):
        """Whatever the roles at home may do themselves, and whatever they can become."""
        for mine, theirs in self.assumable(self.vault):
            for action in self.ENDING:
                for thing in self.things():
                    for context in [tags(OWNER), tags()]:
                        with self.subTest(mine, becomes=theirs, action=action, thing=thing):
                            self.assertFalse(self.vault.may(theirs, action, thing, **context))
        for mine in self.home.roles():
            for action in self.ENDING:
                for thing in self.things():
                    self.assertFalse(self.home.may(mine, action, thing, **tags(OWNER)), (mine, action, thing))

    def test_by_default_there_is_no_role_that_deletes_and_home_is_none_that_may(self):
        self.assertNotIn("DeleteRole", self.vault.roles())
        retention = self.home.named("RetentionRole")
        own = f"arn:aws:iam::{VAULT}:role/keeper"
        stack = vault(DeletePrincipalArns=f"{own},{retention}")
        document = stack.resolve(stack.template["Resources"]["DeleteRole"]["Properties"]["AssumeRolePolicyDocument"])
        given = {"sts:ExternalId": "acme-holdfast-1"}
        self.assertTrue(trusts(document, own, **given))
        self.assertFalse(trusts(document, retention, **given), "named by mistake, and still kept out")
        stack = vault(DeletePrincipalArns=retention, HomeMayDelete="true")
        document = stack.resolve(stack.template["Resources"]["DeleteRole"]["Properties"]["AssumeRolePolicyDocument"])
        self.assertTrue(trusts(document, retention, **given))

    def test_the_role_that_deletes_deletes_free_snapshots_of_the_owner_and_can_mark_none(self):
        stack = vault(DeletePrincipalArns=f"arn:aws:iam::{VAULT}:role/keeper")
        there = snapshot(SLOTTED, VAULT, "us-east-1")
        self.assertTrue(stack.may("DeleteRole", "rds:DeleteDBSnapshot", there, **tags(OWNER)))
        for context in [tags(), tags(ANOTHER), tags(OWNER, held=True)]:
            self.assertFalse(stack.may("DeleteRole", "rds:DeleteDBSnapshot", there, **context), context)
        for action in {"rds:AddTagsToResource", *self.ENDING} - {"rds:DeleteDBSnapshot", "rds:DeleteDBClusterSnapshot"}:
            for thing in self.things():
                self.assertFalse(stack.may("DeleteRole", action, thing, **tags(OWNER, requested=OWNER)), (action, thing))

    def test_pulling_marks_its_own_copies_and_no_other_snapshot(self):
        there = lambda id_: snapshot(id_, VAULT, "us-east-1")  # noqa: E731
        self.assertTrue(self.vault.may("PullRole", "rds:CopyDBSnapshot", there(SLOTTED), **tags(requested=OWNER)))
        self.assertTrue(self.vault.may("PullRole", "rds:CopyDBSnapshot", snapshot(SLOTTED), **tags(requested=OWNER)))
        self.assertFalse(self.vault.may("PullRole", "rds:CopyDBSnapshot", there(SLOTTED), **tags(requested=ANOTHER)))
        self.assertTrue(self.vault.may("PullRole", "rds:AddTagsToResource", there(SLOTTED), **tags(requested=OWNER)))
        self.assertFalse(self.vault.may("PullRole", "rds:AddTagsToResource", there("by-hand"), **tags(requested=OWNER)))
        self.assertFalse(self.vault.may("PullRole", "rds:AddTagsToResource", there(SLOTTED), **tags(ANOTHER, requested=OWNER)))
        self.assertFalse(self.vault.may("ReadRole", "rds:AddTagsToResource", there(SLOTTED), **tags(requested=OWNER)))
        self.assertTrue(self.vault.may("PullRole", "s3:PutObject", "arn:aws:s3:::acme-vault/a"))
        self.assertFalse(self.vault.may("ReadRole", "s3:PutObject", "arn:aws:s3:::acme-vault/a"))

    def test_no_wildcard_stands_in_an_action_and_the_key_can_be_put_to_death_by_nobody(self):
        key = self.vault.resolve(self.vault.template["Resources"]["Key"]["Properties"])
        statements = [s for role in self.vault.roles() for s in self.vault.statements(role)] + key["KeyPolicy"]["Statement"]
        for statement in statements:
            for action in [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]:
                self.assertNotIn("*", action, statement["Sid"])
                self.assertNotIn(action, ["kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:ImportKeyMaterial"])
        self.assertEqual((key["EnableKeyRotation"], key["RotationPeriodInDays"]), (True, 90))

    def test_the_bucket_is_locked_versioned_private_and_by_tls_alone(self):
        made = self.vault.resolve(self.vault.template["Resources"]["Bucket"]["Properties"])
        lock = made["ObjectLockConfiguration"]
        self.assertEqual((made["ObjectLockEnabled"], lock["ObjectLockEnabled"]), (True, "Enabled"))
        self.assertEqual(lock["Rule"]["DefaultRetention"], {"Mode": "COMPLIANCE", "Days": "35"})
        self.assertEqual(made["VersioningConfiguration"], {"Status": "Enabled"})
        self.assertEqual(set(made["PublicAccessBlockConfiguration"].values()), {True})
        statements = self.vault.resolve(self.vault.template["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"])
        tls = next(s for s in statements if s["Sid"] == "OnlyByTls")
        self.assertEqual((tls["Effect"], tls["Principal"], tls["Action"]), ("Deny", "*", "s3:*"))
        mfa = next(s for s in statements if s["Sid"] == "PeopleNeedMfa")
        person = {"aws:MultiFactorAuthPresent": "false", "aws:PrincipalArn": f"arn:aws:iam::{VAULT}:user/x", "aws:PrincipalIsAWSService": "false"}
        self.assertTrue(met(mfa["Condition"], person))
        self.assertFalse(met(mfa["Condition"], person | {"aws:MultiFactorAuthPresent": "true"}))
        self.assertFalse(met(mfa["Condition"], person | {"aws:PrincipalArn": self.vault.named("PullRole")}))
        for name in ["Key", "Bucket"]:
            self.assertEqual(self.vault.template["Resources"][name]["DeletionPolicy"], "Retain")

    def test_sessions_are_short_and_roles_keep_to_the_boundary(self):
        for role in vault(DeletePrincipalArns=f"arn:aws:iam::{VAULT}:role/keeper").roles():
            made = self.vault.template["Resources"][role]["Properties"]
            self.assertEqual(made["MaxSessionDuration"], 3600, role)
            self.assertEqual(made["PermissionsBoundary"]["Fn::If"][0], "HasBoundary", role)


if __name__ == "__main__":
    unittest.main()
