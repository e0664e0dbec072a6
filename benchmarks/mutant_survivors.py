"""Why mutants of mutant_cases.py may survive: per file a reason, and the changes that have it.

A change is the function and the changed line as it then reads, without its comment.
"""

WHY: dict[str, dict[str, list[str]]] = {
    "grpo/advantages.py": {
        "the same number": ['_check: if not 0 <= eps < float("INF"):'],
        "float64 terms make the sum float64": [
            "decoupled_advantages: total = torch.zeros(rewards_per_fn.shape[:2], dtype=None)",
            "decoupled_advantages: total = torch.zeros(rewards_per_fn.shape[:2], )",
        ],
        "as many weights as functions were asked for above": [
            "decoupled_advantages: for rewards, weight in"
            f" zip(rewards_per_fn.unbind(dim=2), weights, {strict}):"
            for strict in ("strict=None", "", "strict=False")
        ],
        "where one group differs the divisor is above 0, and 0 over it is 0": [
            "decoupled_advantages: all_agree = ~total.any(dim=None, keepdim=True)",
            "decoupled_advantages: all_agree = ~total.any(keepdim=True)",
        ],
    },
    "grpo/loss.py": {
        "what replaces the padding may be any finite number: both its weights are 0": [
            "policy_loss: log_ratio = (logprobs - old_logprobs).where(counts, 1.0)",
            "policy_loss: ref_log_ratio = (ref_logprobs - logprobs).where(counts, 1.0)",
            "policy_loss: logprobs.where(counts, 1.0),",
            "policy_loss: gained = gained * token_factors.where(counts, 1.0)",
        ],
        "k3 itself knows no ratio": [
            'policy_loss: "kl": (k3(ref_log_ratio.detach(), None) * metric_weights).sum(),',
        ],
    },
    "grpo/objectives/ratio.py": {
        "at the bound itself both are the bound": [
            "finite_ratio: return"
            " log_ratio.where(log_ratio.detach() < LARGEST_LOG_RATIO, largest).exp()",
        ],
    },
    "grpo/objectives/surrogate.py": {
        "an advantage of 0 has a surrogate of 0 at any temperature": [
            "soft_gate: temperature[advantages >= 0] = of_positive",
        ],
        "False is counted as the number 0": [
            "soft_gate: return gate * advantages, torch.zeros_like(ratio, dtype=None)",
            "soft_gate: return gate * advantages, torch.zeros_like(ratio, )",
        ],
    },
    "grpo/objectives/divergence.py": {
        "k3 itself knows no ratio": ["k3_corrected: return k3(d, None) * ratio"],
    },
    "grpo/objectives/factors.py": {
        "with a share of 1 the quantile is the smallest, and all are at least that": [
            "high_entropy_mask: if share > 1 or not of_tokens.isfinite().all():",
            "high_entropy_mask: if share >= 2 or not of_tokens.isfinite().all():",
        ],
        "a digit more is as far from the rounding of a share": [
            "quantile: place = round(share * (len(ordered) - 1), 9)",
        ],
    },
    "grpo/objectives/enumerated.py": {
        "what replaces the padding may be any finite number: its probability is 0": [
            "expected_reward: return (p * rewards.where(listed, 1.0)).sum(dim=1)"
            " + (1 - p.sum(dim=1)) * other",
            "event_kl: log_ratios = (logprobs - ref_logprobs).where(listed, 1.0)",
        ],
        "the words of an assertion, which no caller of ours meets": [
            f'{name}: assert ref_logprobs is not None, "{words}"'
            for name in ("exact_loss", "worths")
            for words in (
                "XXa KL is one to somethingXX",
                "a kl is one to something",
                "A KL IS ONE TO SOMETHING",
            )
        ],
        "the same number": [
            "answer_entropy: logits = logprobs.masked_fill(~listed, -1e+30).log_softmax(dim=1)",
        ],
    },
    "grpo/overlong.py": {
        "zeros of any float are taken from the rewards as zeros": [
            "overlong_penalties: return torch.zeros(lengths.shape, dtype=None)",
            "overlong_penalties: return torch.zeros(lengths.shape, )",
        ],
    },
    "grpo/dynamic_sampling.py": {
        "the words of an assertion, which no caller of ours meets": [
            f'Draws.filled: assert rollout.batch.more is not None, "{words}"'
            for words in (
                "XXa step that draws again is given what fromXX",
                "A STEP THAT DRAWS AGAIN IS GIVEN WHAT FROM",
            )
        ],
        "a rollout has a text for each row": [
            f"_completions: for row, text in zip(rows, fresh.texts, {strict}):"
            for strict in ("strict=None", "", "strict=False")
        ],
    },
    "data/pass_rates.py": {
        "both of its arrays are replaced": ["PassRates.copy: other = PassRates(1)"],
    },
    "grpo/objectives/entropy.py": {
        "what replaces the padding may be any finite number: its weight is 0": [
            "mean_entropy: return (entropies.where(weights != 0, 1.0) * weights).sum()",
        ],
    },
    "grpo/inverse_cdf.py": {
        "any top-p from 1 on is none": [
            "inverse_cdf: def inverse_cdf(uniforms: Tensor, *, top_k: int = 0, top_p: float = 2.0)"
            " -> Choose:",
        ],
        "both searches find the same id, which is tested; the first is the faster one on a CPU": [
            'sample_ids: if cumulative.device.type != "cpu":',
            'sample_ids: if cumulative.device.type == "XXcpuXX":',
            'sample_ids: if cumulative.device.type == "CPU":',
        ],
        "this line is a GPU's; what it calls is tested, and tests/grpo/test_gpu.py samples there": [
            "sample_ids: return _first_above(None, threshold, probabilities)",
            "sample_ids: return _first_above(cumulative, None, probabilities)",
            "sample_ids: return _first_above(cumulative, threshold, None)",
            "sample_ids: return _first_above(threshold, probabilities)",
            "sample_ids: return _first_above(cumulative, probabilities)",
            "sample_ids: return _first_above(cumulative, threshold, )",
        ],
        "the likeliest of as many ids as there are is all of them": [
            "keep_likeliest: if top_k and top_k <= probabilities.shape[1]:",
        ],
        "the last dimension is what PyTorch takes anyway": [
            "keep_likeliest: smallest = probabilities.topk(top_k, ).values[:, -1:]",
            "keep_likeliest: ordered, order = probabilities.sort(descending=True)",
        ],
    },
    "grpo/rollout.py": {
        "on a CPU the numbers are there already": [
            "sample_rollout: torch.from_numpy(uniforms).to(None),",
        ],
        "a group that fills the budget alone is one micro-batch either way": [
            "micro_batches: if tokens < token_budget:",
        ],
    },
    "grpo/sampling.py": {
        "made on the CPU, which is the policy's device here": [
            "generate: rows = torch.arange(len(hidden), device=None)",
            "generate: rows = torch.arange(len(hidden), )",
            "generate: banned_ids = torch.tensor(policy.processor.banned_ids, dtype=torch.long,"
            " device=None)",
            "generate: banned_ids = torch.tensor(policy.processor.banned_ids, dtype=torch.long, )",
            "generate: end_ids = torch.tensor(policy.processor.end_ids, device=None)",
            "generate: end_ids = torch.tensor(policy.processor.end_ids, )",
            "_Draft.of: ids = torch.full((rows, limit), policy.processor.pad_id, device=None)",
            "_Draft.of: ids = torch.full((rows, limit), policy.processor.pad_id, )",
            "_Draft.of: logprobs, entropies = (torch.zeros(ids.shape, device=None) for _ in"
            " range(2))",
            "_Draft.of: logprobs, entropies = (torch.zeros(ids.shape, ) for _ in range(2))",
        ],
        "the same number": [
            '_logits: return logits.index_fill_(1, banned_ids, float("-INF"))',
        ],
        "handed on to save a pass over the vocabulary: without them they are computed anew": [
            "generate: logits, chosen, with_entropy=True, weights=None, backend=backend",
            "generate: logits, chosen, with_entropy=True, backend=backend",
        ],
        "words about a bug of ours that no input can cause": [
            'generate: assert entropy is not None, "XXasked forXX"',
            'generate: assert entropy is not None, "ASKED FOR"',
        ],
        "as many lengths as rows: one is summed from the other": [
            "_Draft.completions: for row, count in zip(ids, lengths.tolist(), strict=None)",
            "_Draft.completions: for row, count in zip(ids, lengths.tolist(), )",
            "_Draft.completions: for row, count in zip(ids, lengths.tolist(), strict=False)",
        ],
    },
    "rewards/parsing.py": {
        "only asked where the tags are the mode's, an even number": [
            '_outside: return "".join(text[start:end] for start, end in zip(starts, ends,'
            " strict=None))",
            '_outside: return "".join(text[start:end] for start, end in zip(starts, ends, ))',
            '_outside: return "".join(text[start:end] for start, end in zip(starts, ends,'
            " strict=False))",
        ],
        "case is ignored either way": [
            "_lenient_choice: openings = [i for i, tag in enumerate(tags) if"
            ' re.match("<ANSWER", tag[0], re.IGNORECASE)]',
        ],
        "an empty text names as little as None": ['_lenient_choice: letter = ""'],
        "None is as false as False": [
            '_lenient_choice: return letter or forgiving_letter(_TAG.sub("\\n", text), options,'
            " first=None)",
        ],
    },
    "evaluation/measures/statistics.py": {
        "after 60 halvings neither another one nor a tie moves the angle by more than rounding": [
            "student_t_quantile: for _ in range(61):",
            "student_t_quantile: if _student_t_inside(angle, freedom) <= confidence:",
        ],
    },
    "evaluation/measures/clusters.py": {
        "every row is in one component, so the first value is written over": [
            "image_clusters: clusters = [1] * len(images)",
        ],
        "the sums are float64 whatever type NumPy finds for the values": [
            "ClusteredRows.of: numbers, stratum = np.asarray(values, None), np.asarray(strata,"
            " np.intp)",
            "ClusteredRows.of: numbers, stratum = np.asarray(values, ), np.asarray(strata,"
            " np.intp)",
        ],
        "no distance is exactly this bound between rounding and a difference": [
            "ClusteredRows.of: distances[np.abs(distances) <= 1e-12] = 0.0",
        ],
    },
    "evaluation/measures/intervals.py": {
        "only compared with bounds here; ClusteredRows makes its own float64": [
            "image_interval: numbers = np.asarray(values, dtype=None)",
            "image_interval: numbers = np.asarray(values, )",
        ],
    },
}
