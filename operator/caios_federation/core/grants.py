"""Which grants an administrator's rules allow.

Judged is what a grant is rendered to: each action on each bucket of its policy must be allowed by
a rule whose selector matches the namespace. A level of access in a rule stands for the actions of
that level, so whatever is less is allowed too; an action for the organization as a whole is
rendered on `*`, so it needs a rule for `*`. Names outside the alphabets of the CRD are refused here
as well, since the CRD that let an object in may be that of another version.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import unquote

from caios_federation.api.binding import Access, Grant
from caios_federation.api.federation import GrantRule
from caios_federation.core.globs import within
from caios_federation.core.policy import actions_of, is_global, statements_of
from caios_federation.core.selectors import selects
from caios_federation.core.text import cut

_NAMESPACE: Final = "{namespace}"
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_BUCKET: Final = re.compile(
    r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]|([a-z0-9][a-z0-9-]*)?\*([a-z0-9*-]*[a-z0-9*])?"
)
_BUCKET_LIMIT: Final = 63
_ACTION: Final = re.compile(r"(s3|cwobject):[A-Za-z*]+")
_SPECIAL: Final = re.compile(r"[*?\[\]\\]")
_DOTS: Final = re.compile(r"(^|/)\.\.?(/|$)")
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of controls, invisible marks, lone surrogates and separators of lines."""
_PREFIX_LIMIT: Final = 512
_SHOWN: Final = 63
"""Characters of a name in a message: a bucket's, a namespace's and a rule's in full."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule, as it is for one namespace."""

    name: str
    selected: bool
    buckets: frozenset[str]
    actions: frozenset[str]

    def has_bucket(self, pattern: str) -> bool:
        return any(within(pattern, bucket) for bucket in self.buckets)

    def has_action(self, pattern: str) -> bool:
        return any(within(pattern, action) for action in self.actions)


@dataclass(frozen=True, slots=True, order=True)
class _Right:
    """An action on a bucket, or on a pattern of buckets, as a grant says it."""

    bucket: str
    action: str


def refusal(
    grants: Iterable[Grant],
    rules: Iterable[GrantRule],
    namespace: str,
    labels: Mapping[str, str],
    federation: str,
) -> str | None:
    """Return what is not allowed of `grants`, and which rule is missing; None if all is allowed.

    `namespace` is the binding's, `labels` are the namespace's; `rules` are those of the
    StorageFederation named `federation`, which is told. Neither the order of the grants nor that
    of the rules matters.
    """
    known = tuple(_for_namespace(rule, namespace, labels) for rule in rules)
    allowed = _allowing(rule for rule in known if rule.selected)

    def problem(grant: Grant) -> str | None:
        if malformed := _malformed(grant):
            return malformed
        first = min((right for right in _rights(grant) if not allowed(right)), default=None)
        if first is None:
            return None
        lacking = _missing(grant, first, namespace, federation)
        return f"{lacking}{_nearest(first, known)}"

    return min(filter(None, map(problem, grants)), default=None)


def reach(bucket: str) -> str:
    """Return a pattern of all buckets that `bucket` may reach in a policy.

    The service does not say that a star stops at a slash, so `a*b/*` may be the key `x/b/y` of the
    bucket `a`, too: what stands behind the first star does not narrow.

    >>> reach("team-a"), reach("team-a-*"), reach("team-a-*-logs")
    ('team-a', 'team-a-*', 'team-a-*')
    """
    head, star, _ = bucket.partition("*")
    return head + star


def _for_namespace(rule: GrantRule, namespace: str, labels: Mapping[str, str]) -> _Rule:
    """Return `rule` with its levels spelt out and the namespace's name put in.

    What is no name of a namespace might be a pattern, so it is put in nowhere.
    """
    named = _LABEL.fullmatch(namespace) is not None
    return _Rule(
        name=rule.name,
        selected=selects(rule.namespace_selector, labels),
        buckets=frozenset(
            bucket.replace(_NAMESPACE, namespace)
            for bucket in rule.buckets
            if named or _NAMESPACE not in bucket
        ),
        actions=frozenset(filter(_ACTION.fullmatch, rule.actions)).union(
            *map(actions_of, rule.access)
        ),
    )


def _allowing(rules: Iterable[_Rule]) -> Callable[[_Right], bool]:
    """Return what tells whether one of `rules` allows a right.

    Buckets and actions are each looked up once: there may be hundreds of them in thousands of
    rights, and of patterns in rules.
    """
    known = tuple(rules)

    @cache
    def for_bucket(bucket: str) -> frozenset[int]:
        return frozenset(at for at, rule in enumerate(known) if rule.has_bucket(reach(bucket)))

    @cache
    def for_action(action: str) -> frozenset[int]:
        return frozenset(at for at, rule in enumerate(known) if rule.has_action(action))

    return lambda right: not for_bucket(right.bucket).isdisjoint(for_action(right.action))


def _rights(grant: Grant) -> Iterator[_Right]:
    """Yield all that `grant` is rendered to."""
    for statement in statements_of(grant):
        buckets = {resource.partition("/")[0] for resource in statement.resources}
        for bucket in buckets:
            for action in statement.actions:
                yield _Right(bucket, action)


