"""A fleet as RDS describes it, prebuilt page by page so that serving costs little, and a policy under which nothing is due.

Each database has 16 snapshots: 2 automated ones and 14 of Holdfast's, one a day, all complete, each with 8 tags. With
`copies`, the newest 7 are copied to a second region. Every field that RDS answers with is there, since parsing is what
a sweep spends its time on.
"""

from collections import Counter
from datetime import datetime, timedelta
from urllib.parse import parse_qs

from host import ACCOUNT, REGION
from wire import Request, Server, answer

SNAPSHOTS, AUTOMATED, COPIES = 16, 2, 7
AWAY = "eu-central-1"
PAGE = 100  # RDS's own default
KEY = "key/1b2f3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d"


def policy(databases: int, now: datetime, copies: bool) -> str:
    """Everything a group of databases can ask for, in one group that a pattern selects."""
    away = f"destinations:\n  away:\n    region: {AWAY}\n    kms_key: arn:aws:kms:{AWAY}:{ACCOUNT}:{KEY}\n"
    rule = f"    copies:\n      - to: away\n        of: [daily]\n        keep: {{ newest: {COPIES} }}\n        max_age: 30h\n"
    return f"""holdfast: 1
company: acme
home:
  account: "{ACCOUNT}"
  region: {REGION}
{away if copies else ""}databases:
  fleet:
    select:
      include: ["acme-*-prod"]
    expect: {databases}
    objectives:
      max_age: 25h
    automated_backups:
      retention: 35d
      window: 02:00-03:00
    snapshots:
      daily:
        schedule: {{ cron: "0 {due(now).hour} * * *" }}
        keep: {{ daily: 14, weekly: 4, monthly: 12 }}
      pre-deploy:
        keep: {{ for: 90d }}
    min_backups: 3
{rule if copies else ""}alarms:
  acme-backup-age:
    metric: backup-age
    of: fleet
    above: 25h
"""


def due(now: datetime) -> datetime:
    """The newest slot: some six hours ago, so that none falls due while this runs."""
    return (now - timedelta(hours=6)).replace(minute=0, second=0, microsecond=0)


def name(i: int) -> str:
    return f"acme-service-{i:04}-prod"


def resource(i: int) -> str:
    return f"db-{i:04}ABCDEFGHIJKLMNOPQRSTUV"


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def tags(pairs: dict[str, str]) -> str:
    return "<TagList>" + "".join(f"<Tag><Key>{k}</Key><Value>{v}</Value></Tag>" for k, v in pairs.items()) + "</TagList>"


def own_tags(i: int) -> dict[str, str]:
    return {"environment": "production", "team": f"team-{i % 12}", "cost-centre": f"cc-{4000 + i % 40}", "service": name(i)}


def arn(region: str, kind: str, rest: str) -> str:
    return f"arn:aws:rds:{region}:{ACCOUNT}:{kind}:{rest}"


