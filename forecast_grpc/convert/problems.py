"""What can keep a model from being converted."""


class ConversionError(ValueError):
    """The model cannot be served as it is. The message is one sentence that says why, and what to do."""
