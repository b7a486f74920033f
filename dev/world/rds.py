"""moto's server, with a resource id for each DB instance; moto gives one and the same to all, and none to automated backups.

RDS tells databases apart by it, whatever they are called, and so does Holdfast.
RDS also takes a snapshot of its own each day, and moto one when the instance is made: who asks this server for a snapshot
named `rds-...` gets that day's, `rds:...`.
Runs in moto's own environment:  PYTHONPATH=dev python -m world.rds -H 127.0.0.1 -p PORT
"""

import base64
import os
import sys
from typing import Any

from moto.rds.models import DBInstance, DBInstanceAutomatedBackup, DBSnapshot, RDSBackend
from moto.server import main

made = DBInstance.__init__
taken = RDSBackend.create_db_snapshot


def with_resource_id(self: DBInstance, *arguments: Any, **more: Any) -> None:
    """A new instance: one that is made again under an old name has another id."""
    made(self, *arguments, **more)
    self.dbi_resource_id = f"db-{base64.b32encode(os.urandom(16)).decode().rstrip('=')}"


def of_its_instance(self: DBInstanceAutomatedBackup) -> str:
    """The resource id of the instance that an automated backup is of."""
    return self.automated_snapshots[-1].dbi_resource_id


def or_its_own(
    self: RDSBackend, db_instance_identifier: str, db_snapshot_identifier: str, snapshot_type: str = "manual", **more: Any,
) -> DBSnapshot:
    """A snapshot; RDS's own when it is called so."""
    if db_snapshot_identifier.startswith("rds-"):
        db_snapshot_identifier, snapshot_type = f"rds:{db_snapshot_identifier[4:]}", "automated"
    return taken(self, db_instance_identifier, db_snapshot_identifier, snapshot_type, **more)


if __name__ == "__main__":
    RDSBackend.create_db_snapshot = or_its_own
    DBInstance.__init__ = with_resource_id
    DBInstanceAutomatedBackup.dbi_resource_id = property(of_its_instance)
    sys.exit(main())