def instance(i: int, now: datetime) -> str:
    subnets = "".join(
        f"<Subnet><SubnetIdentifier>subnet-0123456789abcde{z}</SubnetIdentifier><SubnetAvailabilityZone><Name>{REGION}{z}"
        f"</Name></SubnetAvailabilityZone><SubnetOutpost/><SubnetStatus>Active</SubnetStatus></Subnet>"
        for z in "abc"
    )
    return f"""<DBInstance><DBInstanceIdentifier>{name(i)}</DBInstanceIdentifier><DBInstanceClass>db.m6g.large</DBInstanceClass>\
<Engine>postgres</Engine><DBInstanceStatus>available</DBInstanceStatus><MasterUsername>master</MasterUsername><DBName>service</DBName>\
<Endpoint><Address>{name(i)}.c9akciq32xyz.{REGION}.rds.amazonaws.com</Address><Port>5432</Port><HostedZoneId>Z29XKXDKYMONMX\
</HostedZoneId></Endpoint><AllocatedStorage>200</AllocatedStorage><InstanceCreateTime>{iso(now - timedelta(days=400))}\
</InstanceCreateTime><PreferredBackupWindow>02:00-03:00</PreferredBackupWindow><BackupRetentionPeriod>35</BackupRetentionPeriod>\
<DBSecurityGroups/><VpcSecurityGroups><VpcSecurityGroupMembership><VpcSecurityGroupId>sg-0123456789abcdef0</VpcSecurityGroupId>\
<Status>active</Status></VpcSecurityGroupMembership></VpcSecurityGroups><DBParameterGroups><DBParameterGroup>\
<DBParameterGroupName>acme-postgres16</DBParameterGroupName><ParameterApplyStatus>in-sync</ParameterApplyStatus></DBParameterGroup>\
</DBParameterGroups><AvailabilityZone>{REGION}a</AvailabilityZone><DBSubnetGroup><DBSubnetGroupName>acme</DBSubnetGroupName>\
<DBSubnetGroupDescription>private subnets</DBSubnetGroupDescription><VpcId>vpc-0123456789abcdef0</VpcId><SubnetGroupStatus>Complete\
</SubnetGroupStatus><Subnets>{subnets}</Subnets></DBSubnetGroup><PreferredMaintenanceWindow>sun:04:00-sun:05:00\
</PreferredMaintenanceWindow><PendingModifiedValues/><LatestRestorableTime>{iso(now - timedelta(minutes=4))}</LatestRestorableTime>\
<MultiAZ>true</MultiAZ><EngineVersion>16.4</EngineVersion><AutoMinorVersionUpgrade>true</AutoMinorVersionUpgrade>\
<ReadReplicaDBInstanceIdentifiers/><LicenseModel>postgresql-license</LicenseModel><Iops>3000</Iops><OptionGroupMemberships>\
<OptionGroupMembership><OptionGroupName>default:postgres-16</OptionGroupName><Status>in-sync</Status></OptionGroupMembership>\
</OptionGroupMemberships><SecondaryAvailabilityZone>{REGION}b</SecondaryAvailabilityZone><PubliclyAccessible>false</PubliclyAccessible>\
<StorageType>gp3</StorageType><DbInstancePort>0</DbInstancePort><StorageEncrypted>true</StorageEncrypted>\
<KmsKeyId>arn:aws:kms:{REGION}:{ACCOUNT}:{KEY}</KmsKeyId><DbiResourceId>{resource(i)}</DbiResourceId>\
<CACertificateIdentifier>rds-ca-rsa2048-g1</CACertificateIdentifier><DomainMemberships/><CopyTagsToSnapshot>true</CopyTagsToSnapshot>\
<MonitoringInterval>60</MonitoringInterval><DBInstanceArn>{arn(REGION, "db", name(i))}</DBInstanceArn><IAMDatabaseAuthenticationEnabled>\
true</IAMDatabaseAuthenticationEnabled><PerformanceInsightsEnabled>true</PerformanceInsightsEnabled><EnabledCloudwatchLogsExports>\
<member>postgresql</member></EnabledCloudwatchLogsExports><DeletionProtection>true</DeletionProtection><AssociatedRoles/>\
<MaxAllocatedStorage>1000</MaxAllocatedStorage>{tags(own_tags(i))}<CustomerOwnedIpEnabled>false</CustomerOwnedIpEnabled>\
<ActivityStreamStatus>stopped</ActivityStreamStatus><BackupTarget>region</BackupTarget><NetworkType>IPV4</NetworkType>\
<StorageThroughput>125</StorageThroughput><CertificateDetails><CAIdentifier>rds-ca-rsa2048-g1</CAIdentifier>\
<ValidTill>{iso(now + timedelta(days=300))}</ValidTill></CertificateDetails><DedicatedLogVolume>false</DedicatedLogVolume>\
<EngineLifecycleSupport>open-source-rds-extended-support</EngineLifecycleSupport></DBInstance>"""


