"""What the guide to tenancy shows is what is said."""

import yaml

from caios_federation.api.binding import Grant
from caios_federation.api.federation import parse_federation
from caios_federation.core.grants import refusal
from meta.pages import DOCS, blocks

GUIDE = DOCS / "guides/tenancy.md"


def test_the_message_of_a_refused_grant_is_the_one_that_is_shown() -> None:
    federation = parse_federation(yaml.safe_load(blocks("yaml", GUIDE)[0].text))
    (shown,) = blocks("text", GUIDE)
    asked = {"name": "models", "buckets": ["shared-datasets"], "access": "ReadWrite"}
    labels = {"example.com/team": "a"}
    rules = federation.spec.grant_rules
    message = refusal([Grant.model_validate(asked)], rules, "team-a", labels, federation.meta.name)
    assert message == " ".join(shown.text.split())
