"""What no linter knows about template.yaml: who may delete, what is watched, which event starts what.

    .cache/lint/bin/python dev/test_template.py

Works on the expanded template (see lint_template.py), offline. Where the template has an `Fn::If`, both branches are looked at.
"""

import copy
import json
import re
import unittest

from samcli.yamlhelper import yaml_parse

from lint_template import ROOT, TEMPLATE, expand

EXPANDED = expand(TEMPLATE.read_text())
ROWS = yaml_parse(TEMPLATE.read_text())["Mappings"]["Functions"]
RESOURCES = EXPANDED["Resources"]
NAMES = ["snapshot", "offsite", "freshness", "replication", "secrets", "retention", "notify", "report", "dump"]
# They change something, and so write it down; replication and report only look, and notify tells.
CHANGING = {"SnapshotRole", "OffsiteRole", "FreshnessRole", "RetentionRole", "SecretsRole", "DumpRole"}
# Made only when its parameter gives an image, in place of a zip that `sam build` makes.
IMAGES = ["dump"]
SAMPLES = {path.name: json.loads(path.read_text()) for path in sorted((ROOT / "events").glob("*.json"))}

# The calls that know no resource but "*" (AWS's Service Authorization Reference), or that list what isn't known by name yet.
INTERFACES = re.compile(r"ec2:((Create|Delete|Describe)NetworkInterfaces?|DescribeSubnets|(Una|A)ssignPrivateIpAddresses)")
NEED_ALL = re.compile(
    INTERFACES.pattern + r"|secretsmanager:ListSecrets|rds:Describe\w+|cloudwatch:(DescribeAlarms|GetMetricData|PutMetricData)"
    r"|xray:Put(TraceSegments|TelemetryRecords)"
)
# Delete recovery points or what protects them, by its own name, and what deletes by another: lifecycle rules, lifted locks, keys put to death.
DELETES = re.compile(
    r":(Batch)?(Delete|Remove|Purge|Terminate|Schedule\w*Deletion|Put\w*Lifecycle|PutObjectRetention|PutObjectLegalHold|Bypass)"
)
# The retention of a new object, which goes with PutObject. It can't shorten or lift a lock without the other.
LOCKS = {"s3:PutObjectRetention"}
NAMED = {"PolicyKmsKeyArn", "SourceBuckets", "OffsiteBuckets", "KmsKeyArns"}
NAMED |= {"VaultPullRoleArns", "VaultReadRoleArns", "VaultDeleteRoleArns"}
NAMED |= {"DumpBuckets", "ExportedSecretArns", "DumpSecretArns", "DumpDatabaseUserArns", "SigningSecretArn", "SigningKmsKeyArn"}
NAMED |= {"NotifySecretArns", "NotifyTopicArns", "NotifyEmailIdentityArns", "StatusPageBucket", "AuditBucket"}
# The beginnings of keys, in a bucket that another parameter names.
PREFIXES = {"StatusPagePrefix", "AuditPrefix"}


def of_type(kind):
    return {name: resource for name, resource in RESOURCES.items() if resource["Type"] == kind}


def props(name):
    return RESOURCES[name]["Properties"]


def listed(value):
    return value if isinstance(value, list) else [value]


def statements(role):
    """Every statement of a role and of the managed policies that it wears, as (condition or None, statement)."""
    documents = [policy["PolicyDocument"] for policy in props(role).get("Policies", [])]
    documents = [(None, document) for document in documents]
    for arn in props(role).get("ManagedPolicyArns", []):
        condition, arn = (arn["Fn::If"][0], arn["Fn::If"][1]) if "Fn::If" in arn else (None, arn)
        documents.append((condition, props(arn["Ref"])["PolicyDocument"]))
    for outer, document in documents:
        for statement in listed(document["Statement"]):
            if "Fn::If" in statement:
                condition, *branches = statement["Fn::If"]
                yield from ((condition, branch) for branch in branches if branch != {"Ref": "AWS::NoValue"})
            else:
                yield outer, statement


def roles():
    """What each role may do."""
    return {name: [one for _, one in statements(name) if one["Effect"] == "Allow"] for name in of_type("AWS::IAM::Role")}


def parameters(condition):
    """Parameters that a condition looks at, itself or by another."""
    made = EXPANDED["Conditions"][condition]
    others = re.findall(r'"Condition": "(\w+)"', json.dumps(made))
    return refs(made).union(*map(parameters, others))


def refs(value):
    """Names that a value refers to, by Ref, GetAtt or ${..} of Sub, at any depth."""
    if isinstance(value, dict):
        if "Ref" in value:
            return {value["Ref"]}
        if "Fn::GetAtt" in value:
            return {listed(value["Fn::GetAtt"])[0].split(".")[0]}
        return set().union(*map(refs, value.values()), set())
    if isinstance(value, list):
        return set().union(*map(refs, value), set())
    return set(re.findall(r"\$\{([\w:]+)", value)) if isinstance(value, str) else set()


