"""Attempts to get more than the grant rules allow, as data: what is applied, and who refuses it.

Federations, namespaces and bindings are as an administrator and namespace users write them, so
that a test may judge them offline, or apply them to a real API server and a real operator. Each
attempt is refused either by the schema, so the API server does not let it in, or by the rules, so
the binding becomes `Accepted=False/GrantNotAllowed` and nothing of it is applied.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

Json = dict[str, Any]

EVERYBODY: Final[Json] = {}
READ_ONLY: Final = ["ReadOnly"]


def _labelled(**labels: str) -> Json:
    return {"matchLabels": labels}


def _requires(key: str, operator: str, *values: str) -> Json:
    requirement: Json = {"key": key, "operator": operator}
    return {"matchExpressions": [requirement | ({"values": list(values)} if values else {})]}


def _rule(name: str, selector: Json, buckets: list[str], **allowed: list[str]) -> Json:
    return {"name": name, "namespaceSelector": selector, "buckets": buckets, **allowed}


RULES: Final[dict[str, list[Json]]] = {
    "default": [
        _rule("own", _requires("tenant", "Exists"), ["{namespace}-data"], access=["ReadWrite"]),
        _rule("shared", EVERYBODY, ["shared-datasets"], access=READ_ONLY),
        _rule("drop-box", _labelled(tenant="a"), ["a-logs-*"], access=["WriteOnly"]),
        _rule(
            "tags",
            _requires("tenant", "In", "a"),
            ["{namespace}-data"],
            actions=["s3:Get*Tagging", "s3:PutObjectTagging"],
        ),
        _rule("ends", _labelled(tenant="a"), ["*-public"], access=READ_ONLY),
        _rule("buckets", _labelled(tenant="a"), ["a-own-*"], access=["FullControl"]),
        _rule(
            "platform",
            _labelled(tenant="platform"),
            ["*"],
            access=["FullControl"],
            actions=["cwobject:*"],
        ),
    ],
    "selectors": [
        _rule("labelled", _labelled(tenant="a", stage="test"), ["labelled"], access=READ_ONLY),
        _rule("in", _requires("stage", "In", "test", "dev"), ["in-stage"], access=READ_ONLY),
        _rule("not-in", _requires("stage", "NotIn", "prod"), ["not-in"], access=READ_ONLY),
        _rule("exists", _requires("tenant", "Exists"), ["exists"], access=READ_ONLY),
        _rule("absent", _requires("suspended", "DoesNotExist"), ["absent"], access=READ_ONLY),
        _rule(
            "by-name",
            _labelled(**{"kubernetes.io/metadata.name": "team-b"}),
            ["by-name"],
            access=READ_ONLY,
        ),
    ],
    "closed": [],
}
"""`spec.grantRules` of StorageFederations, by name; all have `policyManagement: Managed`."""

NAMESPACES: Final[dict[str, dict[str, str]]] = {
    "team": {"tenant": "t"},
    "team-a": {"tenant": "a", "stage": "test"},
    "team-b": {"tenant": "b", "stage": "prod", "suspended": ""},
    "team-c": {"tenant": "A", "stage": "Test", "metadata.name": "team-b"},
    "visitors": {},
    "platform": {"owner": "platform"},
}
"""Labels of the namespaces, by name. The API server adds `kubernetes.io/metadata.name`."""


@dataclass(frozen=True, slots=True)
class Bid:
    """A binding of a namespace user: one grant, and where it is asked for."""

    why: str
    """What it tries, and, of an attempt, why that is no right of the namespace's."""
    spec: Json
    namespace: str
    name: str
    refused_by: Literal["schema", "rules", "nobody"]
    said: str
    """Part of the message: the API server's, or that of the condition; empty where allowed."""

    @property
    def manifest(self) -> Json:
        """The FederatedStorageBinding to apply."""
        return {
            "apiVersion": "caios.coreweave.com/v1alpha1",
            "kind": "FederatedStorageBinding",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": self.spec,
        }