def automated_backup(i: int, now: datetime) -> str:
    return f"""<DBInstanceAutomatedBackup><DBInstanceArn>{arn(REGION, "db", name(i))}</DBInstanceArn><DbiResourceId>{resource(i)}\
</DbiResourceId><Region>{REGION}</Region><DBInstanceIdentifier>{name(i)}</DBInstanceIdentifier><RestoreWindow>\
<EarliestTime>{iso(now - timedelta(days=35, minutes=5))}</EarliestTime><LatestTime>{iso(now - timedelta(minutes=4))}</LatestTime></RestoreWindow>\
<AllocatedStorage>200</AllocatedStorage><Status>active</Status><Port>5432</Port><AvailabilityZone>{REGION}a</AvailabilityZone>\
<VpcId>vpc-0123456789abcdef0</VpcId><InstanceCreateTime>{iso(now - timedelta(days=400))}</InstanceCreateTime><MasterUsername>master\
</MasterUsername><Engine>postgres</Engine><EngineVersion>16.4</EngineVersion><LicenseModel>postgresql-license</LicenseModel>\
<OptionGroupName>default:postgres-16</OptionGroupName><Encrypted>true</Encrypted><StorageType>gp3</StorageType>\
<KmsKeyId>arn:aws:kms:{REGION}:{ACCOUNT}:{KEY}</KmsKeyId><IAMDatabaseAuthenticationEnabled>true</IAMDatabaseAuthenticationEnabled>\
<BackupRetentionPeriod>35</BackupRetentionPeriod><DBInstanceAutomatedBackupsArn>{arn(REGION, "auto-backup", f"ab-{i:026}")}\
</DBInstanceAutomatedBackupsArn><BackupTarget>region</BackupTarget></DBInstanceAutomatedBackup>"""


def snapshot(i: int, region: str, taken: datetime, number: int) -> str:
    """Number 0 and 1 are RDS's own, the others Holdfast's; away from home it is a copy."""
    automated, away = number < AUTOMATED, region != REGION
    slot = f"{taken:%Y%m%d%H%M}"
    home_id = f"rds:{name(i)}-{taken:%Y-%m-%d-%H-%M}" if automated else f"{name(i)}-daily-{slot}"
    marks = {
        "holdfast:owner": f"acme@{ACCOUNT}/{REGION}",
        "holdfast:resource-id": resource(i),
        "holdfast:family": "instance",
        "holdfast:asset": name(i),
        "holdfast:reason": "daily",
        "holdfast:slot": slot,
    }
    if away:
        marks = {k: v for k, v in marks.items() if k != "holdfast:asset"}
        marks["holdfast:copy-of"] = arn(REGION, "snapshot", home_id)
    if automated:
        marks = {f"tag-{n}": f"value-{n}" for n in range(4)}
    created = taken + timedelta(hours=2 if away else 0, minutes=1)
    source = arn(REGION, "snapshot", home_id) if away else ""
    kind = "automated" if automated else "manual"
    return f"""<DBSnapshot><DBSnapshotIdentifier>{home_id}</DBSnapshotIdentifier><DBInstanceIdentifier>{name(i)}</DBInstanceIdentifier>\
<SnapshotCreateTime>{iso(created)}</SnapshotCreateTime><Engine>postgres</Engine><AllocatedStorage>200</AllocatedStorage><Status>available\
</Status><Port>5432</Port><AvailabilityZone>{region}a</AvailabilityZone><VpcId>vpc-0123456789abcdef0</VpcId>\
<InstanceCreateTime>{iso(taken - timedelta(days=400))}</InstanceCreateTime><MasterUsername>master</MasterUsername><EngineVersion>16.4\
</EngineVersion><LicenseModel>postgresql-license</LicenseModel><SnapshotType>{kind}</SnapshotType><Iops>3000</Iops>\
<OptionGroupName>default:postgres-16</OptionGroupName><PercentProgress>100</PercentProgress>\
{f"<SourceRegion>{REGION}</SourceRegion><SourceDBSnapshotIdentifier>{source}</SourceDBSnapshotIdentifier>" if away else ""}\
<StorageType>gp3</StorageType><Encrypted>true</Encrypted><KmsKeyId>arn:aws:kms:{region}:{ACCOUNT}:{KEY}</KmsKeyId>\
<DBSnapshotArn>{arn(region, "snapshot", home_id)}</DBSnapshotArn><IAMDatabaseAuthenticationEnabled>true</IAMDatabaseAuthenticationEnabled>\
<ProcessorFeatures/><DbiResourceId>{resource(i)}</DbiResourceId>{tags(own_tags(i) | marks)}\
<OriginalSnapshotCreateTime>{iso(taken + timedelta(minutes=1))}</OriginalSnapshotCreateTime>\
<SnapshotDatabaseTime>{iso(taken + timedelta(minutes=1))}</SnapshotDatabaseTime><SnapshotTarget>region</SnapshotTarget>\
<StorageThroughput>125</StorageThroughput><DedicatedLogVolume>false</DedicatedLogVolume><MultiTenant>false</MultiTenant></DBSnapshot>"""