def function(name):
    """Logical id of the function called ${AWS::StackName}-<name>."""
    wanted = {"Fn::Sub": "${AWS::StackName}-" + name}
    return next(key for key, value in of_type("AWS::Lambda::Function").items() if value["Properties"]["FunctionName"] == wanted)


def subscriptions(topic):
    """What hears a topic."""
    return [one for one in of_type("AWS::SNS::Subscription").values() if one["Properties"]["TopicArn"] == {"Ref": topic}]


def dashboard():
    """The dashboard's body as CloudWatch gets it, with and without the function by image."""
    text, given = props("Dashboard")["DashboardBody"]["Fn::Sub"]
    for alarms_of_dump in given["DumpAlarms"]["Fn::If"][1:]:
        whole = text.replace("${DumpAlarms}", alarms_of_dump["Fn::Sub"] if isinstance(alarms_of_dump, dict) else alarms_of_dump)
        yield json.loads(whole.replace("${Company}", "acme"))


def invoke_configs():
    """How Lambda treats events that fail, by the function's logical id."""
    made = [resource["Properties"] for resource in of_type("AWS::Lambda::EventInvokeConfig").values()]
    return {one["FunctionName"]["Ref"]: one for one in made}


def schedule(name):
    """The one schedule of a function."""
    made = [resource["Properties"] for resource in of_type("AWS::Scheduler::Schedule").values()]
    found = [one for one in made if function(name) in refs(one["Target"]["Arn"])]
    assert len(found) == 1, f"{name} has {len(found)} schedules"
    return found[0]


def alarms(metric, **dimensions):
    for alarm in of_type("AWS::CloudWatch::Alarm").values():
        seen = {d["Name"]: d["Value"] for d in alarm["Properties"]["Dimensions"]}
        if alarm["Properties"]["MetricName"] == metric and seen == dimensions:
            yield alarm["Properties"]


def seconds(expression):
    """Length of rate(..) in seconds, 0 for a cron(..); ValueError for what EventBridge Scheduler would refuse."""
    if rate := re.fullmatch(r"rate\(([1-9]\d*) (minute|hour|day)(s?)\)", expression):
        if (rate[1] == "1") == bool(rate[3]):
            raise ValueError(f"{expression}: 1 goes with the singular, all else with the plural")
        return int(rate[1]) * {"minute": 60, "hour": 3600, "day": 86400}[rate[2]]
    if cron := re.fullmatch(r"cron\((.+)\)", expression):
        fields = cron[1].split(" ")
        if len(fields) != 6 or not all(re.fullmatch(r"[0-9A-Z*?,/#L-]+", field) for field in fields):
            raise ValueError(f"{expression}: six fields")
        if (fields[2] == "?") == (fields[4] == "?"):
            raise ValueError(f"{expression}: just one of day-of-month and day-of-week is ?")
        return 0
    raise ValueError(f"{expression}: neither rate(..) nor cron(..)")


def matches(pattern, event):
    """EventBridge's own rule, for the operators that the template uses: exact values and prefix."""
    for key, wanted in pattern.items():
        if key not in event:
            return False
        if isinstance(wanted, dict):
            if not isinstance(event[key], dict) or not matches(wanted, event[key]):
                return False
            continue
        for choice in wanted:
            if isinstance(choice, dict) and set(choice) != {"prefix"}:
                raise NotImplementedError(f"operator {choice}: teach it to this matcher")
        values = listed(event[key])
        if not any(v.startswith(c["prefix"]) if isinstance(c, dict) else v == c for c in wanted for v in values):
            return False
    return True


def started_by(event, buckets=("lomash-wood-backups",)):
    """Names of the rules that an event sets off, when SourceBucketNames is `buckets`."""

    def resolved(value):
        if value == {"Ref": "SourceBucketNames"}:
            return list(buckets)
        return {key: resolved(inner) for key, inner in value.items()} if isinstance(value, dict) else value

    rules = of_type("AWS::Events::Rule")
    return {name for name, rule in rules.items() if matches(resolved(rule["Properties"]["EventPattern"]), event)}


# The owner as Policy::owner() of the crate `shared` writes it: whom a recovery point belongs to.
OWNER = {"Fn::If": ["HasPolicyId", {"Fn::Sub": "${Company}@${PolicyId}"}, {"Fn::Sub": "${Company}@${AWS::AccountId}/${AWS::Region}"}]}
# Statements of retention that are about dumps: they have a test of their own.
DUMPS = {"LetDumpsGo", "KeepStorageClasses", "EndAuditRecordsByLifecycle"}


