"""Fits the project's SAM template to the local world: built code in, what ministack cannot create out. No I/O.

Loops (`Fn::ForEach`) stay as they are: ministack expands them itself, and what they make needs no fitting.
"""

from collections.abc import Callable, Iterator

import yaml

FUNCTION = "AWS::Serverless::Function"
IMAGE_FUNCTION = "AWS::Lambda::Function"
LOOP = "Fn::ForEach::"
UNKNOWN = {"AWS::CloudWatch::CompositeAlarm", "AWS::RDS::EventSubscription"}
UNKNOWN_CONDITIONS = {"cloudwatch:namespace", "s3:prefix", "s3:if-none-match", "s3:ObjectCreationOperation"}
NOT_APPLIED = ["LifecycleConfiguration", "ObjectLockConfiguration", "Tags"]


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's YAML, with `!Ref` and its kin as the JSON form writes them."""


def short_form(loader: Loader, suffix: str, node: yaml.Node) -> dict:
    """`!Name value` as `{"Fn::Name": value}`."""
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", short_form)
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(text: str) -> dict:
    """The template as plain data, ready to be written as JSON."""
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"the template is no YAML: {error}") from error


def unsupported(resource: dict) -> str | None:
    """Why ministack cannot create this resource, if it cannot."""
    properties = resource.get("Properties", {})
    if resource["Type"] in UNKNOWN:
        return f"ministack does not know {resource['Type']}"
    if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in properties:
        return "ministack cannot create alarms on metric math"
    if resource["Type"] == "AWS::S3::BucketPolicy" and "aws:SecureTransport" in str(properties):
        return "ministack speaks plain HTTP, which it refuses"
    return None


def references(value: object) -> Iterator[str]:
    """The logical names that a piece of a template refers to by Ref or GetAtt."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "Ref" and isinstance(inner, str):
                yield inner
            elif key == "Fn::GetAtt" and isinstance(inner[0], str):
                yield inner[0]
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def written_out(template: dict) -> dict[str, dict]:
    """The template's resources but for those that loops make."""
    return {name: resource for name, resource in template["Resources"].items() if not name.startswith(LOOP)}


def drop_unsupported(template: dict) -> list[str]:
    """Takes out what cannot be created, and outputs and orderings that lean on it. Returns a note for each."""
    resources = template["Resources"]
    reasons = {name: reason for name, resource in written_out(template).items() if (reason := unsupported(resource))}
    for name in reasons:
        del resources[name]
    for resource in written_out(template).values():
        if "DependsOn" in resource:
            after = resource["DependsOn"]
            after = [after] if isinstance(after, str) else after
            resource["DependsOn"] = [name for name in after if name not in reasons]
    outputs = template.get("Outputs", {})
    for output in [name for name, output in outputs.items() if reasons.keys() & set(references(output))]:
        del outputs[output]
        reasons[f"output {output}"] = "it refers to something dropped"
    ignored = [
        f"kept {name}, but ministack does not apply its {what}"
        for name, resource in written_out(template).items() if resource["Type"] == "AWS::S3::Bucket"
        for what in NOT_APPLIED if what in resource.get("Properties", {})
    ]
    return [f"dropped {name}: {reason}" for name, reason in reasons.items()] + ignored


def drop_unknown_conditions(value: object) -> int:
    """Takes out IAM conditions on keys that ministack does not know, which it would hold to be unmet.

    Returns how many. AWS knows the keys, so the template keeps them.
    """
    if isinstance(value, list):
        return sum(map(drop_unknown_conditions, value))
    if not isinstance(value, dict):
        return 0
    dropped = sum(map(drop_unknown_conditions, value.values()))
    condition = value.get("Condition")
    if "Effect" in value and isinstance(condition, dict):
        for operator in [name for name, keys in condition.items() if UNKNOWN_CONDITIONS & set(keys)]:
            for key in UNKNOWN_CONDITIONS & set(condition[operator]):
                del condition[operator][key]
                dropped += 1
            if not condition[operator]:
                del condition[operator]
        if not condition:
            del value["Condition"]
    return dropped


def fit(template: dict) -> list[str]:
    """Takes out all that ministack cannot do. Returns a note for each."""
    notes = drop_unsupported(template)
    if count := drop_unknown_conditions(template["Resources"]):
        keys = " and ".join(sorted(UNKNOWN_CONDITIONS))
        notes.append(f"dropped {count} IAM condition(s) on {keys}: ministack does not know them")
    return notes


def binary_names(logical_name: str, resource: dict) -> list[str]:
    """What the function's binary may be called, likeliest first."""
    binary = resource.get("Metadata", {}).get("BuildProperties", {}).get("Binary")
    code = resource["Properties"].get("CodeUri")
    folder = code.rstrip("/").rsplit("/", 1)[-1] if isinstance(code, str) else None
    short = logical_name.removesuffix("Function").lower()
    return [name for name in (binary, folder, short) if name]


def unpack_image(resource: dict, code: dict) -> None:
    """Makes a function by image into one by zip: nothing here runs containers, and the image's program is a bootstrap."""
    properties = resource["Properties"]
    del properties["PackageType"]
    properties["Code"] = {"S3Bucket": code["Bucket"], "S3Key": code["Key"]}
    properties |= {"Runtime": "provided.al2023", "Handler": "bootstrap"}


def set_code(template: dict, upload: Callable[[str, list[str]], dict], images: bool) -> None:
    """Points each function at its built code; `upload` takes its logical and possible binary names.

    Functions by image are left as they are unless `images`: then their parameter gives one, and they are made.
    """
    for name, resource in written_out(template).items():
        if resource["Type"] == FUNCTION:
            resource["Properties"]["CodeUri"] = upload(name, binary_names(name, resource))
            resource.pop("Metadata", None)
        elif resource["Type"] == IMAGE_FUNCTION and images:
            unpack_image(resource, upload(name, binary_names(name, resource)))
