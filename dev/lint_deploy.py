"""Checks deploy/ offline: the Kubernetes manifest by Kubernetes' own schemas, and by what no schema says; the Dockerfile; .github/.

    .cache/lint/bin/python dev/lint_deploy.py

deploy/fargate.yaml is looked at by lint_template.py. Needs the Python of the venv `lint` (dev/requirements-lint.txt).
"""

import json
import re
import subprocess
import tomllib
import unittest

import kubernetes_validate
import yaml
from dockerfile_parse import DockerfileParser
from samcli.yamlhelper import yaml_parse

from lint_template import PLAIN, ROOT

# The oldest and the newest Kubernetes that providers run.
VERSIONS = ["1.31", "1.36"]
MANIFESTS = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
POLICIES = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "policies").glob("*.yaml")}
CREDENTIALS = re.compile("PASSWORD|SECRET|ACCESS_KEY|TOKEN|PASSPHRASE")


def documents():
    return [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]


def of_kind(kind):
    return [document for document in documents() if document["kind"] == kind]


class Kubernetes(unittest.TestCase):
    def test_each_document_is_what_kubernetes_knows(self):
        for document in documents():
            for version in VERSIONS:
                kubernetes_validate.validate(document, version, strict=True)

    def test_a_misspelt_field_is_seen(self):
        (job, *_) = of_kind("CronJob")
        job["spec"]["concurencyPolicy"] = job["spec"].pop("concurrencyPolicy")
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(job, VERSIONS[0], strict=True)

    def test_one_run_at_a_time_that_ends_and_is_not_retried_for_ever(self):
        for job in of_kind("CronJob"):
            spec, run = job["spec"], job["spec"]["jobTemplate"]["spec"]
            self.assertEqual((spec["concurrencyPolicy"], spec["timeZone"]), ("Forbid", "Etc/UTC"))
            self.assertLessEqual(run["backoffLimit"], 3)
            self.assertGreater(run["activeDeadlineSeconds"], 0)
            self.assertEqual(run["template"]["spec"]["restartPolicy"], "Never")

    def test_nothing_runs_as_root_or_writes_to_its_image(self):
        for job in of_kind("CronJob"):
            pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            for container in pod["containers"]:
                context = container["securityContext"]
                self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                self.assertEqual((context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]), (True, False))
                self.assertRegex(container["resources"]["limits"]["memory"], r"^(128|192|256)Mi$")

    def test_credentials_come_from_secrets_and_stand_nowhere(self):
        for job in of_kind("CronJob"):
            pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
            for variable in (each for container in pod["containers"] for each in container["env"]):
                if CREDENTIALS.search(variable["name"]):
                    self.assertIn("secretKeyRef", variable["valueFrom"], variable["name"])
        self.assertEqual(of_kind("Secret"), [])

    def test_it_dumps_a_group_that_the_policy_has_with_the_variables_that_it_names(self):
        for job in of_kind("CronJob"):
            pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
            policy = POLICIES[job["metadata"]["namespace"]]
            (container,) = pod["containers"]
            group = policy["postgres"][container["args"][-1]]
            self.assertIn(group["password"]["env"], [each["name"] for each in container["env"]])
            home = next(each["value"] for each in container["env"] if each["name"] == "AWS_REGION")
            self.assertEqual(home, policy["home"]["region"])
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            self.assertTrue(container["args"][container["args"].index("--policy") + 1].startswith(mounts["policy"]))