class Permissions(unittest.TestCase):
    def test_no_role_may_do_an_action_given_by_wildcard(self):
        for role, found in roles().items():
            for statement in found:
                self.assertNotIn("NotAction", statement, role)
                self.assertNotIn("NotResource", statement, role)
                for action in listed(statement["Action"]):
                    self.assertNotIn("*", action, role)

    def test_only_calls_that_know_no_resource_have_all_resources(self):
        for role, found in roles().items():
            for statement in found:
                if "*" in listed(statement["Resource"]):
                    for action in listed(statement["Action"]):
                        self.assertRegex(action, rf"^({NEED_ALL.pattern})$", role)

    def test_only_retention_may_delete(self):
        self.assertEqual({role for role, _ in self.deleting()}, {"RetentionRole"})

    def deleting(self):
        """Roles and statements that could end a recovery point; a function's network interface is none."""
        for role, found in roles().items():
            for statement in found:
                actions = [a for a in listed(statement["Action"]) if a not in LOCKS and not INTERFACES.fullmatch(a)]
                if any(map(DELETES.search, actions)):
                    yield role, statement

    def test_objects_are_deleted_in_the_buckets_of_dumps_if_the_parameter_says_so_and_never_versions_or_locks(self):
        ((condition, statement),) = [(c, s) for c, s in statements("RetentionRole") if s["Sid"] == "LetDumpsGo"]
        self.assertEqual(listed(statement["Action"]), ["s3:DeleteObject"])
        self.assertEqual(refs(statement["Resource"]), {"DumpBuckets", "Each"})
        self.assertEqual(parameters(condition), {"DumpBuckets", "DumpsMayBeDeleted"})
        ((condition, statement),) = [
            (c, s) for c, s in statements("RetentionRole") if s["Sid"] == "KeepStorageClasses"
        ]
        self.assertEqual((listed(statement["Action"]), condition), (["s3:PutLifecycleConfiguration"], "LetsDumpsGo"))
        self.assertNotIn("Bypass", json.dumps(RESOURCES))

    def test_audit_records_are_written_by_who_changes_things_and_ended_by_a_lifecycle_rule_alone(self):
        def writing(role):
            return [(c, s) for c, s in statements(role) if s["Sid"] == "AddAuditRecords"]

        self.assertEqual({role for role in of_type("AWS::IAM::Role") if writing(role)}, CHANGING)
        ((condition, statement),) = writing("DumpRole")
        self.assertEqual((condition, listed(statement["Action"])), ("HasAudit", ["s3:PutObject"]))
        self.assertEqual(statement["Condition"], {"Null": {"s3:if-none-match": "false"}})
        touching = [(r, c, s) for r in of_type("AWS::IAM::Role") for c, s in statements(r) if "AuditBucket" in refs(s["Resource"])]
        deleting = [(r, c, s) for r, c, s in touching if any(map(DELETES.search, listed(s["Action"])))]
        self.assertEqual([(role, condition) for role, condition, _ in deleting], [("RetentionRole", "LetsAuditGo")])
        self.assertEqual(parameters("LetsAuditGo"), {"AuditBucket", "DumpsMayBeDeleted"})
        self.assertNotIn("Delete", json.dumps([s["Action"] for _, _, s in touching]))

    def test_the_code_of_a_function_in_a_vpc_has_no_hold_of_network_interfaces(self):
        found = {s["Sid"]: (c, s) for c, s in statements("DumpRole") if INTERFACES.fullmatch(listed(s["Action"])[0])}
        (allowed, allow), (denied, deny) = found["LetLambdaIntoTheVpc"], found["KeepTheFunctionItselfFromIt"]
        self.assertEqual((allowed, denied), ("HasDumpSubnets", "HasDumpSubnets"))
        self.assertEqual((allow["Action"], allow["Effect"], deny["Effect"]), (deny["Action"], "Allow", "Deny"))
        itself = deny["Condition"]["ArnEquals"]["lambda:SourceFunctionArn"]["Fn::Sub"]
        self.assertTrue(itself.endswith(":function:" + props("Dump")["FunctionName"]["Fn::Sub"]), itself)
        self.assertEqual(props("Dump")["VpcConfig"]["Fn::If"][0], "HasDumpSubnets")
        others = [role for role, allowed in roles().items() if "ec2:" in json.dumps(allowed)]
        self.assertEqual(others, ["DumpRole"])

    def test_retention_deletes_only_snapshots_that_carry_the_tag_and_are_not_held(self):
        deleting = [s for role, s in self.deleting() if role == "RetentionRole" and s["Sid"] not in DUMPS]
        self.assertTrue(deleting)
        for statement in deleting:
            own = {"StringEquals": {"aws:ResourceTag/holdfast:owner": OWNER}}
            self.assertEqual(statement["Condition"], own | {"Null": {"aws:ResourceTag/holdfast:hold": "true"}})
            for resource in listed(statement["Resource"]):
                self.assertRegex(resource["Fn::Sub"], r":rds:\*:\$\{AWS::AccountId\}:(cluster-)?snapshot:\*$")

    def test_what_is_made_carries_the_tag(self):
        made = re.compile(r"^rds:(Create|Copy|AddTags)")
        for role, found in roles().items():
            for statement in found:
                if any(map(made.search, listed(statement["Action"]))):
                    self.assertEqual(statement["Condition"]["StringEquals"], {"aws:RequestTag/holdfast:owner": OWNER}, role)

    def test_databases_are_changed_by_freshness_alone_and_only_if_the_parameter_says_so(self):
        for role in of_type("AWS::IAM::Role"):
            for condition, statement in statements(role):
                if any(re.match(r"rds:Modify(DBInstance|DBCluster)$", action) for action in listed(statement["Action"])):
                    self.assertEqual((role, condition), ("FreshnessRole", "Enforce"))

    def test_buckets_keys_secrets_and_other_accounts_are_named_by_parameters(self):
        for role in of_type("AWS::IAM::Role"):
            for condition, statement in statements(role):
                if not any(re.match("(s3|kms|sts|secretsmanager|rds-db|ses):", action) for action in listed(statement["Action"])):
                    continue
                with self.subTest(role, sid=statement["Sid"]):
                    if statement["Action"] == "secretsmanager:ListSecrets":
                        continue  # knows no resource
                    named = refs(statement["Resource"]) - {"AWS::Partition", "Each"} - PREFIXES
                    if named <= {"State", "State.Arn"}:
                        self.assertEqual(role, "NotifyRole")
                        continue
                    if statement["Sid"] == "ReadPolicyFile":
                        the_file = "arn:${AWS::Partition}:s3:::${PolicyBucket}/${PolicyKey}"
                        self.assertEqual(statement["Resource"], {"Fn::Sub": the_file})
                        continue
                    self.assertEqual(len(named), 1)
                    self.assertLessEqual(named, NAMED)
                    # Left out when its list is empty: IAM refuses a statement without resources.
                    self.assertIsNotNone(condition)
                    self.assertLessEqual(named, parameters(condition))

    def test_objects_and_buckets_are_not_mixed_up(self):
        for role, found in roles().items():
            for statement in found:
                for action in listed(statement["Action"]):
                    if action.startswith("s3:"):
                        of_objects = re.search(r"Object|MultipartUpload", action) is not None and "Bucket" not in action
                        self.assertEqual("/" in json.dumps(statement["Resource"]), of_objects, f"{role}: {action}")

    def test_metrics_go_to_one_namespace(self):
        put = [s for found in roles().values() for s in found if "cloudwatch:PutMetricData" in listed(s["Action"])]
        self.assertEqual(len(put), len(NAMES))
        for statement in put:
            self.assertEqual(statement["Condition"], {"StringEquals": {"cloudwatch:namespace": "Holdfast"}})

    def test_every_role_keeps_to_the_boundary_and_the_path(self):
        for role in of_type("AWS::IAM::Role"):
            self.assertEqual(props(role)["PermissionsBoundary"]["Fn::If"][0], "HasBoundary", role)
            self.assertEqual(props(role)["Path"], {"Ref": "RolePath"}, role)

    def test_no_partition_is_written_down(self):
        for name, resource in RESOURCES.items():
            self.assertNotRegex(json.dumps(resource), r"arn:aws[a-z-]*:", name)


