"""The name of a customer, checked where it enters the house and again before it becomes a path."""

from functools import lru_cache

from forecast_grpc.domain import CUSTOMER_ID_PATTERN
from forecast_grpc.errors import CustomerIdInvalid, CustomerIdMissing

MAX_KNOWN = 4_096
"""Names that need not be looked at again: those who ask most are among them."""


@lru_cache(maxsize=MAX_KNOWN)
def require_customer_id(customer_id: str) -> None:
    """Raises CustomerIdMissing or CustomerIdInvalid unless this may name a customer."""
    if not customer_id:
        raise CustomerIdMissing(
            "No customer was named. Name one in the gRPC metadata multiplexed_model_id, or in the HTTP header "
            "serve_multiplexed_model_id."
        )
    if not CUSTOMER_ID_PATTERN.fullmatch(customer_id):
        raise CustomerIdInvalid(
            "A customer is named by 1 to 128 characters of A-Z a-z 0-9 . _ -, the first a letter or a digit."
        )
