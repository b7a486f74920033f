"""A small simulator of IAM: what a template's roles may do, with which parameters, to which ARN, under which conditions.

It knows what the templates of this repository use, and raises at anything else: a condition that it can't judge is no condition
that holds. `Template` resolves CloudFormation's functions for given parameters; `allows` judges statements; `trusts` judges who may
assume a role.
"""

import re

NOTHING = object()


def listed(value):
    return value if isinstance(value, list) else [value]


class Template:
    """A template with its parameters filled in."""

    def __init__(self, template, account, region="eu-west-1", stack="holdfast", **given):
        self.template = template
        self.pseudo = {
            "AWS::AccountId": account, "AWS::Region": region, "AWS::Partition": "aws", "AWS::StackName": stack,
            "AWS::NoValue": NOTHING, "AWS::URLSuffix": "amazonaws.com",
        }
        self.account, self.region = account, region
        self.parameters = {}
        for name, parameter in template["Parameters"].items():
            value = given.pop(name, parameter.get("Default"))
            if value is None:
                raise ValueError(f"{name} has no default: give it")
            many = parameter["Type"] == "CommaDelimitedList" or parameter["Type"].startswith("List<")
            self.parameters[name] = str(value).split(",") if many else str(value)
        if given:
            raise ValueError(f"no such parameters: {sorted(given)}")

    def condition(self, name):
        return self.truth(self.template["Conditions"][name])

    def truth(self, value):
        ((kind, inner),) = value.items()
        if kind == "Condition":
            return self.condition(inner)
        if kind == "Fn::Equals":
            first, second = map(self.resolve, inner)
            return first == second
        if kind == "Fn::Not":
            return not self.truth(inner[0])
        if kind in ("Fn::And", "Fn::Or"):
            return {"Fn::And": all, "Fn::Or": any}[kind](map(self.truth, inner))
        raise NotImplementedError(kind)

    def made(self, name):
        """Whether a resource is made with these parameters."""
        condition = self.template["Resources"][name].get("Condition")
        return condition is None or self.condition(condition)

    def named(self, name, attribute=None):
        """What Ref or GetAtt of a resource gives: enough of it to tell resources apart."""
        if name in self.pseudo or name in self.parameters:
            return self.pseudo.get(name, self.parameters.get(name))
        resource = self.template["Resources"][name]
        kind = resource["Type"]
        if kind == "AWS::S3::Bucket":
            bucket = self.resolve(resource.get("Properties", {}).get("BucketName", f"{name.lower()}-bucket"))
            return f"arn:aws:s3:::{bucket}" if attribute == "Arn" else bucket
        arn = {
            "AWS::IAM::Role": f"arn:aws:iam::{self.account}:role/{name}",
            "AWS::IAM::ManagedPolicy": name,
            "AWS::KMS::Key": f"arn:aws:kms:{self.region}:{self.account}:key/{name}",
        }
        return arn.get(kind, f"arn:aws:{kind.split('::')[1].lower()}:{self.region}:{self.account}:{name}")

    def resolve(self, value):
        """A value without CloudFormation's functions."""
        if isinstance(value, list):
            return [one for one in map(self.resolve, value) if one is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((kind, inner),) = value.items()
            if kind == "Ref":
                return self.named(inner)
            if kind == "Fn::GetAtt":
                name, attribute = inner if isinstance(inner, list) else inner.split(".", 1)
                return self.named(name, attribute)
            if kind == "Fn::If":
                return self.resolve(inner[1] if self.condition(inner[0]) else inner[2])
            if kind == "Fn::Join":
                return inner[0].join(self.resolve(inner[1]))
            if kind == "Fn::Split":
                return self.resolve(inner[1]).split(inner[0])
            if kind == "Fn::Select":
                return self.resolve(inner[1])[int(inner[0])]
            if kind == "Fn::Sub":
                text, given = inner if isinstance(inner, list) else (inner, {})
                given = self.resolve(given)

                def replaced(match):
                    name = match[1]
                    return given[name] if name in given else self.named(*name.split(".", 1))

                return re.sub(r"\$\{([\w:.]+)\}", replaced, text)
            if kind.startswith("Fn::"):
                raise NotImplementedError(kind)
        resolved = {key: self.resolve(inner) for key, inner in value.items()}
        return {key: inner for key, inner in resolved.items() if inner is not NOTHING}

    def statements(self, role):
        """Every statement of a role, its managed policies included."""
        properties = self.resolve(self.template["Resources"][role]["Properties"])
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        for managed in properties.get("ManagedPolicyArns", []):
            documents.append(self.resolve(self.template["Resources"][managed]["Properties"]["PolicyDocument"]))
        return [statement for document in documents for statement in listed(document["Statement"])]

    def roles(self):
        resources = self.template["Resources"].items()
        return [name for name, one in resources if one["Type"] == "AWS::IAM::Role" and self.made(name)]

    def may(self, role, action, arn, **context):
        """Whether a role may do that; `context` has the condition keys, with `__` for `:` and `/` where given so."""
        return allows(self.statements(role), action, arn, context)


def like(value, pattern):
    return re.fullmatch("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern), value, re.S) is not None


OPERATORS = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringLike": like,
    "ArnEquals": like,
    "ArnLike": like,
    "Bool": lambda value, wanted: str(value).lower() == str(wanted).lower(),
    "NumericLessThan": lambda value, wanted: float(value) < float(wanted),
    "NumericGreaterThan": lambda value, wanted: float(value) > float(wanted),
}


def met(conditions, context):
    """Whether all conditions hold. Keys don't heed case, as in IAM."""
    known = {key.lower(): value for key, value in context.items()}
    return all(
        met_one(operator, known.get(key.lower()), [str(one) for one in listed(wanted)])
        for operator, keys in conditions.items() for key, wanted in keys.items()
    )


def met_one(operator, value, wanted):
    if operator == "Null":
        return (value is None) == (wanted[0].lower() == "true")
    if operator.startswith("ForAllValues:"):
        values = [] if value is None else listed(value)
        return all(met_one(operator.split(":")[1], one, wanted) for one in values)
    if operator.endswith("IfExists"):
        return value is None or met_one(operator.removesuffix("IfExists"), value, wanted)
    negated = operator.replace("Not", "", 1) if "Not" in operator else None
    if negated:
        return value is None or not met_one(negated, value, wanted)
    judge = OPERATORS[operator]  # KeyError: teach it this operator
    return value is not None and any(judge(value, one) for one in wanted)


def concerns(statement, action, arn):
    if {"NotAction", "NotResource", "NotPrincipal"} & set(statement):
        raise NotImplementedError("NotAction and its kin are not used here")
    actions = any(like(action.lower(), one.lower()) for one in listed(statement["Action"]))
    return actions and any(like(arn, one) for one in listed(statement.get("Resource", arn)))


def allows(statements, action, arn, context):
    """IAM's rule: a Deny that fits wins, and otherwise an Allow is needed."""
    fitting = [s for s in statements if concerns(s, action, arn) and met(s.get("Condition", {}), context)]
    effects = {statement["Effect"] for statement in fitting}
    return "Allow" in effects and "Deny" not in effects


def speaks_to(statement, principal):
    """Whether a statement of a trust or resource policy is for a principal's ARN, or a service's name."""
    named = statement["Principal"]
    if named == "*":
        return True
    given = [one for kind in named.values() for one in listed(kind)]
    account = principal.split(":")[4] if principal.startswith("arn:") else None
    return any(one in ("*", principal, account) or one == f"arn:aws:iam::{account}:root" for one in given)


def trusts(document, principal, action="sts:AssumeRole", **context):
    """Whether a role's trust policy lets a principal assume it."""
    account = principal.split(":")[4] if principal.startswith("arn:") else None
    context = {"aws:PrincipalArn": principal, "aws:PrincipalAccount": account} | context
    mine = [{**one, "Resource": "*"} for one in listed(document["Statement"]) if speaks_to(one, principal)]
    return allows(mine, action, "*", context)
