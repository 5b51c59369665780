"""Patterns in which `*` stands for any characters, also none, and nothing else is special."""


def within(pattern: str, bound: str) -> bool:
    """Tell whether every text that `pattern` matches is matched by `bound` too.

    Exact: put a character that occurs in neither for each star of `pattern`. That text is one of
    those that `pattern` matches, and of `bound` only a star can match that character, which then
    matches whatever else stands there. So `pattern` itself is matched as if it were a text; each
    part of `bound` is taken where it first fits, since a star takes up all that lies between.

    >>> within("team-a-*", "team-*"), within("*", "team-*"), within("a*", "a*b")
    (True, False, False)
    """
    first, *rest = bound.split("*")
    if not rest:
        return pattern == bound
    *middle, last = rest
    at, end = len(first), len(pattern) - len(last)
    if at > end or not (pattern.startswith(first) and pattern.endswith(last)):
        return False
    for part in middle:
        found = pattern.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
