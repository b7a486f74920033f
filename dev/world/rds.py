"""moto's server, with a resource id for each DB instance; moto gives one and the same to all, and none to automated backups.

RDS tells databases apart by it, whatever they are called, and so does Holdfast.
Runs in moto's own environment:  PYTHONPATH=dev python -m world.rds -H 127.0.0.1 -p PORT
"""

import base64
import os
import sys
from typing import Any

from moto.rds.models import DBInstance, DBInstanceAutomatedBackup
from moto.server import main

made = DBInstance.__init__


def with_resource_id(self: DBInstance, *arguments: Any, **more: Any) -> None:
    """A new instance: one that is made again under an old name has another id."""
    made(self, *arguments, **more)
    self.dbi_resource_id = f"db-{base64.b32encode(os.urandom(16)).decode().rstrip('=')}"


def of_its_instance(self: DBInstanceAutomatedBackup) -> str:
    """The resource id of the instance that an automated backup is of."""
    return self.automated_snapshots[-1].dbi_resource_id


if __name__ == "__main__":
    DBInstance.__init__ = with_resource_id
    DBInstanceAutomatedBackup.dbi_resource_id = property(of_its_instance)
    sys.exit(main())
