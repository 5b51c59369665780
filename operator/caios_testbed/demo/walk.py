"""The vendor's tutorial with the operator in place of the vendor's webhook; then the short way.

In the short way one binding does all that the tutorial has people do. Every manifest of the
tutorial is its own but for the names of the images. Each step checks what it shows, so that the
walk ends well only if the Pods could do what they should, and nothing else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from caios_testbed.cluster.waiting import eventually
from caios_testbed.coreweave.settings import DEMO_ORGANIZATION, DEMO_TOKEN
from caios_testbed.demo.stage import Images, Stage
from caios_testbed.demo.terminal import LIMIT_SECONDS, Terminal
from caios_testbed.product import CHECKOUT, CommandError
from caios_testbed.release import CHART, NAME

TUTORIAL = CHECKOUT / "deploy" / "samples" / "tutorial"
MANAGED = CHECKOUT / "deploy" / "samples" / "managed"
FEDERATION = "default"
REGION = "US-CENTRAL-05A"
TEAM = "vision"
READER = "reader"
TOKEN_SECRET = "coreweave-api-token"  # noqa: S105  # a Secret's name
ACCOUNT = "my-object-storage-sa"
BINDING = "object-storage"
BUCKETS = ["checkpoints", "training-data"]
"""What the workload makes; the bucket list must show exactly these."""
CONFIGURATIONS = "/coreweave.workload_federation.control_plane.v1beta1.WFControlPlaneService"
API = "https://api.coreweave.com"
POLICIES = "/v1/cwobject/access-policy"
WAIT_SECONDS = 60
EVENTS = "-o=custom-columns=REASON:.reason,OBJECT:.involvedObject.name,MESSAGE:.message"
POLICY_NAME = "-o=jsonpath={.status.policy.name}"


class DemoError(Exception):
    """A step did not show what it has to show."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk over the stage, told to a terminal."""

    stage: Stage
    terminal: Terminal
    images: Images

    def tutorial(self) -> None:
        """Walk the tutorial, then show what happens without its policy. Raises DemoError."""
        self.clear()
        self.install()
        issuer = self.register()
        principal = self.annotate(issuer)
        policy = self.grant(principal)
        self.run_workload()
        self.list_buckets()
        self.deny(policy)

    def short_way(self) -> None:
        """Have one binding do it all, and see that it does no more. Raises DemoError."""
        self.manage()
        policy = self.bind()
        self.use()
        self.unbind(policy)

    def clear(self) -> None:
        """Remove what an earlier walk on this cluster left, so that this one shows the same."""
        kubectl, release = self.stage.kubectl, self.stage.release
        if "storagefederations" in kubectl.run("get", "crd", "-o=name"):
            gone = ("delete", "--ignore-not-found", "--wait", "--timeout=30s")
            manifests = ("-f", MANAGED / "reader-pod.yaml", "-f", MANAGED / "reader.yaml")
            kubectl.run(*gone, *manifests, "-f", TUTORIAL)
        if release.installed:
            release.uninstall()
            secret = ("delete", "secret", TOKEN_SECRET, f"--namespace={release.namespace}")
            kubectl.run(*secret, "--ignore-not-found")

    def install(self) -> None:
        """Install the operator, and say organization and region once."""
        self.terminal.heading("Install the operator (in place of the Pod Identity Webhook)")
        tag = self.images.operator.rpartition(":")[2]
        self.terminal.run(
            self.stage.release.helm(
                "install",
                *(NAME, str(CHART), "--create-namespace"),
                *("--set", f"config.orgID={DEMO_ORGANIZATION}"),
                *("--set", f"config.region={REGION}"),
                *("--set", f"image.tag={tag}"),
                *("--set-file", f"coreweave.caBundle={self.stage.ca_file}"),
            )
        )
        self.stage.release.publish_service()
        where = f"--namespace={self.stage.release.namespace}"
        limit = f"--timeout={LIMIT_SECONDS}s"
        self.kubectl("wait", "--for=condition=Available", "deployment", "--all", where, limit)
        self.kubectl("get", "pods", where)
        self.wait_ready(FEDERATION, kind="sfed")
        self.terminal.say("The chart made this of config.orgID and config.region:")
        self.kubectl("get", "sfed")
        self.kubectl("get", "mutatingwebhookconfigurations")

    def register(self) -> str:
        """Register the cluster's issuer, as the Console's form does. Return the issuer."""
        self.terminal.heading("Configure OIDC workload federation")
        document = json.loads(self.kubectl("get", "--raw", "/.well-known/openid-configuration"))
        issuer = str(document["issuer"])
        self.terminal.say("The Console's form: the issuer URL as Issuer URL and as Client ID.")
        form = {"name": "cks-object-storage", "issuerUrl": issuer, "audience": issuer}
        self.coreweave("POST", f"{CONFIGURATIONS}/CreateOIDCConfig", form)
        return issuer

    def annotate(self, issuer: str) -> str:
        """Annotate a ServiceAccount; return the principal that its binding shows."""
        self.terminal.heading("Use your service account")
        self.apply("object-storage-sa.yaml")
        path = r"jsonpath={.metadata.annotations.caios\.coreweave\.com/inject}"
        self.expect("true", self.kubectl("get", "serviceaccounts", ACCOUNT, f"-o={path}"))
        self.wait_ready(ACCOUNT)
        self.kubectl("get", "fsb", "-A")
        principal = self.kubectl("get", "fsb", ACCOUNT, "-o=jsonpath={.status.principal}")
        self.expect(f"role/{issuer}:system:serviceaccount:default:{ACCOUNT}", principal)
        return principal

    def grant(self, principal: str) -> str:
        """Take the policy from a binding's status and apply it. Return the policy's name."""
        self.terminal.heading("Grant the service account access to Object Storage")
        self.terminal.say("A binding says what to grant; its status holds the policy to enter.")
        self.apply("object-storage-fsb.yaml")
        self.wait_ready(BINDING)
        self.kubectl("get", "fsb", "-A")
        path = "-o=jsonpath={.status.policy.document}"
        document = json.loads(self.kubectl("get", "fsb", BINDING, path))
        named = {name for each in document["statements"] for name in each["principals"]}
        if named != {principal}:
            raise DemoError(f"the policy names {sorted(named)}, not {principal}")
        self.terminal.run(
            self.stage.coreweave("POST", POLICIES, json.dumps({"policy": document})),
            shown=f"jq '{{policy: .}}' policy.json | curl --json @- {API}{POLICIES}",
        )
        return str(document["name"])

    def run_workload(self) -> None:
        """Create the tutorial's workload, and show what injection added to it."""
        self.terminal.heading("Create a workload that uses the service account")
        self.apply("object-storage-pod.yaml", "[CONTAINER-IMAGE]", self.images.workload)
        self.terminal.say("What injection added to the Pod:")
        added = _added(self.pod("my-workload"))
        self.terminal.write(yaml.safe_dump(added, sort_keys=False).rstrip())
        self.kubectl("wait", "--for=condition=Ready", "pod/my-workload", "--timeout=60s")
        mount = added["spec"]["containers"][0]["volumeMounts"][0]["mountPath"]
        self.kubectl("exec", "my-workload", "--", "ls", "-lL", f"{mount}/")
        self.terminal.say("The tutorial takes buckets for granted; this Pod makes two.")
        self.apply("make-buckets-pod.yaml", "amazon/aws-cli", self.images.cli)
        self.logs("make-buckets", r"model\.txt")

    def list_buckets(self) -> None:
        """Run the tutorial's test Pod, which must list the buckets."""
        self.terminal.heading("Verify the webhook injection")
        self.apply("test-webhook-pod.yaml", "amazon/aws-cli", self.images.cli)
        text = self.logs("test-webhook", r'"Buckets": \[[^\]]*\]')
        found = sorted(re.findall(r'"Name": "([^"]+)"', text))
        if found != BUCKETS:
            raise DemoError(f"the Pod lists {found}, expected {BUCKETS}")
        self.kubectl("delete", "pod", "test-webhook", "--wait=true")

    def deny(self, policy: str) -> None:
        """Take the policy away: the same Pod must now be denied, and nothing else be wrong."""
        self.terminal.heading("The same without the policy: access is denied")
        self.coreweave("DELETE", f"{POLICIES}/{policy}")
        self.apply("test-webhook-pod.yaml", "amazon/aws-cli", self.images.cli)
        self.logs("test-webhook", r"response 403 .*permission denied|AccessDenied")
        self.kubectl("delete", "pod", "test-webhook", "--wait=true")

    # -- the short way ------------------------------------------------------------------------

    def manage(self) -> None:
        """Have the operator do what was done by hand, from an upgrade of its release on."""
        terminal = self.terminal
        terminal.heading("The short way: let the operator do it")
        terminal.say("Forget what was registered by hand.")
        listed = json.loads(self.coreweave("POST", f"{CONFIGURATIONS}/ListOIDCConfigs", {}))
        for found in listed.get("configs", []):
            self.coreweave("POST", f"{CONFIGURATIONS}/DeleteOIDCConfig", {"uid": found["uid"]})
        release = self.stage.release
        where = f"--namespace={release.namespace}"
        secret = ("create", "secret", "generic", TOKEN_SECRET, where)
        terminal.run(
            self.stage.kubectl.command(*secret, f"--from-literal=token={DEMO_TOKEN}"),
            shown=f"kubectl {' '.join(secret)} --from-literal=token=$COREWEAVE_API_TOKEN",
        )
        values = MANAGED / "values.yaml"
        terminal.write(values.read_text().rstrip())
        upgrade = ("upgrade", NAME, str(CHART), "--reuse-values", "--values", str(values))
        terminal.run(release.helm(*upgrade))
        self.wait_ready(FEDERATION, kind="sfed")
        self.kubectl("get", "sfed")
        terminal.say("The tutorial's binding grants every bucket. The rules above allow it none:")
        binding = self.stage.kubectl.command("get", "fsb", BINDING)
        terminal.run_until(binding, "GrantNotAllowed")

    def bind(self) -> str:
        """Apply one binding; return the name of the policy that it made."""
        self.terminal.heading("One binding: read one bucket")
        manifest = MANAGED / "reader.yaml"
        binding = list(yaml.safe_load_all(manifest.read_text()))[-1]
        self.terminal.write(yaml.safe_dump(binding["spec"], sort_keys=False).rstrip())
        self.apply(manifest)
        self.wait_ready(READER, TEAM)
        self.kubectl("get", "fsb", f"--namespace={TEAM}", "-o=wide")
        self.kubectl("get", "events", f"--namespace={TEAM}", EVENTS)
        return self.kubectl("get", "fsb", READER, f"--namespace={TEAM}", POLICY_NAME)

    def use(self) -> None:
        """Read what may be read, and be refused everything else."""
        self.terminal.heading("Its Pod reads that bucket, and nothing more")
        self.apply(MANAGED / "reader-pod.yaml", "amazon/aws-cli", self.images.cli)
        where = f"--namespace={TEAM}"
        self.kubectl("wait", "--for=condition=Ready", f"pod/{READER}", where, "--timeout=60s")
        found = self.kubectl(*self.aws("s3", "cp", "s3://training-data/set.txt", "-"))
        self.expect("a data set", found)
        denied = "AccessDenied"
        self.refused(self.aws("s3", "cp", "/etc/hostname", "s3://training-data/"), denied)
        self.refused(self.aws("s3", "rm", "s3://training-data/set.txt"), denied)
        self.refused(self.aws("s3", "ls", "s3://checkpoints"), denied)
        # Whoever may not list a bucket may still know what is in it. HEAD has no body, so no code.
        forbidden = r"\(403\) when calling the HeadObject operation"
        self.refused(self.aws("s3", "cp", "s3://checkpoints/model.txt", "-"), forbidden)

    def unbind(self, policy: str) -> None:
        """Delete the binding: policy and access go with it."""
        self.terminal.heading("Delete the binding, and the access is gone")
        self.kubectl("delete", "fsb", READER, f"--namespace={TEAM}")
        listed = json.loads(self.coreweave("GET", POLICIES))
        if policy in {found["name"] for found in listed["policies"]}:
            raise DemoError(f"policy {policy} is still there")
        self.refused(self.aws("s3", "ls", "s3://training-data"), "permission denied")

    def aws(self, *arguments: str) -> tuple[str, ...]:
        """Return the arguments of kubectl for an AWS CLI in the short way's Pod."""
        return ("exec", f"--namespace={TEAM}", READER, "--", "aws", *arguments)

    def refused(self, arguments: tuple[str, ...], says: str) -> None:
        """Run kubectl and see it fail with `says`."""
        self.terminal.run_refused(self.stage.kubectl.command(*arguments), says)

    # -- the commands -------------------------------------------------------------------------

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl, shown as a person would type it."""
        return self.terminal.run(self.stage.kubectl.command(*arguments))

    def apply(self, manifest: str | Path, image: str = "", replacement: str = "") -> None:
        """Apply a manifest, one of the tutorial's by its name; `image`, if given, is replaced."""
        path = TUTORIAL / manifest
        if not image:
            self.kubectl("apply", "-f", str(path))
            return
        text = path.read_text().replace(image, replacement)
        pattern = image.replace("[", r"\[").replace("]", r"\]")
        shown = f"sed 's|{pattern}|{replacement}|' {_short(path)} | kubectl apply -f -"
        command = self.stage.kubectl.command("apply", "-f", "-")
        self.terminal.run(command, stdin=text, shown=shown)

    def coreweave(self, method: str, path: str, body: dict[str, Any] | None = None) -> str:
        """Send a request to CoreWeave's API, shown without the options of the testbed."""
        text = "" if body is None else json.dumps(body)
        verb = "" if method == "GET" else f" -X {method}"
        data = f" --json '{text}'" if text else verb
        shown = f"curl{data} {API}{path}"
        return self.terminal.run(self.stage.coreweave(method, path, text), shown=shown)

    def logs(self, pod: str, says: str) -> str:
        """Show a Pod's log as soon as it says `says`: the tutorial's Pods run again and again."""
        return self.terminal.run_until(self.stage.kubectl.command("logs", pod), says)

    # -- waiting ------------------------------------------------------------------------------

    def wait_ready(self, name: str, namespace: str = "default", kind: str = "fsb") -> None:
        """Wait until a binding or a federation is there and Ready."""
        where = f"--namespace={namespace}"

        def ready() -> bool:
            try:
                found = json.loads(self.stage.kubectl.run("get", kind, name, where, "-o=json"))
            except CommandError:
                return False
            status = found.get("status", {})
            conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
            current = status.get("observedGeneration") == found["metadata"]["generation"]
            return current and conditions.get("Ready") == "True"

        if not eventually(ready, WAIT_SECONDS):
            described = self.stage.kubectl.run("describe", "sfed,fsb", "-A")
            raise DemoError(f"{kind} {name} does not become Ready:\n{described}")

    def pod(self, name: str) -> dict[str, Any]:
        """Return a Pod."""
        found: dict[str, Any] = json.loads(self.stage.kubectl.run("get", "pod", name, "-o=json"))
        return found

    def expect(self, expected: str, actual: str) -> None:
        """Raise DemoError unless a command printed what it should."""
        if actual.strip() != expected:
            raise DemoError(f"expected {expected}, got {actual.strip()}")


def _short(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def _added(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a Pod that injection added."""
    metadata, spec = pod["metadata"], pod["spec"]
    volume = "cks-pod-identity-token"
    ours = "caios.coreweave.com/"
    container = spec["containers"][0]
    return {
        "metadata": {
            kind: {
                key: text for key, text in metadata.get(kind, {}).items() if key.startswith(ours)
            }
            for kind in ("labels", "annotations")
        },
        "spec": {
            "containers": [
                {
                    "name": container["name"],
                    "env": container["env"],
                    "volumeMounts": [m for m in container["volumeMounts"] if m["name"] == volume],
                }
            ],
            "volumes": [v for v in spec["volumes"] if v["name"] == volume],
        },
    }