def federations() -> list[Json]:
    """Return the StorageFederations to apply, less what depends on where they are applied."""
    return [
        {
            "apiVersion": "caios.coreweave.com/v1alpha1",
            "kind": "StorageFederation",
            "metadata": {"name": name},
            "spec": {
                "organizationID": "cw1234",
                "region": "US-CENTRAL-05A",
                "apiTokenSecretName": "coreweave-api-token",
                "policyManagement": "Managed",
                "grantRules": rules,
            },
        }
        for name, rules in RULES.items()
    ]


def _bid(
    why: str,
    *buckets: str,
    said: str = "",
    by: Literal["schema", "rules", "nobody"] = "rules",
    namespace: str = "team-a",
    name: str = "reader",
    federation: str = "default",
    access: str = "ReadOnly",
    **fields: object,
) -> Bid:
    grant = {"name": "data", "buckets": list(buckets), "access": access, **fields}
    spec = {"serviceAccountName": "reader", "federationName": federation, "grants": [grant]}
    return Bid(why, spec, namespace, name, by, said)


def _custom(
    why: str,
    *actions: str,
    bucket: str = "team-a-data",
    **fields: Any,  # noqa: ANN401  # those of _bid
) -> Bid:
    return _bid(why, bucket, access="Custom", actions=list(actions), **fields)


def _prefixed(
    why: str,
    prefix: str,
    *buckets: str,
    **fields: Any,  # noqa: ANN401  # those of _bid
) -> Bid:
    return _bid(why, *(buckets or ("team-a-data",)), prefixes=[prefix], **fields)


def _no(asked: str, federation: str = "default") -> str:
    # Where a federation has to have a name of its own, that ends like this one.
    return f'{federation}" allows {asked}'


_NO_BUCKET: Final = "spec.grants[0].buckets[0]: Invalid value"
_NO_PREFIX: Final = "spec.grants[0].prefixes[0]: Invalid value"
_NO_ACTION: Final = "spec.grants[0].actions[0]: Invalid value"

