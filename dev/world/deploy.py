"""Deploys a SAM template into the running world and prints its outputs and functions as JSON.

    python3 dev/world.py deploy --bootstraps target/lambda --policy policies/lomash-wood.yaml --policy-key policy.yaml \\
        --param Company=lomash-wood --param PolicyBucket=lomash-wood-holdfast

What ministack cannot create is left out, with a note on stderr for each. With a DumpImage, whatever it says, the function dump is
made from the built binary of that name, by its role and schedule in the template.
"""

import argparse
import io
import json
import sys
import time
import zipfile
from pathlib import Path

from botocore.exceptions import ClientError

from world import fleet, lomash, template
from world.aws import client
from world.paths import DEV

CODE_BUCKET = "holdfast-dev-code"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
PATIENCE = 120


class Failed(Exception):
    """The deployment did not succeed."""


def find_binary(bootstraps: Path, names: list[str]) -> Path:
    """The built binary: DIR/<name>/bootstrap or DIR/<name>."""
    for name in names:
        for path in (bootstraps / name / "bootstrap", bootstraps / name):
            if path.is_file():
                return path
    raise Failed(f"no binary {' or '.join(dict.fromkeys(names))} in {bootstraps}")


def zipped(binary: Path) -> bytes:
    """The binary as Lambda wants it: a zip with an executable `bootstrap`."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:  # stored: packing a debug build takes longer than copying it
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o100755 << 16
        archive.writestr(entry, binary.read_bytes())
    return whole.getvalue()


def ensure_bucket(name: str) -> None:
    """Makes a bucket unless it is there."""
    s3 = client("s3")
    try:
        s3.head_bucket(Bucket=name)
    except ClientError:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})


def upload_code(bootstraps: Path, function: str, names: list[str]) -> dict[str, str]:
    """Uploads a function's code and returns the CodeUri that points at it."""
    key = f"{function}.zip"
    client("s3").put_object(Bucket=CODE_BUCKET, Key=key, Body=zipped(find_binary(bootstraps, names)))
    return {"Bucket": CODE_BUCKET, "Key": key}


def failures(stack: str) -> str:
    """Why the stack's resources failed."""
    events = client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    failed = [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', event['ResourceStatus'])}"
        for event in reversed(events) if event["ResourceStatus"].endswith("_FAILED")
    ]
    return "\n  ".join(failed) or "no reason given"


def create_stack(stack: str, body: dict, parameters: dict[str, str]) -> dict:
    """Creates the stack, waits for it, and returns its description."""
    cloudformation, s3 = client("cloudformation"), client("s3")
    # By way of S3, as `sam deploy` does it: in the call itself a template may have 51,200 bytes.
    s3.put_object(Bucket=CODE_BUCKET, Key="template.json", Body=json.dumps(body).encode())
    url = f"{s3.meta.endpoint_url}/{CODE_BUCKET}/template.json"
    cloudformation.create_stack(
        StackName=stack, TemplateURL=url, Capabilities=CAPABILITIES,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()])
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
        if described["StackStatus"] == "CREATE_COMPLETE":
            return described
        if not described["StackStatus"].endswith("_IN_PROGRESS") or "ROLLBACK" in described["StackStatus"]:
            raise Failed(f"{stack} is {described['StackStatus']}:\n  {failures(stack)}")
        time.sleep(0.1)
    raise Failed(f"{stack} was not complete within {PATIENCE} s")


def functions(stack: str) -> dict[str, str]:
    """The stack's functions: logical name to real name."""
    listed = client("cloudformation").list_stack_resources(StackName=stack)["StackResourceSummaries"]
    return {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for each in listed if each["ResourceType"] == "AWS::Lambda::Function"
    }


def policy_text(path: Path) -> bytes:
    """The policy; Lomash Wood's own as the local world can run it."""
    if path.exists() and path.samefile(lomash.SHIPPED):
        return lomash.written().read_bytes()
    return path.read_bytes()


def deploy(options: argparse.Namespace) -> dict:
    """Does it all: policy, code, stack. Returns what to print."""
    if options.policy:
        ensure_bucket(options.policy_bucket)
        client("s3").put_object(
            Bucket=options.policy_bucket, Key=options.policy_key or options.policy.name,
            Body=policy_text(options.policy))
    ensure_bucket(CODE_BUCKET)
    body = template.load(options.template.read_text())
    for note in template.fit(body):
        print(f"deploy: {note}", file=sys.stderr)
    parameters = dict(each.split("=", 1) for each in options.param)
    template.set_code(
        body, lambda name, names: upload_code(options.bootstraps, name, names), images=bool(parameters.get("DumpImage")))
    described = create_stack(options.stack, body, parameters)
    outputs = {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", [])}
    return {"stack": options.stack, "outputs": outputs, "functions": functions(options.stack)}


def main() -> None:
    """Reads the command line, deploys, and prints."""
    parser = argparse.ArgumentParser(
        prog="world.py deploy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstraps", type=Path, required=True, metavar="DIR",
                        help="has DIR/<function>/bootstrap or DIR/<function>")
    parser.add_argument("--template", type=Path, default=DEV.parent / "template.yaml")
    parser.add_argument("--stack", default="holdfast")
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="put this policy into the policy bucket")
    parser.add_argument("--policy-bucket", default=fleet.POLICIES)
    parser.add_argument("--policy-key", help="its key there; the file's name unless given")
    options = parser.parse_args()
    if wrong := [each for each in options.param if "=" not in each]:
        parser.error(f"--param wants NAME=VALUE, not {wrong[0]}")
    try:
        print(json.dumps(deploy(options)))
    except (Failed, ClientError, OSError, ValueError) as error:
        sys.exit(f"deploy: {error}")


if __name__ == "__main__":
    main()
