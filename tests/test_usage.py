"""Curves: read between their points, turned round, added up."""

import pytest

from forecast_grpc.usage import added, answered, size_for

CURVE = ((10, 20.0), (20, 50.0), (40, 60.0))


@pytest.mark.parametrize(
    ("size", "requests"), [(0, 0.0), (5, 10.0), (10, 20.0), (15, 35.0), (20, 50.0), (30, 55.0), (99, 60.0)]
)
def test_between_two_sizes_in_proportion(size: float, requests: float) -> None:
    """And nothing more beyond the last."""
    assert answered(CURVE, size) == pytest.approx(requests)


def test_the_size_for_so_many() -> None:
    """The other way round; None where no size is enough."""
    for size in (5.0, 10.0, 15.0, 20.0, 30.0, 40.0):
        assert size_for(CURVE, answered(CURVE, size)) == pytest.approx(size)
    assert size_for(CURVE, 61.0) is None
    assert size_for((), 1.0) is None


def test_curves_add_up() -> None:
    """At each size of any of them the sum is what all of them answer there."""
    other = ((15, 5.0), (20, 6.0))
    assert added([CURVE, other]) == ((10, 20.0), (15, 25.0), (20, 56.0), (40, 66.0))
    assert added([]) == ()


def test_an_empty_curve() -> None:
    """Answers nothing."""
    assert answered((), 10) == 0.0
