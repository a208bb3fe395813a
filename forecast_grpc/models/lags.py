"""Which values of a window a direct autoregression looks at: the few that matter where there is a season."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Lags:
    """Which values of a window a seasonal autoregression looks at. ValueError where they do not fit into it."""

    window: int
    """L, the values that the lags are chosen from: whole seasons, or any number where there is no season."""

    season_length: int
    """Steps in a season; 1 where there is none."""

    recent: int
    """Values before the last one."""

    @property
    def seasons(self) -> int:
        """Seasons in the window; 0 where there is no season."""
        return self.window // self.season_length if self.season_length > 1 else 0

    @property
    def count(self) -> int:
        """K, the lags of a step: `recent`, the origin's place in past seasons, the target's in each season."""
        return self.recent + max(2 * self.seasons - 1, 0)


@lru_cache(maxsize=256)
def known_lags(window: int, season_length: float, recent: float) -> Lags:
    """The lags, of numbers as an artefact holds them; one object for all models of this form.

    Raises ValueError where they do not fit into the window.
    """
    if not (1 <= season_length <= window and 0 <= recent < window):
        raise ValueError(f"the lags {season_length}, {recent} do not fit a window of {window}")
    return Lags(window=window, season_length=int(season_length), recent=int(recent))


@lru_cache(maxsize=256)
def places(lags: Lags, horizon: int) -> NDArray[np.intp]:
    """Where in the window the lags of each step lie, shape (horizon, K), read-only.

    In this order: the values before the last one, those at the origin's place in the seasons before, those at
    the target's place in each season; always the newest first.
    """
    end, season_length = lags.window, lags.season_length
    past = season_length * np.arange(1, lags.seasons + 1)
    fixed = np.concatenate([end - 2 - np.arange(lags.recent), end - 1 - past[:-1]])
    targets = end - past + (np.arange(horizon) % season_length)[:, np.newaxis]
    index = np.concatenate([np.broadcast_to(fixed, (horizon, fixed.size)), targets], axis=1).astype(np.intp)
    # It is shared by all models of this form.
    index.flags.writeable = False
    return index