class Functions(unittest.TestCase):
    def test_there_are_these_and_no_others(self):
        self.assertEqual(len(of_type("AWS::Lambda::Function")), len(NAMES))
        used = [props(function(name))["Role"]["Fn::GetAtt"][0] for name in NAMES]
        self.assertEqual(len(set(used)), len(NAMES), "two functions wear one role")

    def test_each_runs_as_the_runtime_and_the_house_want_it(self):
        for name in NAMES:
            made = props(function(name))
            with self.subTest(name):
                package = (made.get("PackageType"), made.get("Runtime"), made.get("Handler"))
                image = ({"Fn::Select": [0, ["Image"]]}, None, None)
                self.assertEqual(package, image if name in IMAGES else (None, "provided.al2023", "bootstrap"))
                self.assertLessEqual(made["Timeout"], 900)
                self.assertEqual(made["TracingConfig"], {"Mode": "Active"})
                self.assertEqual(made["ReservedConcurrentExecutions"]["Fn::If"][:2], ["Reserve", 1])
                variables = {"HOLDFAST_POLICY", "HOLDFAST_TOPIC_ARN", "HOLDFAST_REPORTS_TOPIC_ARN", "HOLDFAST_STACK"}
                variables |= {"HOLDFAST_STATE"} if name == "notify" else set()
                self.assertEqual(set(made["Environment"]["Variables"]), variables)
                # A report of notify's own would start it again.
                reports = "" if name == "notify" else {"Ref": "Reports"}
                self.assertEqual(made["Environment"]["Variables"]["HOLDFAST_REPORTS_TOPIC_ARN"], reports)

    def test_each_writes_json_to_a_log_group_of_its_own_that_ends(self):
        for name in NAMES:
            logging = props(function(name))["LoggingConfig"]
            group = RESOURCES[logging["LogGroup"]["Ref"]]
            with self.subTest(name):
                self.assertEqual(logging["LogFormat"], "JSON")
                self.assertEqual(group["Properties"]["LogGroupName"], {"Fn::Sub": "/aws/lambda/${AWS::StackName}-" + name})
                self.assertIn("RetentionInDays", group["Properties"])
                # Among the logs is the record of what was deleted, and why.
                self.assertEqual((group["DeletionPolicy"], group["UpdateReplacePolicy"]), ("RetainExceptOnCreate", "Retain"))
                role = props(function(name))["Role"]["Fn::GetAtt"][0]
                written = [s["Resource"] for _, s in statements(role) if "logs:PutLogEvents" in listed(s["Action"])]
                self.assertEqual([refs(resource) for resource in written], [{logging["LogGroup"]["Ref"]}])

    def test_what_failed_is_kept_and_the_role_may_keep_it(self):
        configs = invoke_configs()
        for name in NAMES:
            with self.subTest(name):
                destination = configs[function(name)]["DestinationConfig"]["OnFailure"]["Destination"]
                # All but notify's own go by the topic, which keeps them in the queue and tells notify.
                direct = name == "notify"
                self.assertEqual(refs(destination), {"FailedRuns" if direct else "FailedRunsTopic"})
                self.assertLessEqual(configs[function(name)]["MaximumRetryAttempts"], 2)
                role = props(function(name))["Role"]["Fn::GetAtt"][0]
                action = "sqs:SendMessage" if direct else "sns:Publish"
                sent = set().union(*(refs(s["Resource"]) for _, s in statements(role) if action in listed(s["Action"])))
                self.assertLessEqual(refs(destination), sent)
        ends = {one["Properties"]["Protocol"]: refs(one["Properties"]["Endpoint"]) for one in subscriptions("FailedRunsTopic")}
        self.assertEqual(ends, {"sqs": {"FailedRuns"}, "lambda": {"Notify"}})
        (queue,) = [one["Properties"] for one in subscriptions("FailedRunsTopic") if one["Properties"]["Protocol"] == "sqs"]
        self.assertIs(queue["RawMessageDelivery"], True)
        self.assertIn("FailedRunsTopic", refs(props("FailedRunsPolicy")["PolicyDocument"]["Statement"][0]["Condition"]))

    def test_notify_hears_reports_failed_runs_and_alarms_and_never_itself(self):
        heard = {}
        for one in of_type("AWS::SNS::Subscription").values():
            if one["Properties"]["Protocol"] == "lambda":
                self.assertEqual(refs(one["Properties"]["Endpoint"]), {"Notify"})
                self.assertEqual(refs(one["Properties"]["RedrivePolicy"]), {"Undelivered"})
                heard[one["Properties"]["TopicArn"]["Ref"]] = one["Properties"]
        self.assertEqual(set(heard), {"Reports", "FailedRunsTopic", "Failures"})
        # What functions, and so notify, write to people is text, and CloudWatch's are JSON with this name.
        self.assertEqual(heard["Failures"]["FilterPolicyScope"], "MessageBody")
        self.assertEqual(heard["Failures"]["FilterPolicy"], {"AlarmName": [{"exists": True}]})
        allowed = next(s for s in props("UndeliveredPolicy")["PolicyDocument"]["Statement"] if s["Sid"] == "TopicsOfThisStack")
        self.assertEqual(refs(allowed["Condition"]), set(heard))

    def test_the_state_is_encrypted_private_versioned_by_tls_alone_and_outlives_the_stack(self):
        state = RESOURCES["State"]
        self.assertEqual((state["DeletionPolicy"], state["UpdateReplacePolicy"]), ("RetainExceptOnCreate", "Retain"))
        made = state["Properties"]
        self.assertEqual(set(made["PublicAccessBlockConfiguration"].values()), {True})
        self.assertEqual(len(made["PublicAccessBlockConfiguration"]), 4)
        self.assertEqual(made["VersioningConfiguration"], {"Status": "Enabled"})
        (rule,) = made["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        self.assertEqual(rule["ServerSideEncryptionByDefault"], {"SSEAlgorithm": "AES256"})
        (statement,) = props("StatePolicy")["PolicyDocument"]["Statement"]
        self.assertEqual((statement["Effect"], statement["Principal"], statement["Action"]), ("Deny", "*", "s3:*"))
        self.assertEqual(statement["Condition"], {"Bool": {"aws:SecureTransport": "false"}})
        self.assertEqual(props("Notify")["Environment"]["Variables"]["HOLDFAST_STATE"], {"Fn::Sub": "s3://${State}/notify"})

    def test_checks_are_not_retried_and_steps_are(self):
        configs = invoke_configs()
        tries = {name: configs[function(name)]["MaximumRetryAttempts"] for name in NAMES}
        steps = {"snapshot": 2, "offsite": 2, "secrets": 2, "retention": 2}
        # A message that is lost is not found by a later look; sending it twice is kept from by its state.
        steps |= {"notify": 2}
        # A dump is a step, but one that loads a database: the next schedule tries again.
        self.assertEqual(tries, steps | {"freshness": 0, "replication": 0, "report": 0, "dump": 0})

    def test_the_source_names_the_folder_and_how_to_build_it(self):
        source = yaml_parse(TEMPLATE.read_text())["Resources"]
        for name in sorted(set(NAMES) - set(IMAGES)):
            self.assertEqual(source[function(name)]["Properties"]["CodeUri"], f"functions/{name}")
            self.assertEqual(source[function(name)]["Metadata"], {"BuildMethod": "rust-cargolambda"})

    def test_sam_builds_no_image_and_asks_nobody_for_a_repository(self):
        from samcli.commands._utils.template import get_template_artifacts_format
        from samcli.lib.providers.sam_function_provider import SamFunctionProvider
        from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

        self.assertNotIn("Image", get_template_artifacts_format(str(TEMPLATE)))
        for image in ["", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/holdfast:0.1.0"]:
            stacks, _ = SamLocalStackProvider.get_stacks(str(TEMPLATE), parameter_overrides={"DumpImage": image}, language_extensions_enabled=True)
            found = list(SamFunctionProvider(stacks, ignore_code_extraction_warnings=True).get_all())
            built = {each.name for each in found if each.function_build_info.is_buildable()}
            self.assertEqual(built, {function(name) for name in set(NAMES) - set(IMAGES)})
            self.assertNotIn("Image", [each.packagetype for each in found])

    def test_nothing_of_a_function_by_image_is_made_without_its_image(self):
        self.assertEqual(EXPANDED["Conditions"]["HasDump"], {"Fn::Not": [{"Fn::Equals": [{"Ref": "DumpImage"}, ""]}]})
        made = {key: one.get("Condition") for key, one in RESOURCES.items() if re.match("Dump[A-Z]|Dump$", key)}
        self.assertGreaterEqual(set(made), {"Dump", "DumpRole", "DumpLogs", "DumpErrors", "DumpThrottled", "DumpSilent"})
        self.assertEqual(set(made.values()), {"HasDump"}, made)
        self.assertEqual(props("Dump")["Code"]["ImageUri"]["Fn::If"][:2], ["HasDump", {"Ref": "DumpImage"}])
        # Nothing that is always made may lean on what is not.
        for key, one in RESOURCES.items():
            if key not in made and refs(one) & set(made):
                self.assertIn('{"Fn::If": ["HasDump"', json.dumps(one), key)


class Loops(unittest.TestCase):
    """What the rows under Mappings become."""

    MADE = {"Logs": "AWS::Logs::LogGroup", "Schedule": "AWS::Scheduler::Schedule"}
    MADE |= dict.fromkeys(["Errors", "Throttled", "Silent"], "AWS::CloudWatch::Alarm")
    # A function's lines: its row, its role and itself. What it may do, and what else starts it, is its own.
    MOST_LINES, OWN = 60, r"(?m)^(            Statement:\n)(?: {14}.*\n)+|^(      Events:\n)(?: {8}.*\n)+"

    def test_each_function_has_a_row_and_each_row_makes_the_same_things(self):
        self.assertEqual({key: row["Name"] for key, row in ROWS.items()}, {function(name): name for name in NAMES})
        for key in ROWS:
            made = {suffix: RESOURCES[key + suffix]["Type"] for suffix in self.MADE}
            self.assertEqual(made, self.MADE, key)
            self.assertEqual({RESOURCES[key + suffix].get("Condition") for suffix in self.MADE}, {RESOURCES[key].get("Condition")})
            self.assertIn(f"{key}Function", EXPANDED["Outputs"])

    def test_rows_have_the_same_entries_which_agree(self):
        spans = {3600: "hour", 1200: "20 minutes", 900: "15 minutes", 10800: "3 hours"}
        for key, row in ROWS.items():
            with self.subTest(key):
                self.assertEqual(set(row), set(ROWS["Snapshot"]))
                self.assertEqual(row["RateSeconds"], seconds(row["Rate"]))
                self.assertEqual(row["Throttling"], spans[row["ThrottledPeriods"] * row["RateSeconds"]])
                self.assertEqual(row["Silence"].removeprefix("1 "), spans[row["SilentPeriods"] * row["RateSeconds"]])

    def test_nothing_of_a_loop_is_left_open(self):
        text = json.dumps(EXPANDED)
        for rest in ["Fn::ForEach", "Fn::FindInMap", "${Function}", "&{", *("${" + entry + "}" for entry in ROWS["Snapshot"])]:
            self.assertNotIn(rest, text)

    def test_a_function_costs_few_lines_besides_what_it_may_do(self):
        text = TEMPLATE.read_text()
        for key in ROWS:
            blocks = re.findall(rf"^(?:    {key}:\n(?:      .*\n)+|  (?:{key}|{key}Role):\n(?:    .*\n)+)", text, re.M)
            self.assertEqual(len(blocks), 3, f"{key}: its row, its role, itself")
            common = [re.sub(self.OWN, "", block) for block in blocks]
            self.assertLessEqual(sum(block.count("\n") for block in common), self.MOST_LINES, key)


class Watching(unittest.TestCase):
    def test_each_function_has_an_alarm_for_errors_and_one_for_throttles(self):
        for name in NAMES:
            for metric in ["Errors", "Throttles"]:
                with self.subTest(name, metric=metric):
                    (alarm,) = alarms(metric, FunctionName={"Ref": function(name)})
                    self.assertEqual((alarm["Namespace"], alarm["Statistic"], alarm["Threshold"]), ("AWS/Lambda", "Sum", 0))
                    self.assertEqual(alarm["ComparisonOperator"], "GreaterThanThreshold")
                    self.assertEqual(alarm["TreatMissingData"], "notBreaching")

    def test_each_function_has_a_dead_man_that_gives_it_two_looks_and_a_full_run(self):
        for name in NAMES:
            with self.subTest(name):
                (alarm,) = alarms("RunsCompleted", Policy={"Ref": "Company"}, Function=name)
                self.assertEqual((alarm["Namespace"], alarm["Threshold"]), ("Holdfast", 1))
                self.assertIn(alarm["Statistic"], ["Sum", "SampleCount"])
                self.assertEqual(alarm["ComparisonOperator"], "LessThanThreshold")
                self.assertEqual(alarm["TreatMissingData"], "breaching")
                window = alarm["Period"] * alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"])
                patience = 2 * seconds(schedule(name)["ScheduleExpression"]) + props(function(name))["Timeout"]
                self.assertGreaterEqual(window, patience)

    def test_each_queue_has_an_alarm(self):
        for queue in of_type("AWS::SQS::Queue"):
            (alarm,) = alarms("ApproximateNumberOfMessagesVisible", QueueName={"Fn::GetAtt": [queue, "QueueName"]})
            self.assertEqual((alarm["Threshold"], alarm["ComparisonOperator"]), (0, "GreaterThanThreshold"), queue)
            self.assertEqual((props(queue)["MessageRetentionPeriod"], props(queue)["SqsManagedSseEnabled"]), (14 * 86400, True))

    def test_every_alarm_tells_the_topic_says_what_to_do_and_has_a_name_that_may_publish(self):
        (publishers,) = [p["Properties"]["PolicyDocument"]["Statement"] for p in of_type("AWS::SNS::TopicPolicy").values()]
        (allowed,) = publishers
        exact = [one["Fn::Sub"].split(":alarm:")[1] for one in allowed["Condition"]["ArnLike"]["aws:SourceArn"]]
        self.assertEqual(exact, ["${Company}-backup-*", "${Company}-holdfast-*"])
        names = []
        for key, alarm in of_type("AWS::CloudWatch::Alarm").items():
            alarm = alarm["Properties"]
            names.append(alarm["AlarmName"]["Fn::Sub"])
            self.assertRegex(names[-1], r"^\$\{Company\}-holdfast-[a-z-]+$")
            self.assertEqual(alarm["AlarmActions"], [{"Ref": "Failures"}], key)
            text = alarm["AlarmDescription"]
            text = text["Fn::Sub"] if isinstance(text, dict) else text
            # AlarmDescription holds 1,024 characters; ${AWS::StackName} may grow to 128.
            self.assertTrue(80 < len(text) < 600, f"{key}: {len(text)}")
        self.assertEqual(len(names), len(set(names)))


class Dashboard(unittest.TestCase):
    def test_it_is_json_and_its_first_row_is_six_single_values(self):
        for body in dashboard():
            first = [one for one in body["widgets"] if one["y"] == 0]
            self.assertEqual([one["properties"]["view"] for one in first], ["singleValue"] * 6)
            self.assertEqual(sum(one["width"] for one in first), 24)
            cells = [(x, y) for one in body["widgets"] for x in range(one["x"], one["x"] + one["width"])
                     for y in range(one["y"], one["y"] + one["height"])]
            self.assertEqual(len(cells), len(set(cells)), "two widgets lie on one another")
            self.assertLess(max(x for x, _ in cells), 24)

    def test_it_shows_every_alarm_that_means_a_fault(self):
        shown = list(dashboard())
        for body, more in zip(shown, [{"DumpErrors", "DumpSilent"}, set()], strict=True):
            (listed_alarms,) = [one["properties"]["alarms"] for one in body["widgets"] if one["type"] == "alarm"]
            names = {one.removeprefix("${").removesuffix(".Arn}") for one in listed_alarms}
            all_of = {name for name in of_type("AWS::CloudWatch::Alarm") if not name.endswith("Throttled") and "Dump" not in name}
            self.assertEqual(names, all_of | more)

    def test_it_names_no_metric_of_the_functions_that_is_not_in_the_table(self):
        known = set(re.findall(r"^\| (\w+) \|", (ROOT / "docs" / "metrics.md").read_text(), re.M))
        for body in dashboard():
            text = json.dumps(body)
            named = set(re.findall(r'MetricName=\\"(\w+)\\"', text)) | set(re.findall(r'\["Holdfast", "(\w+)"', text))
            self.assertGreater(len(named), 15)
            self.assertLessEqual(named, known)


class Starting(unittest.TestCase):
    def test_each_function_looks_by_schedule(self):
        for name in NAMES:
            with self.subTest(name):
                made = schedule(name)
                self.assertEqual(made["Name"], {"Fn::Sub": "${AWS::StackName}-" + name})
                self.assertLessEqual(seconds(made["ScheduleExpression"]), 3600)
                tick = SAMPLES["notify-tick.json" if name == "notify" else "schedule.json"]
                self.assertEqual(json.loads(made["Target"]["Input"]), tick)
                self.assertIn("RetryPolicy", made["Target"])
                self.assertEqual(refs(made["Target"]["DeadLetterConfig"]), {"Undelivered"})
                role = made["Target"]["RoleArn"]["Fn::GetAtt"][0]
                allowed = {a: refs(s["Resource"]) for _, s in statements(role) for a in listed(s["Action"])}
                self.assertIn(function(name), allowed["lambda:InvokeFunction"])
                self.assertIn("Undelivered", allowed["sqs:SendMessage"])

    def test_a_bad_schedule_is_seen(self):
        for good in ["rate(1 hour)", "rate(15 minutes)", "cron(0 2 * * ? *)", "cron(0/15 * ? * MON-FRI *)"]:
            seconds(good)
        rates = ["rate(15 minute)", "rate(1 hours)", "rate(0 hours)", "15 minutes"]
        for bad in [*rates, "cron(0 2 * * *)", "cron(0 2 * * * *)", "cron(0 2 ? * ? *)"]:
            with self.assertRaises(ValueError, msg=bad):
                seconds(bad)

    def test_each_event_starts_what_it_should_and_nothing_else(self):
        snapshot = {"OffsiteRds"}
        expected = {
            "pre-deploy.json": set(),
            "rds-automated-snapshot-created.json": snapshot,
            "rds-backups-disabled.json": {"FreshnessBackupsDisabled"},
            "rds-cluster-snapshot-created.json": snapshot,
            "rds-copy-finished.json": snapshot,
            "rds-snapshot-created.json": snapshot,
            "s3-object-created.json": {"OffsiteObjects"},
            "schedule.json": set(),
            "secret-label-updated.json": {"SecretsLabel"},
        }
        # By schedule and by topics, not by rules.
        expected |= {name: set() for name in SAMPLES if name.startswith("notify-") or name == "schedule-event.json"}
        self.assertEqual({name: started_by(event) for name, event in SAMPLES.items()}, expected)
        self.assertEqual(set().union(*expected.values()), set(of_type("AWS::Events::Rule")), "a rule that no sample starts")

    def test_events_that_look_alike_start_nothing(self):
        def changed(name, **detail):
            event = copy.deepcopy(SAMPLES[name])
            event["detail"] |= detail
            return event

        self.assertEqual(started_by(changed("rds-snapshot-created.json", EventID="RDS-EVENT-0040")), set(), "only being made")
        self.assertEqual(started_by(changed("rds-backups-disabled.json", EventID="RDS-EVENT-0032")), set(), "switched on")
        self.assertEqual(started_by(changed("rds-snapshot-created.json", EventID="RDS-EVENT-0041")), set(), "deleted")
        self.assertEqual(started_by(changed("s3-object-created.json", bucket={"name": "another"})), set())
        removed = SAMPLES["s3-object-created.json"] | {"detail-type": "Object Deleted"}
        self.assertEqual(started_by(removed), set())

    def test_the_samples_have_the_envelope_that_eventbridge_gives(self):
        for name, event in SAMPLES.items():
            if "source" in event:
                envelope = {"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"}
                self.assertEqual(set(event), envelope, name)

    def test_each_rule_may_start_its_function_and_keeps_what_it_could_not_deliver(self):
        permitted = {
            (source, p["Properties"]["FunctionName"]["Ref"])
            for p in of_type("AWS::Lambda::Permission").values() for source in refs(p["Properties"]["SourceArn"])
        }
        for topic in ["Reports", "FailedRunsTopic", "Failures"]:
            self.assertIn((topic, "Notify"), permitted)
        for name, rule in of_type("AWS::Events::Rule").items():
            (target,) = rule["Properties"]["Targets"]
            with self.subTest(name):
                self.assertIn((name, target["Arn"]["Fn::GetAtt"][0]), permitted)
                self.assertIn("RetryPolicy", target)
                self.assertEqual(refs(target["DeadLetterConfig"]), {"Undelivered"})
                # The queue's policy knows the rules by this beginning.
                self.assertTrue(rule["Properties"]["Name"]["Fn::Sub"].startswith("${AWS::StackName}-"))


if __name__ == "__main__":
    unittest.main()
