"""How often, and after which pauses, a call is tried again."""

import math
import random
from dataclasses import dataclass

from flo.exceptions import ValidationError

_DOUBLINGS_MAX = 30


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a call goes on after a refusal that did not run it, or after a lost answer.

    Calls are tried until their deadline, or `max_attempts` times in all; 1 turns trying again off.
    The pauses begin at about `initial_backoff_ms` and double up to `max_backoff_ms`, each with
    jitter.

        FloClient("localhost:9000", retry=RetryPolicy(max_attempts=1))
    """

    max_attempts: float = math.inf
    initial_backoff_ms: float = 10
    max_backoff_ms: float = 1000

    def __post_init__(self) -> None:
        if not self.max_attempts >= 1:
            raise ValidationError(f"max_attempts of {self.max_attempts}: at least 1 is needed")
        if not 0 <= self.initial_backoff_ms <= self.max_backoff_ms < math.inf:
            raise ValidationError(
                f"initial_backoff_ms ({self.initial_backoff_ms}) must be from 0 to"
                f" max_backoff_ms ({self.max_backoff_ms})"
            )

    def pause_s(self, retries: int) -> float:
        """How long to wait before retry number `retries`, counted from 1."""
        doubled = self.initial_backoff_ms * (1 << min(retries - 1, _DOUBLINGS_MAX))
        ceiling_ms = min(doubled, self.max_backoff_ms)
        # Not below a half: many callers that failed together shall spread, but none shall hammer.
        return ceiling_ms * random.uniform(0.5, 1.0) / 1000


DEFAULT_RETRY_POLICY = RetryPolicy()
