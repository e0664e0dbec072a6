"""One curation, from its settings to what is written: rows are read, sampled, judged.

What can be wrong in flags and files is told before torch is imported, which takes seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.examples import VQAExample
from evaluation.answers.identity import CurationIdentity, check_agreed
from evaluation.asked_rows import AskedRows, load_asked_rows
from evaluation.asking.asked_model import (
    AskedModel,
    asked_model,
    chosen_device,
    chosen_dtype,
    chosen_policy,
)
from evaluation.asking.built_in import say_same_names
from evaluation.asking.preflight import Preflight, left_out_before, tell_gone_bad
from evaluation.asking.settings import describe
from evaluation.curate.crossfit import crossfit
from evaluation.curate.curate_config import CurateConfig
from evaluation.curate.effect import summarize_curation
from evaluation.curate.pass_counts import PassesFile
from evaluation.curate.place import SETTINGS, open_place, write_curation
from evaluation.curate.reasons import CuratedRow, judge_row
from evaluation.curate.split import split_files
from process.ranks import world

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Curation:
    """A curation that is ready to be sampled, or to go on."""

    config: CurateConfig
    model: AskedModel
    data: AskedRows
    prior_choices: Sequence[str | None]  # one per row, of a text prior that has not seen it
    device: "torch.device"
    identity: CurationIdentity
    passes: PassesFile

    @classmethod
    def prepare(cls, config: CurateConfig) -> "Curation":
        """Read and check everything but the weights; a new directory is made last.

        Raises:
            ValueError, OSError: a file or an image is missing or wrong, a flag cannot be used, or
                the output directory is of another curation.
        """
        output = Path(config.output_dir)
        left_out = world().by_the_first("going on", lambda: left_out_before(output / SETTINGS))
        with world().together("reading the rows"):
            return cls._prepared(config, output, left_out)

    @classmethod
    def _prepared(
        cls, config: CurateConfig, output: Path, left_out: Mapping[str, list[int]] | None
    ) -> "Curation":
        say_same_names([config.model], config.json)
        model = asked_model(config.model, config.model, config)
        model.tell_warnings()
        data = _load(config, model, left_out)
        prior_choices = crossfit(data.examples, config.prior, config.seed)
        if prior_choices is None:
            raise ValueError("all rows show one image: there are no others to fit a text prior on")
        device = chosen_device(config.device)
        identity = _identity(config, model, data, device)
        passes = open_place(output, identity, [example.id for example in data.examples])
        return cls(config, model, data, prior_choices, device, identity, passes)

    def description(self) -> str:
        """Return what will be sampled from whom, and how."""
        total, bad = len(self.data.split.examples), self.data.split.bad_rows
        lines = [describe(self.config.model, self.model.settings, self.model.directory)]
        lines.append(
            f"{'rows':<16}{len(self.data.examples):,} of {total:,},"
            f" {len(self.passes):,} sampled before"
        )
        if note := self.data.split.only.note():
            lines.append(f"{'chosen rows':<16}{note}")
        if bad:
            lines.append(f"{'skipped rows':<16}{len(bad):,}, the first: {bad[0]}")
        return "\n".join(lines)

    def sample(self) -> None:
        """Sample the rows that are not sampled yet."""
        check_agreed(self.identity)
        if world().by_the_first("going on", lambda: len(self.passes)) == len(self.data.examples):
            return
        from evaluation.curate.sampler import RowSampler, sample_rows

        config, settings = self.config, self.model.settings
        with world().together("loading the model"):
            policy = chosen_policy(config.model, self.device, config.dtype)
        sampler = RowSampler(
            policy,
            settings.turn_builder,
            settings.mode,
            settings.max_completion_tokens,
            config.samples,
            config.seed,
        )
        sample_rows(sampler, self.data.examples, self.passes, config.batch_size)

    def unreadable(self) -> dict[str, str]:
        """Return why rows could not be sampled when their turn came, by id.

        Raises:
            ValueError: none could be.
        """
        found = {row.id: row.unreadable for row in self.passes.rows if row.unreadable is not None}
        if len(found) == len(self.passes):
            first = self.passes.rows[0].unreadable
            raise ValueError(f"no row could be read to be sampled, the first: {first}")
        return found

    def judge(self) -> tuple[list[VQAExample], list[CuratedRow]]:
        """Return the rows that were sampled, and what is said of each."""
        config = self.config
        rows = zip(self.data.examples, self.passes.rows, self.prior_choices, strict=True)
        sampled = [row for row in rows if row[1].unreadable is None]
        return [row[0] for row in sampled], [
            judge_row(
                *row, samples=config.samples, drop=config.drop, blind_share=config.blind_share
            )
            for row in sampled
        ]

    def write(self) -> dict[str, Any]:
        """Write what was found, and return summary.json.

        Raises:
            ValueError: no row could be sampled, or a file of the data was changed meanwhile.
        """
        config, unreadable = self.config, self.unreadable()
        examples, rows = self.judge()
        kept = [row.kept for row in rows]
        files = split_files(config.json, examples, kept, self.data.checksums)
        summary = summarize_curation(
            examples,
            rows,
            drop=config.drop,
            prior=config.prior,
            group_size=config.group_size,
            seed=config.seed,
        )
        summary["unreadable"] = unreadable
        summary["files"] = {name: len(of_file) for name, of_file in files.items()}
        summary["settings"] = {
            **self.identity.to_json(),
            "model": config.model,
            "--blind-share": config.blind_share,
        }
        write_curation(Path(config.output_dir), rows, files, summary)
        return summary


def _load(
    config: CurateConfig, model: AskedModel, left_out: Mapping[str, list[int]] | None
) -> AskedRows:
    data = load_asked_rows(
        "",
        config.json,
        Preflight([model.prompt_check]),
        image_root=config.image_root,
        limit=config.limit,
        seed=config.seed,
        skip_bad_rows=config.skip_bad_rows,
        only=config.only,
        left_out=left_out,
        part="train",
    )
    tell_gone_bad(data.split)
    return data


def _identity(
    config: CurateConfig, model: AskedModel, data: AskedRows, device: "torch.device"
) -> CurationIdentity:
    from models.checkpoint.loading import check_dtype

    return CurationIdentity.of(
        model.settings,
        data,
        model_checksum=model.checksum,
        controls=(),
        left_out=data.split.left_out,
        samples=config.samples,
        image_root=config.image_root,
        dtype=str(check_dtype(chosen_dtype(config.dtype), device)).removeprefix("torch."),
    )
