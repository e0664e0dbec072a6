"""The one decoder layer of decoding, against transformers' own on a sequence of one token.

A token that sees nothing but itself reads its own value, whatever the scores: so attention needs no
second implementation here. Shapes: B rows, D hidden size, H query heads, Hkv key/value heads.
"""

import pytest
import torch

from models import load_policy
from models.decode.layer import FusedWeights, can_fold_norms, next_hidden
from models.rotary import rotary_tables
from tests.models.nano import FAMILIES, write_checkpoint

pytestmark = pytest.mark.model
IDS = torch.tensor([65, 3, 200])  # B = 3


class OnlyItself:
    """A context in which a token reads its own value; it keeps what it was given."""

    def __init__(self) -> None:
        self.seen = []

    def rotate(self, heads):
        return heads

    def attend(self, layer, query, key, value, scale):
        self.seen.append((layer, query, key, value, scale))
        return value.expand_as(query)


@pytest.fixture(scope="module", params=[(f, d) for f in FAMILIES for d in ("float32", "bfloat16")])
def policy(request, tmp_path_factory):
    family, dtype = request.param
    directory = write_checkpoint(tmp_path_factory.mktemp("nano") / family, family)
    policy = load_policy(directory, dtype=dtype)
    with torch.no_grad():  # all 1 in a new model, which would hide a norm that is folded wrongly
        for layer in policy.text.layers:
            for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                norm.weight.copy_(torch.linspace(0.5, 1.5, len(norm.weight)))
    return policy


def weights_of(policy, fold_norms: bool) -> FusedWeights:
    weights = FusedWeights(policy.text, fold_norms=fold_norms)
    weights.refresh(policy.text)
    return weights


@torch.no_grad()
@pytest.mark.parametrize("fold_norms", [True, False])
def test_a_token_that_sees_only_itself_is_what_transformers_makes_of_it(policy, fold_norms):
    if fold_norms and not can_fold_norms(policy.text):
        pytest.skip("norms are folded in float32 alone")
    text = policy.text
    rotary = rotary_tables(text, torch.zeros(3, 1, 1, dtype=torch.int64))  # position 0: no turn
    rotary = tuple(table.to(policy.dtype) for table in rotary)
    hidden = text.embed_tokens(IDS)[:, None]  # (B, 1, D)
    for layer in text.layers:
        hidden = layer(hidden, attention_mask=None, position_embeddings=rotary)
    expected = text.norm(hidden)[:, 0]

    found = next_hidden(text, weights_of(policy, fold_norms), IDS, OnlyItself())
    bar = {"atol": 1e-5, "rtol": 1e-5} if policy.dtype == torch.float32 else {"atol": 0, "rtol": 0}
    torch.testing.assert_close(found, expected, **bar)  # half precision: every rounding is theirs


@torch.no_grad()
def test_queries_lie_beside_the_key_they_share(policy):
    context, attention = OnlyItself(), policy.text.layers[0].self_attn
    next_hidden(policy.text, weights_of(policy, False), IDS, context)
    layer, query, key, value, scale = context.seen[0]
    assert layer == 0 and scale == attention.scaling
    normed = policy.text.layers[0].input_layernorm(policy.text.embed_tokens(IDS))  # (B, D)
    shape = (len(IDS), attention.num_key_value_heads, -1, attention.head_dim)
    for found, projection in ((query, "q_proj"), (key, "k_proj"), (value, "v_proj")):
        expected = getattr(attention, projection)(normed).view(shape)
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected)
    assert query.stride(2) == query.stride(1) // (query.shape[2] + 1)  # no copy was made of them


@torch.no_grad()
def test_fused_weights_stay_where_they_are_and_follow_the_policys(policy):
    weights = weights_of(policy, False)
    tensors = [tensor for layer in weights.layers for tensor in layer if tensor is not None]
    before, addresses = next_hidden(policy.text, weights, IDS, OnlyItself()), ids_of(tensors)
    projection = policy.text.layers[0].self_attn.v_proj.weight
    saved = projection.clone()
    projection.mul_(2)
    try:
        assert torch.equal(next_hidden(policy.text, weights, IDS, OnlyItself()), before)
        weights.refresh(policy.text)
        assert not torch.equal(next_hidden(policy.text, weights, IDS, OnlyItself()), before)
        assert ids_of(tensors) == addresses
    finally:
        projection.copy_(saved)


def ids_of(tensors) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]
