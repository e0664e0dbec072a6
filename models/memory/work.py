"""How much of a step one process has in its hands at once.

Letters: N prompts, G completions each, P prompt tokens, C completion tokens, M rows of a
micro-batch.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """Sizes of a step; every completion is counted at its limit, as long as it can become."""

    prompts: int  # N, of this process
    group_size: int  # G
    prompt_tokens: int  # P, those of its images included
    completion_tokens: int  # C
    patches: int  # of one prompt's images; a 384 x 384 image has 784 (28 x 28)
    budget: int  # tokens of a micro-batch, --micro-batch-tokens
    iterations: int = 1  # passes over the completions

    @property
    def rows(self) -> int:
        """Completions of the step, N G."""
        return self.prompts * self.group_size

    @property
    def _group_tokens(self) -> int:
        return self.prompt_tokens + self.group_size * self.completion_tokens

    @property
    def prompts_at_once(self) -> int:
        """Groups of a micro-batch, at least the piece of one."""
        return max(1, min(self.prompts, self.budget // self._group_tokens))

    @property
    def rows_at_once(self) -> int:
        """Rows of a micro-batch, M."""
        if self._group_tokens <= self.budget:
            return self.prompts_at_once * self.group_size
        room = (self.budget - self.prompt_tokens) // self.completion_tokens
        return min(self.group_size, max(1, room))

    @property
    def is_whole(self) -> bool:
        """Whether one micro-batch holds the step."""
        return self.prompts * self._group_tokens <= self.budget

    @property
    def fed(self) -> int:
        """Tokens of a row that are run: the last one predicts nothing."""
        return self.completion_tokens - 1
