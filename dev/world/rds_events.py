"""Delivers an RDS event to the Lambdas whose rules on the default bus match it.

    python3 dev/world.py rds-event events/rds-snapshot-created.json

Nobody may PutEvents with a source of AWS' own, so this walks the rules as EventBridge would.
"""

import argparse
import json
import sys
from pathlib import Path

from botocore.exceptions import ClientError

from world.aws import client

TRANSFORMS = ("Input", "InputPath", "InputTransformer")


def matching_rules(event: str) -> list[str]:
    """The names of the enabled rules whose pattern matches the event."""
    events = client("events")
    rules = [rule for page in events.get_paginator("list_rules").paginate() for rule in page["Rules"]]
    return [
        rule["Name"] for rule in rules
        if rule["State"] == "ENABLED" and "EventPattern" in rule
        and events.test_event_pattern(EventPattern=rule["EventPattern"], Event=event)["Result"]
    ]


def deliver(event: str) -> list[dict[str, str]]:
    """Hands the event to every matching Lambda target, asynchronously; says which."""
    invoked = []
    for rule in matching_rules(event):
        for target in client("events").list_targets_by_rule(Rule=rule)["Targets"]:
            if ":lambda:" not in target["Arn"]:
                print(f"rds-event: rule {rule} has a target that is no Lambda: {target['Arn']}", file=sys.stderr)
                continue
            if changes := [name for name in TRANSFORMS if name in target]:
                sys.exit(f"rds-event: rule {rule} changes the event by {changes[0]}, which is not done here")
            client("lambda").invoke(FunctionName=target["Arn"], InvocationType="Event", Payload=event.encode())
            invoked.append({"rule": rule, "function": target["Arn"].rsplit(":", 1)[-1]})
    return invoked


def main() -> None:
    """Delivers the file that the command line names and prints what was invoked, as JSON."""
    parser = argparse.ArgumentParser(
        prog="world.py rds-event", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    try:
        event = json.loads(parser.parse_args().file.read_text())
        print(json.dumps({"invoked": deliver(json.dumps(event))}))
    except (OSError, ValueError, ClientError) as error:
        sys.exit(f"rds-event: {error}")


if __name__ == "__main__":
    main()
