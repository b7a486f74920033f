"""policies/lomash-wood.yaml as the local world can run it: one account plays both, and its quota of snapshots is a larger one."""

import atexit
import shutil
import tempfile
from pathlib import Path

import yaml

from world.paths import DEV

SHIPPED = DEV.parent / "policies" / "lomash-wood.yaml"


def fitted(*, whole: bool = False) -> dict:
    """The policy as data. The vault is another region of the same account, and what is taken daily are snapshots of ours, of
    which a test can count each; AWS's own automated ones come and go as the local RDS likes. Drills of dumps and secrets are in the
    whole one only: they have tests of their own, and nothing is proven in a world that is a minute old."""
    policy = yaml.safe_load(SHIPPED.read_text())
    account = policy["home"]["account"]
    virginia = policy["destinations"]["virginia"]
    for role in ["account", "role", "read_role", "external_id", "reencrypt_kms_key"]:
        del virginia[role]
    virginia["kms_key"] = f"arn:aws:kms:us-east-1:{account}:alias/lomash-wood-offsite"
    fleet = policy["databases"]["fleet"]
    fleet["snapshots"]["daily"] = {"schedule": {"cron": "0 2 * * *"}, "keep": {"for": "35d"}}
    fleet["copies"] = [{"to": "virginia", "of": ["daily", "pre-deploy"], "keep": {"newest": 7}, "max_age": "26h"}]
    # No Redis answers here: its hourly files are put there by the world, and watched.
    for asked in ["address", "settings"]:
        del policy["redis"]["redis"][asked]
    if not whole:
        del policy["drills"]["dump-restore"], policy["drills"]["secret-restore"], policy["secrets"]
    return policy


def written(*, whole: bool = False) -> Path:
    """That policy as a file, for as long as this process lives."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-policy-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / SHIPPED.name
    path.write_text(yaml.safe_dump(fitted(whole=whole), sort_keys=False))
    return path
