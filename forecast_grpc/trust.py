"""What an operator trusts. It comes from settings and from nowhere else, least of all from an artefact."""

from dataclasses import dataclass
from hashlib import sha256

from forecast_grpc.container import CUSTOMER_ID, SIGNATURE, Parts, signed_message
from forecast_grpc.errors import ModelCorrupt, ModelFormatForbidden


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Which artefacts may be used. By default: all that are whole, and no pickles."""

    allow_pickles: bool = False
    """Whether pickles may be loaded, which run whatever code their author put into them."""

    pickle_digests: frozenset[str] = frozenset()
    """SHA-256 digests of the pickles that may be loaded, in lower-case hexadecimal digits; empty for any."""

    public_keys: tuple[str, ...] = ()
    """Keys one of which must have signed each artefact; empty where none need be signed."""

    def check_origin(self, parts: Parts, customer_id: str) -> None:
        """Raises ModelCorrupt where the artefact was signed for another customer, or by nobody who is trusted.

        `customer_id` is empty where it is nobody's yet.
        """
        owner = parts.metadata.get(CUSTOMER_ID)
        if customer_id and owner not in (None, customer_id):
            raise _corrupt("The model was signed for another customer: publish this one's own.", customer_id)
        if not self.public_keys:
            return
        signature = parts.metadata.get(SIGNATURE)
        if signature is None or owner is None:
            raise self._unsigned(customer_id)
        # A replica that needs no signatures is not to load the library for them.
        from forecast_grpc.signing import verify  # noqa: PLC0415

        if not verify(signed_message(parts), signature, self.public_keys):
            text = (
                "The model's signature is not by a key that is trusted here: publish it again, signed by one."
            )
            raise _corrupt(text, customer_id)

    def check_pickle(self, payload: bytes, customer_id: str, *, signed: bool) -> None:
        """Raises ModelFormatForbidden or ModelCorrupt where this pickle must not be loaded.

        `signed` says whether it comes in an artefact, whose signature has been looked at.
        """
        if not self.allow_pickles:
            raise pickle_forbidden(customer_id)
        if self.public_keys and not signed:
            raise self._unsigned(customer_id)
        digest = sha256(payload).hexdigest()
        if self.pickle_digests and digest not in self.pickle_digests:
            text = (
                f"The model is a pickle that is not among those allowed here: its SHA-256 digest is {digest}."
            )
            raise ModelFormatForbidden(text, metadata=_facts(customer_id))

    def _unsigned(self, customer_id: str) -> ModelCorrupt:
        text = (
            "The model is not signed, and has to be here: publish it again, signed by a key that is trusted."
        )
        return _corrupt(text, customer_id)


def pickle_forbidden(customer_id: str) -> ModelFormatForbidden:
    """The error for a pickle where pickles are off."""
    whose = f" of the customer {customer_id}" if customer_id else ""
    text = (
        f"The model{whose} is a pickle, which runs code when it is loaded, and pickles are not allowed here. "
        "Publish it as a safetensors artefact."
    )
    return ModelFormatForbidden(text, metadata=_facts(customer_id))


def _corrupt(text: str, customer_id: str) -> ModelCorrupt:
    return ModelCorrupt(text, metadata=_facts(customer_id))


def _facts(customer_id: str) -> dict[str, str]:
    return {"customer_id": customer_id} if customer_id else {}
