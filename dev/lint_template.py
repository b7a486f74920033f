"""Lints template.yaml twice, offline: as it is written, and as AWS will get it; and deploy/fargate.yaml, deploy/vault.yaml.

cfn-lint does not look into SAM's own resources (a wrong timeout, a misspelt action, `Effect: Alow` pass it), so the template is
expanded first, by the code that AWS itself expands it with, and the result is linted too.

    .cache/lint/bin/python dev/lint_template.py            any finding: exit 1
    .cache/lint/bin/python dev/lint_template.py --print    the expanded template, as JSON

Needs the Python of a venv with aws-sam-cli and cfn-lint (dev/requirements-lint.txt).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Before samtranslator is imported: it asks boto3 for a region. Any will do; no call is made, so no credentials are needed.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
os.environ["SAM_CLI_TELEMETRY"] = "0"

from samcli.yamlhelper import yaml_parse  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "template.yaml"
# Plain CloudFormation, linted as it is.
PLAIN = [ROOT / "deploy" / "fargate.yaml", ROOT / "deploy" / "vault.yaml"]


class NoManagedPolicies:
    """SAM asks for AWS's managed policies by name; the template uses none."""

    def load(self):
        return {}


def expand(text):
    """The plain CloudFormation, as a dict, that the SAM template `text` stands for."""
    template = yaml_parse(text)
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
