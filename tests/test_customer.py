"""What may name a customer."""

from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_grpc.customer import require_customer_id
from forecast_grpc.errors import CustomerIdInvalid, CustomerIdMissing

GOOD = "abcXYZ019._-"


@pytest.mark.parametrize("name", ["a", "0", "customer_123", "A.b-c_d", "a..", "a" * 128, "con", "1.5"])
def test_good_names_pass(name: str) -> None:
    """1 to 128 letters, digits, dots, underscores and hyphens, a letter or digit first."""
    require_customer_id(name)


@pytest.mark.parametrize(
    "name",
    [
        ".",
        "..",
        ".a",
        "_a",
        "-a",
        "a/b",
        "a\\b",
        "a b",
        " a",
        "a ",
        "a\n",
        "a\0",
        "ä",
        "\uff11",
        "a%2fb",
        "a" * 129,
    ],
)
def test_bad_names_are_refused(name: str) -> None:
    """What could leave a folder, end a line or be taken for another name cannot name a customer."""
    with pytest.raises(CustomerIdInvalid):
        require_customer_id(name)


def test_no_name_is_its_own_error() -> None:
    """An empty name is a missing one, and the message says where to put it."""
    with pytest.raises(CustomerIdMissing, match="multiplexed_model_id"):
        require_customer_id("")


@given(st.text(max_size=140) | st.text(alphabet=GOOD, max_size=140))
def test_the_rule_is_the_contracts(name: str) -> None:
    """Any text at all passes exactly where the contract's words hold."""
    allowed = "".join(map(chr, (*range(48, 58), *range(65, 91), *range(97, 123))))
    good = 1 <= len(name) <= 128 and name[0] in allowed and set(name) <= {*allowed, *"._-"}
    with nullcontext() if good else pytest.raises((CustomerIdInvalid, CustomerIdMissing)):
        require_customer_id(name)
