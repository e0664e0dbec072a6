"""The policy: transformers' Qwen2-VL, run so that a group shares its image and its prompt.

Made by `models.load_policy`. Three ways to run it, with the same numbers but for rounding:

    scored_hidden          whole completions at once, with gradient: reference pass and update
    run_prompts            prompts and images alone, for either of the others to go on from
    prefill, then decode   one token of every row at a time, without gradient: rollout

Shapes: N prompts, M completion rows (prompt-major), B rows of a rollout, C completion tokens, S
scored tokens, D hidden size, V vocabulary, T packed tokens (models/shared/groups.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from models.architecture import QwenVL
from models.decode import eager
from models.decode.graphed import GraphedDecoder, choose_decoder
from models.decode.state import DecodeState
from models.model import PolicyModel
from models.prompts.processor import Processor
from models.prompts.prompt import EncodedPrompt
from models.rotary import rotary_tables
from models.shared.attention import GroupReader, choose_reader, flash_of
from models.shared.groups import PackedGroups, packed_positions
from models.shared.inputs import check_completions, embed_groups, pack_rows
from models.shared.layers import Rotary, run_completions, run_groups, run_prompts
from models.shared.padded import KeysValues, PaddedReader


@dataclass(frozen=True)
class PromptPass:
    """The state after one run of N prompts and images, from which their completions continue."""

    prompts: tuple[EncodedPrompt, ...]
    last_hidden: Tensor  # (N, D), the state of each prompt's last token before the final norm
    keys_values: list[KeysValues]  # per layer


class DecodingCopy(Protocol):
    """A plain policy that decodes what another one, which cannot, is trained to be."""

    def policy(self) -> "Policy":
        """Return it with the weights as they are now; its tensors stay where they are."""
        ...

    def weights_moved(self) -> None:
        """Note that the trained weights are others now: the next `policy()` writes them anew."""
        ...

    def free(self) -> None:
        """Give back its memory; the next `policy()` takes it anew."""
        ...


class Policy(PolicyModel):
    """A Qwen2-VL or Qwen2.5-VL that scores, prefills and decodes groups."""

    def __init__(self, model: QwenVL, processor: Processor, path: str | Path) -> None:
        super().__init__(model, processor, path)
        # "auto": CUDA graphs on CUDA, no graphs on a CPU; "off": none anywhere; "stand-in": the
        # graphs' own step, called instead of captured, on any device
        self.decode_graphs = "auto"
        self._decoder: GraphedDecoder | None = None
        self.decoding_copy: DecodingCopy | None = None  # None: this policy decodes itself
        self.keeps_decoding_copy = True  # beside what comes between two rollouts

    def sampler(self) -> "Policy":
        """Return the policy that samples, answers and is saved: this one, or its decoding copy.

        Where weights are spread over processes, all of them call this together; what is done with
        the sampler afterwards concerns nobody else.
        """
        return self if self.decoding_copy is None else self.decoding_copy.policy()

    def rollout_is_over(self) -> None:
        """Free a decoding copy that does not fit beside the update, until it is wanted again."""
        if self.decoding_copy is not None and not self.keeps_decoding_copy:
            self.decoding_copy.free()

    def weights_moved(self) -> None:
        """Note that weights have been written: a decoding copy is made anew when it is wanted."""
        if self.decoding_copy is not None:
            self.decoding_copy.weights_moved()

    @property
    def calls_whole_layers(self) -> bool:
        """Whether weights are there only while their layer is called as it is."""
        return self.offloaded

    @property
    def keeps_prompt_passes(self) -> bool:
        """Whether `scored_hidden` can go on from a pass over the prompts.

        Gradient checkpointing throws away what it would need, and varlen flash
        (models/shared/varlen.py) reads prompts and completions of one forward together.
        """
        return not self.gradient_checkpointing and flash_of(self.text) is None

    def scored_hidden(
        self,
        prompts: Sequence[EncodedPrompt],
        rows_per_prompt: Sequence[int],
        completion_ids: Tensor,
        lengths: Sequence[int],
        *,
        image_features: Sequence[Tensor] | None = None,
        prompt_pass: PromptPass | None = None,
    ) -> Tensor:
        """Return the hidden states that predict each completion token, (S, D), after the norm.

        Row after row, of each the first ``lengths`` tokens: token 0 is predicted from the prompt's
        last one, token t from completion token t - 1. Each prompt and image is run once for all its
        rows, with the gradient that as many copies would have (docs/prefix.md). What lies after a
        row's length is not run, so completions of very different length cost what their tokens
        cost. With a pass over these prompts from before, made by the same weights, only completions
        are run.

        Args:
            prompts: N of them, of any lengths.
            rows_per_prompt: completions of each prompt; they sum to M.
            completion_ids: (M, C) int64, rows in the prompts' order.
            lengths: M of them, from 1 to C.
            image_features: as `image_features` returns them; computed here when None.
            prompt_pass: what to go on from.

        Raises:
            ValueError: rows or lengths do not fit.
            RuntimeError: a pass is given that this policy cannot go on from.
        """
        if prompt_pass is not None and not self.keeps_prompt_passes:
            raise RuntimeError("this policy keeps no pass over prompts to go on from")
        check_completions(prompts, rows_per_prompt, completion_ids, lengths)
        # Teacher forcing: token t is the input that predicts token t + 1. A row's last token
        # predicts nothing that is scored, so it is not fed.
        fed = [length - 1 for length in lengths]
        groups = self._groups(prompts, rows_per_prompt, fed)
        fed_ids = pack_rows(completion_ids, fed).to(self.device)  # (T_c,)
        # After a pass the prompts cost nothing here; their gradient goes on into its graph.
        if prompt_pass is None:
            inputs = self._layer_inputs(prompts, groups, fed_ids, image_features)
            ends, rest = run_groups(
                self.text, *inputs, whole=self.calls_whole_layers
            )  # (N, D), (T_c, D)
        else:
            ends, rest = prompt_pass.last_hidden, self._run_after(prompt_pass, groups, fed_ids)
        return self.text.norm(groups.predicting(ends, rest))

    def run_prompts(self, prompts: Sequence[EncodedPrompt]) -> PromptPass:
        """Return a pass over the prompts and their images that completions can go on from.

        `prefill` can, and with gradient enabled one `scored_hidden` and its backward too, if this
        policy `keeps_prompt_passes`.
        """
        groups = self._groups(prompts, [1] * len(prompts), [0] * len(prompts))
        # A packed row of prompts alone: each is its own group, of a row without tokens.
        no_tokens = torch.empty(0, dtype=torch.int64, device=self.device)  # (0,), T_c = 0
        inputs = self._layer_inputs(prompts, groups, no_tokens)
        ends, keys_values = run_prompts(self.text, *inputs, whole=self.calls_whole_layers)
        return PromptPass(tuple(prompts), ends, keys_values)

    @torch.no_grad()
    def prefill(
        self,
        prompts: Sequence[EncodedPrompt],
        rows_per_prompt: Sequence[int],
        max_new_tokens: int,
        prompt_pass: PromptPass | None = None,
    ) -> tuple[DecodeState, Tensor]:
        """Return the state to decode from and the (B, D) hidden states of each row's first token.

        Each prompt is run once, or not at all where a pass over them is given; its keys and values
        are then laid out for its rows, with room for max_new_tokens tokens more. Where CUDA graphs
        decode, only the last state can go on, and their memory stays: see models/decode/graphed.py.
        """
        if self.offloaded:
            raise RuntimeError("an offloaded policy cannot decode: its weights are on the CPU")
        if prompt_pass is None:
            prompt_pass = self.run_prompts(prompts)
        groups = self._groups(prompts, rows_per_prompt, [0] * sum(rows_per_prompt))
        # Decoding needs no gradient, and the pass may still be waiting for its own.
        keys_values = [(key.detach(), value.detach()) for key, value in prompt_pass.keys_values]
        first = self.text.norm(prompt_pass.last_hidden)  # (N, D)
        self._decoder = choose_decoder(self.decode_graphs, self.device, self._decoder)
        start = eager.start if self._decoder is None else self._decoder.start
        state = start(self.text, prompts, groups, keys_values, max_new_tokens)
        return state, groups.repeat_prompts(first)

    @torch.no_grad()
    def decode(self, state: DecodeState, token_ids: Tensor) -> Tensor:
        """Return the (B, D) hidden states after one more token of every row, (B,) int64."""
        return state.decode(token_ids)

    def free_decoding(self) -> None:
        """Give back what CUDA graphs of decoding keep; the next prefill makes it anew."""
        self._decoder = None

    def _groups(
        self,
        prompts: Sequence[EncodedPrompt],
        rows_per_prompt: Sequence[int],
        completion_lengths: Sequence[int],
    ) -> PackedGroups:
        """Return where each token of these prompts and completions lies in one packed row."""
        return PackedGroups(
            prompt_lengths=[prompt.num_tokens for prompt in prompts],
            rows_per_prompt=list(rows_per_prompt),
            completion_lengths=list(completion_lengths),
            device=self.device,
            dtype=self.dtype,
        )

    def _layer_inputs(
        self,
        prompts: Sequence[EncodedPrompt],
        groups: PackedGroups,
        completion_ids: Tensor,  # (T_c,)
        image_features: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Rotary, GroupReader]:
        """Return what the layers take of a packed row: embeddings, (T, D), tables and reader."""
        if image_features is None:
            image_features = self.image_features(prompts)
        image_token = self.processor.image_token_id
        hidden = embed_groups(self.text, prompts, completion_ids, image_features, image_token)
        rotary = rotary_tables(self.text, packed_positions(prompts, groups))
        return hidden, rotary, choose_reader(self.text, groups)

    def _run_after(self, prompt_pass: PromptPass, groups: PackedGroups, fed_ids: Tensor) -> Tensor:
        """Return the states of the completions' tokens, (T_c, D), after prompts already run."""
        hidden = self.text.embed_tokens(fed_ids)  # (T_c, D)
        # Completions of one token are predicted from their prompts alone: nothing is fed.
        if len(hidden) == 0:
            return hidden
        reader = choose_reader(self.text, groups)
        assert isinstance(reader, PaddedReader)  # else `keeps_prompt_passes` is false
        # The positions of the whole packed row, cut to the completions: they are what is run.
        positions = packed_positions(prompt_pass.prompts, groups)[..., groups.num_prompt_tokens :]
        rotary = rotary_tables(self.text, positions)
        return run_completions(self.text, hidden, rotary, reader, prompt_pass.keys_values)
