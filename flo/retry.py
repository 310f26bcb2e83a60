"""How often, and after which pauses, a call is tried again."""

import math
import random
from dataclasses import dataclass

from flo.exceptions import OverloadedError, UnavailableError
from flo.types import Ran

_DOUBLINGS_MAX = 30


def _attempts(given: float) -> float:
    # The deadline still ends a call that may be tried for ever.
    if given == math.inf:
        return math.inf
    return max(1, int(given)) if math.isfinite(given) else 1


def _finite(value: float, *, instead: float) -> float:
    return value if math.isfinite(value) else instead


@dataclass(frozen=True)
class RetryPolicy:
    """How a call goes on after a refusal that did not run it, or after a lost answer.

    Calls are tried until their deadline, or `max_attempts` times in all; 1 turns trying again off.
    The pauses begin at about `initial_backoff_ms` and double up to `max_backoff_ms`, each with
    jitter.

    Odd values are put right, never refused: fewer than one attempt, or NaN, is 1; a fraction of an
    attempt is dropped; a negative or non-finite pause is 0; a longest pause that is shorter than
    the first one, or not finite, is as long as the first one.

    Example:
        client = FloClient("localhost:9000", retry=RetryPolicy(max_attempts=1))
    """

    max_attempts: float = math.inf
    initial_backoff_ms: float = 10
    max_backoff_ms: float = 1000

    def __post_init__(self) -> None:
        initial = _finite(self.initial_backoff_ms, instead=0.0)
        initial = max(initial, 0.0)
        most = max(_finite(self.max_backoff_ms, instead=initial), initial)
        # Frozen, and these are its own fields.
        object.__setattr__(self, "max_attempts", _attempts(self.max_attempts))
        object.__setattr__(self, "initial_backoff_ms", initial)
        object.__setattr__(self, "max_backoff_ms", most)

    def pause_s(self, retries: int) -> float:
        """How long to wait before retry number `retries`, counted from 1."""
        doubled = self.initial_backoff_ms * (1 << min(retries - 1, _DOUBLINGS_MAX))
        ceiling_ms = min(doubled, self.max_backoff_ms)
        # Not below a half: many callers that failed together shall spread, but none shall hammer.
        return ceiling_ms * random.uniform(0.5, 1.0) / 1000


DEFAULT_RETRY_POLICY = RetryPolicy()


def is_refused_unrun(exc: BaseException) -> bool:
    """Whether a node refused the request for now and did not run it: try again later."""
    return isinstance(exc, OverloadedError | UnavailableError) and exc.ran is Ran.NO