def _missing(grant: Grant, right: _Right, namespace: str, federation: str) -> str:
    """Return what to tell of a right that no rule allows: what it is, and what would allow it."""
    custom = grant.access is Access.CUSTOM
    asked = _quoted(right.action) if custom else str(grant.access)
    reached = reach(right.bucket)
    if is_global(right.action):
        where = "the whole organization"
    elif reached == right.bucket:
        where = f"bucket {_quoted(right.bucket)}"
    else:
        where = f"bucket {_quoted(right.bucket)}, which reaches {_quoted(reached)} in a policy,"
    return (
        f"{_named(grant)}: no grantRules entry of StorageFederation {_quoted(federation)} allows "
        f"{asked} on {where} for namespace {_quoted(namespace)}; an administrator can add one with "
        f"buckets: [{_quoted(reached)}] and {'actions' if custom else 'access'}: [{asked}]"
    )


def _nearest(right: _Right, rules: Iterable[_Rule]) -> str:
    """Return what the rule that is nearest to allowing `right` lacks, as the end of a message."""
    near: list[tuple[int, str, str]] = []
    for rule in rules:
        match rule.selected, rule.has_bucket(reach(right.bucket)), rule.has_action(right.action):
            case True, True, False:
                near.append((0, rule.name, "is for this bucket, but not for this access"))
            case False, True, True:
                lack = "allows this, but its namespaceSelector does not match the namespace"
                near.append((1, rule.name, lack))
            case True, False, True:
                near.append((2, rule.name, "allows this access, but not on this bucket"))
    if not near:
        return ""
    _, name, lack = min(near)
    return f"; rule {_quoted(name)} {lack}"


def _malformed(grant: Grant) -> str | None:
    """Return what is outside the alphabets of buckets, prefixes and actions, in words."""
    problems = [*_bad_buckets(grant), *_bad_prefixes(grant), *_bad_actions(grant)]
    return f"{_named(grant)}{min(problems)}" if problems else None


def _bad_buckets(grant: Grant) -> Iterator[str]:
    if not grant.buckets:
        yield ".buckets: there is none; name at least one"
    for bucket in grant.buckets:
        if len(bucket) > _BUCKET_LIMIT or not _BUCKET.fullmatch(bucket):
            yield (
                f".buckets: {_quoted(bucket)} is no bucket; use 3 to 63 of a-z, 0-9 and -, and * "
                "for any of them"
            )


def _bad_actions(grant: Grant) -> Iterator[str]:
    if grant.actions and grant.access is not Access.CUSTOM:
        yield f".actions: they are only read with access Custom, and access is {grant.access}"
    for action in grant.actions:
        if not _ACTION.fullmatch(action):
            yield (
                f".actions: {_quoted(action)} is no action; write s3: or cwobject: and letters, "
                "with * for any of them"
            )


def _bad_prefixes(grant: Grant) -> Iterator[str]:
    if grant.prefixes and any("*" in bucket for bucket in grant.buckets):
        yield ".prefixes: they need buckets without *; list the buckets by name"
    for prefix in grant.prefixes:
        if problem := _prefix_problem(prefix):
            yield f".prefixes: {_quoted(prefix)} {problem}"


def _prefix_problem(prefix: str) -> str | None:
    """Return what is wrong with a prefix, as it is or as somebody may read it.

    Keys are plain text to S3. But on their way they pass software that may decode, normalise or
    show them, so a prefix that only then says something else is refused too.
    """
    if not prefix:
        return "is empty; leave prefixes out to grant whole buckets"
    if len(prefix) > _PREFIX_LIMIT:
        return f"is longer than {_PREFIX_LIMIT} characters; shorten it"
    for text in (prefix, _decoded(prefix)):
        for is_wrong, problem in _WRONG_IN_PREFIXES:
            if is_wrong(text):
                return problem
    return None


def _unseen(text: str) -> bool:
    return any(unicodedata.category(character) in _UNSEEN for character in text)


def _decoded(prefix: str) -> str:
    """Return `prefix` in Unicode's plainest form, with no percent-encoding left."""
    before, after = "", prefix
    while before != after:  # each round shortens it, or is the last but one
        before, after = after, unicodedata.normalize("NFKC", unquote(after))
    return after


_WRONG_IN_PREFIXES: Final[tuple[tuple[Callable[[str], object], str], ...]] = (
    (_unseen, "has characters that cannot be seen; remove them"),
    (re.compile("/").match, "starts with a slash, which keys do not; remove it"),
    (_SPECIAL.search, r"has one of * ? [ ] \, and is taken literally; end it before that"),
    (_DOTS.search, "has . or .. for a folder, which keys do not have; write the key's beginning"),
)


def _named(grant: Grant) -> str:
    return f"spec.grants[{_quoted(grant.name)}]"


def _quoted(text: str) -> str:
    """Return `text` in quotes, short, and in ASCII, so that look-alikes are told apart."""
    return f'"{cut(text, _SHOWN).encode("ascii", "backslashreplace").decode()}"'
