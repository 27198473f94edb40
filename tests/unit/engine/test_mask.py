import json

import pytest

from provision.engine.events import HostFinished, as_json
from provision.engine.mask import masked, masked_value
from provision.values import Secret, quote

SECRETS = ["hunter2-for-masking", "it's a pass'word", 'with "quotes" and \\ back', "längeres Geheimnis"]


@pytest.mark.parametrize("text", SECRETS)
def test_a_revealed_secret_is_replaced_in_every_form(text: str) -> None:
    assert Secret.of(text).reveal() == text
    said = masked(f"login {text} failed; ran {quote(text)} and 'x={quote(text)[1:-1]}'")
    assert text not in said
    assert quote(text) not in said
    assert "***" in said


def test_in_json_too() -> None:
    for text in SECRETS:
        Secret.of(text).reveal()
    event = HostFinished(host="a", status="failed", changed=0, unchanged=0, seconds=1.0, error=" ".join(SECRETS))
    line = json.dumps(as_json(event))
    assert not [text for text in SECRETS if json.dumps(text)[1:-1] in line]
    assert masked_value({SECRETS[0]: [SECRETS[1], 3, None]}) == {"***": ["***", 3, None]}


def test_a_secret_within_another_is_replaced_after_it() -> None:
    Secret.of("abcdefgh").reveal()
    Secret.of("abcdefgh-and-more").reveal()
    assert masked("x abcdefgh-and-more y") == "x *** y"


def test_very_short_secrets_do_not_blank_the_text() -> None:
    Secret.of("a").reveal()
    assert masked("banana") == "banana"