class Aws:
    """RDS in two regions, and CloudWatch and SNS that take what they are sent. Counts requests by what they ask."""

    def __init__(self, databases: int, now: datetime, copies: bool):
        slot = due(now)
        one = range(databases)
        # The newest snapshot of each database is the daily one of the newest slot; RDS's own two are an hour older.
        own = [(n, slot - timedelta(days=n, hours=1)) for n in range(AUTOMATED)]
        daily = [(AUTOMATED + n, slot - timedelta(days=n)) for n in range(SNAPSHOTS - AUTOMATED)]
        home = [snapshot(i, REGION, taken, n) for i in one for n, taken in own + daily]
        away = [snapshot(i, AWAY, taken, n) for i in one for n, taken in daily[:COPIES]] if copies else []
        self.pages: dict[tuple[str, str, str], bytes] = {}
        self._list(REGION, "DBInstances", [instance(i, now) for i in one])
        self._list(REGION, "DBInstanceAutomatedBackups", [automated_backup(i, now) for i in one])
        for region, snapshots in ((REGION, home), (AWAY, away)):
            self._list(region, "DBClusters", [])
            self._list(region, "DBSnapshots", snapshots)
            self._list(region, "DBClusterSnapshots", [])
        self.calls: Counter[str] = Counter()
        self.sent = 0
        self.server = Server(self._handle)

    def _list(self, region: str, what: str, items: list[str]):
        action = f"Describe{what}"
        pages = [items[at : at + PAGE] for at in range(0, len(items), PAGE)] or [[]]
        for n, page in enumerate(pages):
            marker = f"<Marker>{n + 1}</Marker>" if n + 1 < len(pages) else ""
            body = f"""<?xml version="1.0" encoding="UTF-8"?><{action}Response xmlns="http://rds.amazonaws.com/doc/2014-10-31/">\
<{action}Result><{what}>{"".join(page)}</{what}>{marker}</{action}Result><ResponseMetadata><RequestId>\
{n:08}-0000-4000-8000-000000000000</RequestId></ResponseMetadata></{action}Response>"""
            self.pages[region, action, str(n or "")] = answer(body.encode(), content_type="text/xml")

    def _handle(self, request: Request):
        if "/operation/" in request.path:
            # CloudWatch speaks rpc-v2-cbor; an empty map says that there is no alarm, and that all went well.
            asked = request.path.rsplit("/", 1)[1]
            reply = answer(b"\xa0", smithy_protocol="rpc-v2-cbor", content_type="application/cbor")
        else:
            form = {k: v[0] for k, v in parse_qs(request.body.decode()).items()}
            asked = form["Action"]
            # The scope of the signature: key/day/region/service/aws4_request.
            region = request.headers["authorization"].split("/")[2]
            reply = self.pages.get((region, asked, form.get("Marker", "")))
            reply = reply or answer(f"<{asked}Response/>".encode(), "400 Bad Request", content_type="text/xml")
        self.calls[asked] += 1
        self.sent += len(reply)
        request.reply(reply)

    def take_calls(self) -> tuple[Counter[str], int]:
        """What was asked since this was last called, and the bytes sent."""
        calls, sent, self.calls, self.sent = self.calls, self.sent, Counter(), 0
        return calls, sent
