"""What has been asked for since, against the whole list of requests."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_grpc.loading import recency
from forecast_grpc.loading.recency import RecencyStack

CUSTOMERS = st.sampled_from("abcdefghij")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), CUSTOMERS, st.integers(1, 4), st.integers(1, 1_000)),
        st.tuples(st.just("weigh"), CUSTOMERS, st.integers(1, 4), st.just(0)),
        st.tuples(st.just("drop"), CUSTOMERS, st.just(0), st.just(0)),
    ),
    max_size=120,
)


def play(stack: RecencyStack, steps: Sequence[tuple[str, str, int, int]]) -> dict[str, tuple[int, int]]:
    """What stands in the stack after these steps, the last to ask at the end: weight and bytes of one."""
    known: dict[str, tuple[int, int]] = {}
    for step, customer, weight, nbytes in steps:
        if step == "push":
            stack.push(customer, weight, nbytes, at=0.0)
            known.pop(customer, None)
            known[customer] = (weight, nbytes)
        elif step == "weigh":
            stack.weigh(customer, weight)
            if customer in known:
                known[customer] = (weight, known[customer][1])
        else:
            stack.drop(customer)
            known.pop(customer, None)
    return known


@given(STEPS)
def test_what_has_been_asked_for_since(steps: list[tuple[str, str, int, int]]) -> None:
    """Whatever is asked for, weighed or dropped in whatever order: the sums are those of everybody behind."""
    with pytest.MonkeyPatch.context() as patched:
        # Blocks of four, so that a few steps fill many, and the line is dealt out anew.
        patched.setattr(recency, "BLOCK", 4)
        stack = RecencyStack(10)
        known = play(stack, steps)
        assert stack.customers() == tuple(known)
        for place, customer in enumerate(known):
            behind = list(known.values())[place + 1 :]
            assert stack.since(customer) == pytest.approx(
                (sum(weight for weight, _ in behind), sum(weight * nbytes for weight, nbytes in behind))
            )
        assert stack.models == pytest.approx(sum(weight for weight, _ in known.values()))
        assert stack.nbytes == pytest.approx(sum(weight * nbytes for weight, nbytes in known.values()))


def test_who_has_not_come_for_long() -> None:
    """Those whose last request is older go; a later request keeps a customer."""
    stack = RecencyStack(10)
    for at, customer in enumerate("abca"):
        stack.push(customer, 1.0, 1.0, at=float(at))
    stack.drop_before(2.0)
    assert stack.customers() == ("c", "a")
    assert stack.models == 2.0
