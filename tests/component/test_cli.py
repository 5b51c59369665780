"""What the command line decides offline, and how it says that its input is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

import builders
from caios_federation.cli.main import main

ISSUER = str(builders.ISSUER)
GRANT = {"name": "data", "buckets": ["models"], "access": "ReadOnly"}
ACCOUNT = builders.service_account(inject="true")
OBJECTS = (builders.pod(), ACCOUNT, builders.federation())


def run(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


def manifests(*bodies: Any) -> str:  # noqa: ANN401  # any YAML
    return yaml.safe_dump_all(bodies)


def inject(*bodies: Any, issuer: str = ISSUER, options: tuple[str, ...] = ()) -> Result:  # noqa: ANN401  # any YAML
    return run("inject", "-f", "-", f"--issuer={issuer}", *options, stdin=manifests(*bodies))


def render(*bodies: Any, issuer: str = ISSUER) -> Result:  # noqa: ANN401  # any YAML
    return run("policy", "render", "-f", "-", f"--issuer={issuer}", stdin=manifests(*bodies))


def refused(result: Result) -> str:
    """Return what is said about bad input: nothing on standard output, exit code 2."""
    assert result.exit_code == 2, result.output + repr(result.exception)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr.rpartition("Error: ")[2].strip()


# principal --------------------------------------------------------------------------------------


def test_a_principal_is_printed() -> None:
    result = run("principal", "team-a/reader", f"--issuer={ISSUER}")
    assert (result.exit_code, result.stdout) == (0, f"{builders.PRINCIPAL}\n")


def test_its_arn_is_printed_for_an_organization() -> None:
    result = run("principal", "team-a/reader", f"--issuer={ISSUER}", "--organization=cw1234")
    assert result.stdout.splitlines() == [
        builders.PRINCIPAL,
        f"arn:aws:iam::cw1234:{builders.PRINCIPAL}",
    ]


@pytest.mark.parametrize(
    ("account", "issuer", "problem"),
    [
        ("reader", ISSUER, "'reader': expected NAMESPACE/NAME, such as default/my-sa"),
        ("team-a/", ISSUER, "name '': not the name of a ServiceAccount"),
        ("/reader", ISSUER, "namespace '': not the name of a Namespace"),
        ("team-a/*", ISSUER, "name '*': not the name of a ServiceAccount"),
        ("a/b/c", ISSUER, "name 'b/c': not the name of a ServiceAccount"),
        ("team-a/reader", "http://x.example", "issuer 'http://x.example': must start with https"),
        ("team-a/reader", "https://*", "issuer: must not contain '*'"),
    ],
)
def test_a_bad_principal_is_refused_by_name(account: str, issuer: str, problem: str) -> None:
    assert refused(run("principal", account, f"--issuer={issuer}")).startswith(problem)


# policy render ----------------------------------------------------------------------------------


def test_the_policy_of_a_binding_is_printed_as_the_console_takes_it() -> None:
    result = render(builders.binding(grants=[GRANT]))
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert set(document) == {"version", "name", "statements"}
    assert {p for s in document["statements"] for p in s["principals"]} == {builders.PRINCIPAL}


def test_other_objects_in_the_file_do_no_harm() -> None:
    alone = render(builders.binding(grants=[GRANT]))
    assert render(*OBJECTS, builders.binding(grants=[GRANT])).stdout == alone.stdout


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"audience": 5}, "FederatedStorageBinding team-a/reader: spec.audience: "),
        ({"serviceAccountName": None}, "FederatedStorageBinding team-a/reader: spec.serviceAcc"),
        (
            {"grants": [{"name": "data", "buckets": ["b"], "access": "Everything"}]},
            "FederatedStorageBinding team-a/reader: spec.grants.0.access: ",
        ),
        ({"grants": [{"name": "data"}]}, "FederatedStorageBinding team-a/reader: spec.grants.0."),
    ],
)
def test_a_bad_spec_is_refused_with_object_and_field(spec: dict[str, Any], problem: str) -> None:
    assert refused(
        render(
            builders.binding("reader", "team-a")
            | {"spec": {"serviceAccountName": "reader", **spec}}
        )
    ).startswith(problem)


def test_there_must_be_one_binding() -> None:
    assert refused(render()) == "expected one FederatedStorageBinding in the file, found 0"
    two = (builders.binding("a"), builders.binding("b"))
    assert refused(render(*two)) == "expected one FederatedStorageBinding in the file, found 2"


def test_a_bad_issuer_is_refused() -> None:
    assert refused(render(builders.binding(), issuer="x")).startswith("issuer 'x': ")


# inject -----------------------------------------------------------------------------------------


def injected(result: Result) -> Any:  # noqa: ANN401  # any JSON
    assert result.exit_code == 0, result.stderr
    return yaml.safe_load(result.stdout)


def test_a_pod_is_printed_as_it_would_be_admitted() -> None:
    result = inject(*OBJECTS)
    assert injected(result) == builders.inject(builders.pod()).pod
    assert result.stderr == ""


def test_a_list_is_read_like_its_items() -> None:
    together = {"apiVersion": "v1", "kind": "List", "items": list(OBJECTS)}
    assert inject(together).stdout == inject(*OBJECTS).stdout


def test_a_file_is_read_like_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(manifests(*OBJECTS))
    result = run("inject", f"--filename={file}", f"--issuer={ISSUER}")
    assert result.stdout == inject(*OBJECTS).stdout


def test_warnings_go_to_standard_error() -> None:
    pod = builders.pod(annotations=builders.words(token_expiration="5"))
    result = inject(pod, *OBJECTS[1:])
    assert injected(result)["kind"] == "Pod"
    assert result.stderr.startswith("Warning: annotation caios.coreweave.com/token-expiration")


def test_a_binding_has_its_say() -> None:
    spec = {"region": "EU", "client": {"endpoint": "Public"}}
    pod = injected(inject(*OBJECTS, builders.binding("reader", "team-a", **spec)))
    env = {entry["name"]: entry["value"] for entry in pod["spec"]["containers"][0]["env"]}
    assert env["AWS_REGION"] == "EU"
    assert env["AWS_CONFIG_FILE"] == builders.CONFIG_FILE


@pytest.mark.parametrize(
    ("pod", "others", "reason"),
    [
        (builders.pod(), (builders.service_account(), builders.federation()), "NotFederated"),
        (builders.pod(), (), "NotFederated"),
        (builders.pod(), (ACCOUNT,), "FederationNotFound"),
        (builders.pod(labels=builders.words(inject="false")), OBJECTS[1:], "PodOptedOut"),
    ],
)
def test_a_pod_that_is_not_injected_is_a_finding(
    pod: builders.Json, others: tuple[builders.Json, ...], reason: str
) -> None:
    result = inject(pod, *others)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == f"not injected: {reason}"


def principal_of(pod: builders.Json) -> str:
    principal: str = pod["metadata"]["annotations"]["caios.coreweave.com/principal"]
    return principal.rpartition("serviceaccount:")[2]


def test_the_namespace_of_a_pod_beats_the_option() -> None:
    result = inject(*OBJECTS, options=("--namespace=elsewhere",))
    assert principal_of(injected(result)) == "team-a:reader"


def test_the_option_is_the_namespace_of_what_states_none() -> None:
    pod, account = builders.pod(), builders.service_account(inject="true")
    for body in (pod, account):
        del body["metadata"]["namespace"]
    objects = (pod, account, builders.federation())
    assert principal_of(injected(inject(*objects, options=("-n", "team-b")))) == "team-b:reader"
    assert principal_of(injected(inject(*objects))) == "default:reader"


def test_a_namesake_in_another_namespace_has_no_say() -> None:
    elsewhere = builders.service_account("reader", "elsewhere", inject="false")
    assert injected(inject(*OBJECTS, elsewhere))
    binding = builders.binding("reader", "elsewhere", injection="Disabled")
    assert injected(inject(*OBJECTS, binding))


def test_a_bad_binding_is_refused_with_object_and_field() -> None:
    said = refused(inject(*OBJECTS, builders.binding("reader", "team-a", audience=5)))
    assert said.startswith("FederatedStorageBinding team-a/reader: spec.audience: ")


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"organizationID": None}, "StorageFederation default: spec.organizationID: "),
        ({"region": 5}, "StorageFederation default: spec.region: "),
        ({"endpoints": "x"}, "StorageFederation default: spec.endpoints: "),
    ],
)
def test_a_bad_federation_is_refused_with_object_and_field(
    spec: dict[str, Any], problem: str
) -> None:
    assert refused(inject(*OBJECTS[:2], builders.federation("default", **spec))).startswith(problem)


@pytest.mark.parametrize("field", ["annotations", "labels"])
@pytest.mark.parametrize("kind", ["Pod", "ServiceAccount"])
def test_a_value_that_yaml_takes_for_no_string_is_refused_with_what_to_do(
    kind: str, field: str
) -> None:
    """The commonest slip: `caios.coreweave.com/inject: true` without quotes."""
    pod, account = builders.pod(), builders.service_account()
    body = pod if kind == "Pod" else account
    body["metadata"][field] = {"caios.coreweave.com/inject": True}
    said = refused(inject(pod, account, builders.federation()))
    assert said == (
        f"{kind} team-a/{body['metadata']['name']}: "
        f"metadata.{field}: caios.coreweave.com/inject must be a string; quote it"
    )


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("text", "<stdin>: a document is no object"),
        ([1], "<stdin>: a document is no object"),
        ({"kind": "List", "items": [1]}, "<stdin>: a document is no object"),
        ({"metadata": {"name": "x"}}, "<stdin>: kind: must be a string"),
        ({"kind": 5, "metadata": {"name": "x"}}, "<stdin>: kind: must be a string"),
        ({"kind": "ServiceAccount"}, "ServiceAccount: metadata: must be an object"),
        ({"kind": "Pod", "metadata": []}, "Pod: metadata: must be an object"),
        (
            {"kind": "ServiceAccount", "metadata": {}},
            "ServiceAccount: metadata.name: must be a string",
        ),
        ({"kind": "Pod", "metadata": {"name": 5}}, "Pod: metadata.name: must be a string"),
        (
            {"kind": "Pod", "metadata": {"name": "x", "namespace": 5}},
            "Pod x: metadata.namespace: must be a string",
        ),
        (
            {"kind": "Pod", "metadata": {"name": "x", "annotations": [1]}},
            "Pod x: metadata.annotations: must be an object",
        ),
        (
            {"kind": "FederatedStorageBinding", "metadata": {"name": "x"}, "spec": [1]},
            "FederatedStorageBinding x: spec: must be an object",
        ),
    ],
    ids=repr,
)
def test_what_is_no_object_is_refused_with_its_field(body: Any, problem: str) -> None:  # noqa: ANN401  # any YAML
    assert refused(inject(*OBJECTS, body)).startswith(problem)
    assert refused(render(builders.binding(), body)).startswith(problem)


@pytest.mark.parametrize("stdin", ["{", "a: b: c", "\t", b"\xff\xfe\x00", "a: \x01"])
def test_what_is_no_yaml_is_refused(stdin: str | bytes) -> None:
    result = run("inject", "-f", "-", f"--issuer={ISSUER}", stdin=stdin)
    assert "not YAML" in refused(result)


def test_a_file_that_is_not_there_is_refused_by_name() -> None:
    assert "absent.yaml" in refused(run("inject", "-f", "absent.yaml", f"--issuer={ISSUER}"))


def test_there_must_be_one_pod() -> None:
    assert refused(inject(*OBJECTS[1:])) == "expected one Pod in the file, found 0"
    assert refused(inject(*OBJECTS, builders.pod())) == "expected one Pod in the file, found 2"


@pytest.mark.parametrize("command", [["inject"], ["policy", "render"], ["principal", "a/b"]])
def test_what_is_missing_on_the_command_line_is_named(command: list[str]) -> None:
    assert "Missing option" in refused(run(*command))


@pytest.mark.parametrize("command", [[], ["run"], ["inject"], ["policy", "render"], ["principal"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
