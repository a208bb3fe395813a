"""Who asks most, against counts of everybody."""

from collections import Counter

import numpy as np
import pytest

from forecast_grpc.loading.frequent import FrequentCustomers


def zipf(customers: int, requests: int, exponent: float) -> list[str]:
    """Requests for customers whose shares fall with their rank."""
    shares = 1.0 / np.arange(1, customers + 1) ** exponent
    ranks = np.random.default_rng(7).choice(customers, requests, p=shares / shares.sum())
    return [f"customer-{rank}" for rank in ranks]


def test_few_customers_are_counted_exactly() -> None:
    """As long as the table holds everybody, counts are right."""
    counted = FrequentCustomers()
    for customer in "abacabad":
        counted.record(customer)
    assert counted.top(3) == [("a", 4), ("b", 2), ("c", 1)]
    assert counted.error == 0


def test_what_was_long_ago_counts_less() -> None:
    """Counts fade alike, and who comes to less than half a request is forgotten."""
    counted = FrequentCustomers()
    for customer in "aaaab":
        counted.record(customer)
    counted.age(0.4)
    ((name, count),) = counted.top(3)
    assert (name, round(count, 9)) == ("a", 1.6)
    counted.record("b")
    counted.record("b")
    assert [name for name, _ in counted.top(3)] == ["b", "a"]


@pytest.mark.parametrize("exponent", [1.1, 1.5])
def test_many_customers(exponent: float) -> None:
    """Of more customers than the table holds the top ones are found, each count within the error, never above."""
    trace = zipf(50_000, 200_000, exponent)
    counted, true = FrequentCustomers(), Counter(trace)
    for customer in trace:
        counted.record(customer)
    assert len(counted._counts) <= 2_000
    assert counted.error <= len(trace) / 1_000
    for customer, count in counted.top(20):
        assert true[customer] - counted.error <= count <= true[customer]
    assert {name for name, _ in counted.top(20)} >= {name for name, _ in true.most_common(10)}