ATTEMPTS: Final = (
    # Patterns that are wider than a rule's
    _bid("every bucket", "*", said=_no('ReadOnly on bucket "*"')),
    _bid("every bucket, by two stars", "**", said=_no('ReadOnly on bucket "**"')),
    _bid("every team's buckets", "team-*", said=_no('ReadOnly on bucket "team-*"')),
    _bid("more buckets of the own name than the rule has", "team-a-*", said=_no("ReadOnly")),
    _bid("the own bucket, and whatever begins like it", "team-a-data*", said=_no("ReadOnly")),
    _bid("whatever ends like the own bucket", "*team-a-data", said=_no("ReadOnly")),
    _bid("the own bucket with a star inside", "team-a-*data", said='reaches "team-a-*"'),
    _bid("more than one letter more", "shared-dataset*", said=_no("ReadOnly")),
    _bid("a star before the rule's own", "a-logs*", access="WriteOnly", said=_no("WriteOnly")),
    _bid("a star in another place", "a-*-logs", access="WriteOnly", said='reaches "a-*"'),
    _bid(
        # As `*-public/*` it would match the key `x-public/y` of any bucket.
        "a rule's own pattern whose end a policy cannot hold a bucket to",
        "*-public",
        said='reaches "*" in a policy',
    ),
    _bid("one bucket too many", "team-a-data", "team-b-data", said='"team-b-data"'),
    # Other namespaces
    _bid("another team's bucket", "team-b-data", said=_no('ReadOnly on bucket "team-b-data"')),
    _bid(
        "the bucket of a namespace whose name goes on",
        "team-a-data",
        namespace="team",
        said=_no('ReadOnly on bucket "team-a-data" for namespace "team"'),
    ),
    _bid(
        "the bucket of a namespace whose name is the beginning",
        "team-data",
        said=_no('ReadOnly on bucket "team-data" for namespace "team-a"'),
    ),
    _bid("all namespaces that begin alike", "team-*", namespace="team", said=_no("ReadOnly")),
    _bid(
        "a bucket of the own name where no rule selects the namespace",
        "visitors-data",
        namespace="visitors",
        said='rule "own" allows this, but its namespaceSelector does not match the namespace',
    ),
    _bid(
        "a namespace called like the label that a rule wants",
        "models",
        namespace="platform",
        said='rule "platform" allows this, but its namespaceSelector does not match',
    ),
    _bid(
        "a label of the right value under another key",
        "*",
        namespace="platform",
        access="FullControl",
        said=_no('FullControl on bucket "*"'),
    ),
    _bid("a binding renamed to another team", "team-b-data", name="team-b", said=_no("ReadOnly")),
    _bid("a binding renamed to a rule", "models", name="platform", said=_no("ReadOnly")),
    _bid("a bucket named like the namespace alone", "team-a", said=_no("ReadOnly")),
    _bid(
        "the namespace's name to be put in by the operator",
        "{namespace}-data",
        by="schema",
        said=_NO_BUCKET,
    ),
    _bid(
        "a federation that allows nothing",
        "shared-datasets",
        federation="closed",
        said=_no("", "closed"),
    ),
    # Selectors
    _bid(
        "one of two labels that are wanted",
        "labelled",
        namespace="team-c",
        federation="selectors",
        said='rule "labelled" allows this, but its namespaceSelector',
    ),
    _bid(
        "a label's value in another case",
        "in-stage",
        namespace="team-c",
        federation="selectors",
        said='rule "in" allows this, but its namespaceSelector',
    ),
    _bid(
        "no label where one of some values is wanted",
        "in-stage",
        namespace="visitors",
        federation="selectors",
        said='rule "in" allows this',
    ),
    _bid(
        "the one value that is excluded",
        "not-in",
        namespace="team-b",
        federation="selectors",
        said='rule "not-in" allows this',
    ),
    _bid(
        "no label where any is wanted",
        "exists",
        namespace="visitors",
        federation="selectors",
        said='rule "exists" allows this',
    ),
    _bid(
        "an empty label where there must be none",
        "absent",
        namespace="team-b",
        federation="selectors",
        said='rule "absent" allows this',
    ),
    _bid(
        "a label that only looks like the name",
        "by-name",
        namespace="team-c",
        federation="selectors",
        said='rule "by-name" allows this',
    ),
    # Names that only look right
    _bid("a Cyrillic a", "te\N{CYRILLIC SMALL LETTER A}m-a-data", by="schema", said=_NO_BUCKET),
    _bid("fullwidth letters", "\uff54eam-b-data", by="schema", said=_NO_BUCKET),
    _bid("a fullwidth star", "team-\uff0a", by="schema", said=_NO_BUCKET),
    _bid("a zero-width space", "team-b-data\u200b", by="schema", said=_NO_BUCKET),
    _bid("a hyphen that is none", "team\u2010b-data", by="schema", said=_NO_BUCKET),
    _bid("upper case", "Team-b-data", by="schema", said=_NO_BUCKET),
    _bid("a line break", "team-b-data\n", by="schema", said=_NO_BUCKET),
    _bid("a path behind the own bucket", "team-a-data/../team-b", by="schema", said=_NO_BUCKET),
    _bid("an ARN", "arn:aws:s3:::team-b-data", by="schema", said=_NO_BUCKET),
    _bid("a question mark", "team-?-data", by="schema", said=_NO_BUCKET),
    _bid("a range of letters", "team-[a-b]-data", by="schema", said=_NO_BUCKET),
    _bid("an encoded hyphen", "team%2db-data", by="schema", said=_NO_BUCKET),
    _bid("two buckets in one", "team-a-data,team-b-data", by="schema", said=_NO_BUCKET),
    _bid("no bucket at all", by="schema", said="spec.grants[0].buckets: Invalid value"),
    # Levels of access
    _bid(
        "writing what may be read",
        "shared-datasets",
        access="ReadWrite",
        said='rule "shared" is for this bucket, but not for this access',
    ),
    _bid("only writing what may be read", "shared-datasets", access="WriteOnly", said=_no("")),
    _bid(
        "writing below one's own prefix of what may be read",
        "shared-datasets",
        access="ReadWrite",
        prefixes=["team-a/"],
        said=_no('ReadWrite on bucket "shared-datasets"'),
    ),
    _bid("reading what may be written", "a-logs-1", said=_no('ReadOnly on bucket "a-logs-1"')),
    _bid("full control of the own bucket", "team-a-data", access="FullControl", said=_no("")),
    _bid(
        "full control of what cannot be listed",
        "team-a-data",
        access="FullControl",
        listing="None",
        said=_no('FullControl on bucket "team-a-data"'),
    ),
    _bid(
        "full control below a prefix",
        "team-a-data",
        access="FullControl",
        prefixes=["mine/"],
        said=_no('FullControl on bucket "team-a-data"'),
    ),
    # Actions hidden in Custom
    _custom("every action of S3", "s3:*", said=_no('"s3:*" on bucket "team-a-data"')),
    _custom("every action that begins alike", "s3:Put*", said=_no('"s3:Put*"')),
    _custom("every action that ends alike", "s3:*Object", said=_no('"s3:*Object"')),
    _custom("a star in another place than the rule's", "s3:*Tagging", said=_no('"s3:*Tagging"')),
    _custom("an allowed action in another case", "s3:GETOBJECTTAGGING", said=_no("")),
    _custom("the bucket's own policy", "s3:PutBucketPolicy", said=_no('"s3:PutBucketPolicy"')),
    _custom(
        "deleting what may be read",
        "s3:DeleteObject",
        bucket="shared-datasets",
        said=_no('"s3:DeleteObject" on bucket "shared-datasets"'),
    ),
    _custom(
        "one action too many",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:GetObjectTagging",
        "s3:DeleteBucket",
        said=_no('"s3:DeleteBucket"'),
    ),
    _custom("every action below a prefix", "s3:*", prefixes=["mine/"], said=_no('"s3:*"')),
    _custom(
        "the names of all buckets, by full control of some",
        "s3:ListAllMyBuckets",
        bucket="a-own-1",
        said=_no('"s3:ListAllMyBuckets" on the whole organization'),
    ),
    _custom(
        "the names of all buckets, in another case",
        "s3:listallmyBUCKETS",
        bucket="a-own-1",
        said=_no('"s3:listallmyBUCKETS" on the whole organization'),
    ),
    _custom("the names of all buckets, by a pattern", "s3:List*", bucket="*", said=_no("")),
    _custom("all of CoreWeave's control actions", "cwobject:*", said=_no('"cwobject:*"')),
    _custom(
        "control actions below a prefix of a bucket with full control",
        "cwobject:*",
        bucket="a-own-1",
        prefixes=["mine/"],
        said=_no('"cwobject:*" on the whole organization'),
    ),
    _custom("writing policies of one's own", "cwobject:EnsureAccessPolicy", said=_no("")),
    _custom("making lasting keys", "cwobject:CreateAccessKey*", said=_no("")),
    _custom("revoking others' keys", "cwobject:RevokeAccessKeysByPrincipal", said=_no("")),
    _custom("control actions in another case", "CWOBJECT:*", by="schema", said=_NO_ACTION),
    _custom("every action of every service", "*", by="schema", said=_NO_ACTION),
    _custom("every service by a pattern", "*:*", by="schema", said=_NO_ACTION),
    _custom("another service", "iam:CreateUser", by="schema", said=_NO_ACTION),
    _custom("two actions in one", "s3:GetObject,cwobject:*", by="schema", said=_NO_ACTION),
    _custom("an action behind a blank", " cwobject:*", by="schema", said=_NO_ACTION),
    _custom(
        "a Cyrillic s", "\N{CYRILLIC SMALL LETTER DZE}3:GetObject", by="schema", said=_NO_ACTION
    ),
    _bid(
        "actions beside a level",
        "team-a-data",
        actions=["cwobject:*"],
        by="schema",
        said="actions are only read with access Custom",
    ),
    # Prefixes
    _prefixed("another team's bucket, by the own prefix", "team-a/", "team-b-data", said=_no("")),
    _prefixed(
        "the listing of another team's bucket",
        "team-a/",
        "team-b-data",
        listing="WholeBucket",
        said=_no('ReadOnly on bucket "team-b-data"'),
    ),
    _prefixed("a way out of the bucket", "../team-b-data/", by="schema", said=_NO_PREFIX),
    _prefixed("a way out further down", "a/../../team-b-data", by="schema", said=_NO_PREFIX),
    _prefixed("a way out at the end", "a/..", by="schema", said=_NO_PREFIX),
    _prefixed("a folder that is none", "./", by="schema", said=_NO_PREFIX),
    _prefixed("a way out, encoded", "%2e%2e/team-b-data/", said="has . or .. for a folder"),
    _prefixed("a way out, half encoded", "a/.%2E%2fb", said="has . or .. for a folder"),
    _prefixed("a way out, encoded twice", "%252e%252e%252f", said="has . or .. for a folder"),
    _prefixed("a way out of fullwidth dots", "\uff0e\uff0e/b", said="has . or .. for a folder"),
    _prefixed("a way out of one character", "\u2025/b", said="has . or .. for a folder"),
    _prefixed("a leading slash", "/team-b-data/", by="schema", said=_NO_PREFIX),
    _prefixed("a leading slash, encoded", "%2Fteam-b-data/", said="starts with a slash"),
    _prefixed("a leading slash, fullwidth", "\uff0fteam-b-data/", said="starts with a slash"),
    _prefixed("a star", "a/*/b", by="schema", said=_NO_PREFIX),
    _prefixed("a fullwidth star", "\uff0a", said="has one of * ? [ ]"),
    _prefixed("an encoded star", "a/%2A", said="has one of * ? [ ]"),
    _prefixed("a question mark", "a/?/b", by="schema", said=_NO_PREFIX),
    _prefixed("a range of letters", "[a-z]", by="schema", said=_NO_PREFIX),
    _prefixed("a backslash", "..\\team-b-data", by="schema", said=_NO_PREFIX),
    _prefixed("a NUL", "a/\x00", by="schema", said=_NO_PREFIX),
    _prefixed("an encoded NUL", "a/%00", said="has characters that cannot be seen"),
    _prefixed("a zero-width space", ".\u200b./b", by="schema", said=_NO_PREFIX),
    _prefixed("letters told to run backwards", "\u202eatad", by="schema", said=_NO_PREFIX),
    _prefixed("a prefix that is empty", "", by="schema", said=_NO_PREFIX),
    _prefixed(
        "a prefix of a pattern, which would begin after any slash",
        "public/",
        "a-own-*",
        by="schema",
        said="prefixes need buckets without *",
    ),
)
"""All are refused, each for the reason given, and nothing of them is applied."""

