"""The last layer runs where it is read, and what it leaves out has no part in any gradient.

That values and gradients equal those of whole layers is what tests/models/test_prefix.py shows,
against transformers' own model.

Shapes: N prompts, M rows, D hidden size.
"""

import pytest
import torch

from models import load_policy
from tests.models.hidden import completion_hidden
from tests.models.nano import FAMILIES, random_image, write_checkpoint

pytestmark = pytest.mark.model


@pytest.fixture(scope="module", params=FAMILIES)
def policy(request, tmp_path_factory):
    return load_policy(write_checkpoint(tmp_path_factory.mktemp("nano") / "m", request.param))


@pytest.fixture(scope="module")
def prompts(policy):
    encode = policy.processor.encode
    return [encode("Which plane is this?", [random_image(56, 84)]), encode("Name it.")]


@pytest.fixture
def tokens(policy):
    """How many tokens went through each layer's MLP, layer after layer."""
    seen, hooks = [], []
    for layer in policy.text.layers:
        hook = layer.mlp.register_forward_hook(
            lambda _module, given, _out: seen.append(given[0].shape[-2])
        )
        hooks.append(hook)
    yield seen
    for hook in hooks:
        hook.remove()


def test_prompt_tokens_that_nobody_reads_skip_the_last_layer(policy, prompts, tokens):
    length = sum(prompt.num_tokens for prompt in prompts)
    ids = torch.arange(5 * 4).view(5, 4)
    completion_hidden(policy, prompts, [3, 2], ids)
    own = 5 * 3  # nothing is predicted from a row's last token
    assert tokens == [length + own, 2 + own]
    tokens.clear()
    policy.run_prompts(prompts)
    assert tokens == [length, 2]


def test_completions_alone_run_through_all_layers(policy, prompts, tokens):
    prompt_pass = policy.run_prompts(prompts)
    tokens.clear()
    ids = torch.arange(5 * 4).view(5, 4)
    policy.scored_hidden(prompts, [3, 2], ids, [4, 1, 2, 4, 3], prompt_pass=prompt_pass)
    assert tokens == [3 + 0 + 1 + 3 + 2] * 2


@torch.no_grad()
def test_whole_layers_give_the_same(policy, prompts, monkeypatch):
    ids = torch.arange(5 * 4).view(5, 4)
    ours = completion_hidden(policy, prompts, [3, 2], ids)
    monkeypatch.setattr(policy, "offloaded", True)
    whole = completion_hidden(policy, prompts, [3, 2], ids)
    torch.testing.assert_close(ours, whole, atol=1e-5, rtol=1e-5)