class Workflows(unittest.TestCase):
    def setUp(self):
        self.files = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}

    def jobs(self):
        return [(f"{file}/{name}", job) for file, workflow in self.files.items() for name, job in workflow["jobs"].items()]

    def test_every_file_is_yaml(self):
        self.assertEqual(set(self.files), {"test", "release"})
        for path in (ROOT / ".github").rglob("*.yml"):
            self.assertIsInstance(yaml.safe_load(path.read_text()), dict, path)

    def test_nothing_may_write_unless_its_job_says_so_and_each_ends(self):
        for workflow in self.files.values():
            self.assertEqual(workflow["permissions"], {"contents": "read"})
        for name, job in self.jobs():
            self.assertTrue("uses" in job or job["timeout-minutes"] <= 120, name)
            for need in [job.get("needs", [])] if isinstance(job.get("needs"), str) else job.get("needs", []):
                self.assertIn(need, self.files[name.split("/")[0]]["jobs"], name)

    def test_actions_are_pinned_and_no_script_holds_an_expression(self):
        """What GitHub puts in for `${{ }}` in a script would be run; it goes by the environment."""
        for name, job in self.jobs():
            for step in job.get("steps", []):
                self.assertNotIn("${{", step.get("run", ""), name)
                if "uses" in step:
                    self.assertRegex(step["uses"], r"^[\w.-]+/[\w./-]+@(v\d+(\.\d+)*|[0-9a-f]{40})$", name)

    def test_the_compiler_is_the_one_that_the_workspace_asks_for(self):
        asked = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
        self.assertEqual(self.files["test"]["env"]["RUSTUP_TOOLCHAIN"], f"{asked}.0")
        self.assertTrue(self.files["release"]["jobs"]["binaries"]["container"].startswith(f"rust:{asked}-"))


class Image(unittest.TestCase):
    def setUp(self):
        self.steps = DockerfileParser(path=str(DOCKERFILE)).structure
        self.final = self.steps[max(i for i, step in enumerate(self.steps) if step["instruction"] == "FROM"):]

    def only(self, instruction):
        (step,) = [step for step in self.final if step["instruction"] == instruction]
        return step["value"]

    def test_it_has_the_clients_of_every_supported_postgresql(self):
        found = re.findall(r"postgresql-client-(\d+)", " ".join(step["value"] for step in self.final))
        self.assertEqual(found, ["13", "14", "15", "16", "17", "18"])

    def test_it_runs_as_nobody_known_by_a_number_as_the_manifest_does(self):
        user = self.only("USER")
        self.assertRegex(user, r"^[1-9]\d*:[1-9]\d*$")
        for job in of_kind("CronJob"):
            context = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["securityContext"]
            self.assertEqual(f"{context['runAsUser']}:{context['runAsGroup']}", user)

    def test_its_entry_is_the_lambda_and_the_others_name_the_command_that_is_there(self):
        self.assertEqual(json.loads(self.only("ENTRYPOINT")), ["/usr/local/bin/dump"])
        copied = self.only("COPY").split()
        self.assertEqual((copied[-1], "/out/holdfast" in copied, "/out/dump" in copied), ("/usr/local/bin/", True, True))
        (container,) = of_kind("CronJob")[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        (fargate,) = yaml_parse(PLAIN[0].read_text())["Resources"]["Task"]["Properties"]["ContainerDefinitions"]
        self.assertEqual((container["command"], fargate["EntryPoint"]), (["/usr/local/bin/holdfast"], ["/usr/local/bin/holdfast"]))

    def test_the_compiler_is_the_one_that_the_workspace_asks_for(self):
        asked = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
        self.assertTrue(self.steps_from().startswith(f"rust:{asked}-"), self.steps_from())

    def steps_from(self):
        return next(step["value"] for step in self.steps if step["instruction"] == "FROM")

    def test_each_member_of_the_workspace_goes_to_the_build(self):
        members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
        folders = {member.split("/")[0] for member in members}
        kept = {line.strip()[1:] for line in (DOCKERFILE.with_name("Dockerfile.dockerignore")).read_text().splitlines() if line.startswith("!")}
        self.assertLessEqual(folders | {"Cargo.lock", "Cargo.toml", ".cargo"}, kept)

    def test_its_shell_is_a_shell(self):
        for step in self.steps:
            if step["instruction"] == "RUN":
                script = re.sub(r"^(--\S+\s+)+", "", step["value"])
                done = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True)
                self.assertEqual(done.returncode, 0, f"{script}\n{done.stderr}")


if __name__ == "__main__":
    unittest.main()
