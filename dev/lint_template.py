"""Lints template.yaml twice, offline: as it is written, and as AWS will get it; and deploy/fargate.yaml, deploy/vault.yaml.

cfn-lint does not look into SAM's own resources (a wrong timeout, a misspelt action, `Effect: Alow` pass it), so the template is
expanded first, its loops by cfn-lint and the rest by the code that AWS itself expands it with, and the result is linted too.

    .cache/lint/bin/python dev/lint_template.py            any finding: exit 1
    .cache/lint/bin/python dev/lint_template.py --print    the expanded template, as JSON

Needs the Python of a venv with aws-sam-cli and cfn-lint (dev/requirements-lint.txt).
"""

import copy
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Before samtranslator is imported: it asks boto3 for a region. Any will do; no call is made, so no credentials are needed.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
os.environ["SAM_CLI_TELEMETRY"] = "0"

from cfnlint import Template
from cfnlint.decode import decode_str
from cfnlint.template.transforms._language_extensions import language_extension
from samtranslator.translator.transform import transform

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "template.yaml"
# Plain CloudFormation, linted as it is.
PLAIN = [ROOT / "deploy" / "fargate.yaml", ROOT / "deploy" / "vault.yaml"]


class NoManagedPolicies:
    """SAM asks for AWS's managed policies by name; the template uses none."""

    def load(self):
        return {}


def filled_in(value):
    """A value whose `Fn::Sub` with constants of a loop has become the text that it stands for."""
    if isinstance(value, list):
        return [filled_in(one) for one in value]
    if not isinstance(value, dict):
        return value
    value = {key: filled_in(one) for key, one in value.items()}
    if isinstance(value.get("Fn::Sub"), list):
        text, given = value["Fn::Sub"]
        for name in [name for name, one in given.items() if isinstance(one, str)]:
            text = text.replace("${" + name + "}", given.pop(name))
        value["Fn::Sub"] = [text, given] if given else text
    return value


def without_loops(text):
    """The SAM template `text`, as a dict, with what its loops (`Fn::ForEach`) make in their place."""
    written, faults = decode_str(text)
    if not faults:
        read = Template(str(TEMPLATE), copy.deepcopy(written), [os.environ["AWS_DEFAULT_REGION"]])
        read.template = written  # what it was given is sorted by now
        faults, written = language_extension(read)
    if faults:
        raise ValueError("\n".join(map(str, faults)))
    # Plain data in place of cfn-lint's, which remembers lines.
    return filled_in(json.loads(json.dumps(written)))


def expand(text):
    """The plain CloudFormation, as a dict, that the SAM template `text` stands for."""
    template = without_loops(text)
    # What the loops took from is spent; nothing else uses a mapping.
    del template["Mappings"]
    template["Transform"] = "AWS::Serverless-2016-10-31"
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://not-built/bootstrap.zip"
    return transform(template, {}, NoManagedPolicies())


def passes(*command):
    """Runs a tool of this Python's own venv and says whether it found nothing."""
    done = subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        print(f"--- {' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}", file=sys.stderr)
    return done.returncode == 0


def main():
    expanded = json.dumps(expand(TEMPLATE.read_text()), indent=1)
    if "--print" in sys.argv:
        print(expanded)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "expanded.json"
        plain.write_text(expanded)
        results = [
            passes("cfn-lint", "--", str(TEMPLATE)),
            passes("cfn-lint", "--", str(plain)),
            *(passes("cfn-lint", "--", str(file)) for file in PLAIN),
            passes("sam", "validate", "--lint", "--template", str(TEMPLATE)),
        ]
    print("template.yaml, deploy/fargate.yaml, deploy/vault.yaml: " + ("no findings" if all(results) else "see the findings above"))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
