"""What can be wrong with a history: with the whole file, or with one customer's series."""


class TableError(ValueError):
    """The file as a whole cannot be read as history. The message is one sentence for a person."""


class SeriesError(ValueError):
    """One customer's history cannot be fitted. The message is one sentence for a person."""


class ClusterError(RuntimeError):
    """A Ray cluster cannot fit what it was given. The message is one sentence for a person."""