RIGHTFUL: Final = (
    _bid("the own bucket", "team-a-data", access="ReadWrite", by="nobody"),
    _bid("the own bucket, for less", "team-a-data", by="nobody"),
    _bid("the own bucket, from another namespace", "team-data", namespace="team", by="nobody"),
    _bid("what all may read, unlabelled", "shared-datasets", namespace="visitors", by="nobody"),
    _bid("one of some buckets", "a-logs-1", access="WriteOnly", by="nobody"),
    _bid("all of some buckets", "a-logs-*", access="WriteOnly", by="nobody"),
    _bid("fewer of some buckets", "a-logs-1-*", access="WriteOnly", by="nobody"),
    _bid("a bucket by its end", "weather-public", by="nobody"),
    _bid("full control", "a-own-*", access="FullControl", by="nobody"),
    _bid("two buckets by two rules", "team-a-data", "shared-datasets", by="nobody"),
    _custom("actions by two rules", "s3:GetObject", "s3:GetObject*Tagging", by="nobody"),
    _custom("some of full control", "s3:Put*", bucket="a-own-1", by="nobody"),
    _prefixed("a folder", "checkpoints/", access="ReadWrite", by="nobody"),
    _prefixed("a folder of another script", "日誌/", access="ReadWrite", by="nobody"),
    _bid("all labels", "labelled", federation="selectors", by="nobody"),
    _bid("one of the values", "in-stage", federation="selectors", by="nobody"),
    _bid(
        "no label where one value is excluded",
        "not-in",
        namespace="visitors",
        federation="selectors",
        by="nobody",
    ),
    _bid(
        "no label where there must be none",
        "absent",
        namespace="visitors",
        federation="selectors",
        by="nobody",
    ),
    _bid("the name", "by-name", namespace="team-b", federation="selectors", by="nobody"),
)
"""All are allowed: rules that refuse everything would refuse every attempt, too."""
