"""Cost of one curvature product in gradients, on the embedded BERT: python benchmarks/products.py

All 22.7 million parameters, 16 sentences of 32 tokens, float32, eval mode, one thread. The
candidates are measured in turn, round after round, so that a machine that slows down slows all of
them; the medians of CPU seconds are compared, and their ratio to one gradient is what counts.
"""

import statistics
import time

import torch

from rlhf_lib import GaussNewtonOperator, HessianOperator, text
from rlhf_lib.objective import TaskLoss

ROUNDS = 7


def main() -> None:
    torch.set_num_threads(1)
    model, tokenizer = text.load_model("classification")
    reviews = text.load_dataset("course-reviews", split="train").subset(16)
    encoded = tokenizer(
        list(reviews.texts), padding="max_length", max_length=32, truncation=True,
        return_tensors="pt",
    )  # fmt: skip
    labels = torch.tensor(reviews.labels)
    params = list(model.parameters())

    def closure():
        logits = model(**encoded).logits
        return torch.nn.functional.cross_entropy(logits, labels), logits

    def loss():
        return closure()[0]

    v = torch.randn(sum(p.numel() for p in params))
    kept_h, kept_g = HessianOperator(loss, params), GaussNewtonOperator(closure, params)
    fresh_h = HessianOperator(loss, params, keep_graph=False)
    fresh_g = GaussNewtonOperator(closure, params, keep_graph=False)
    candidates = {
        "gradient": lambda: TaskLoss(loss).value_and_gradient(params),
        "Hv, graph kept": lambda: kept_h @ v,
        "Gv, graph kept": lambda: kept_g @ v,
        "Hv, graph rebuilt": lambda: fresh_h @ v,
        "Gv, graph rebuilt": lambda: fresh_g @ v,
        "set-up of H": lambda: HessianOperator(loss, params),
        "set-up of G": lambda: GaussNewtonOperator(closure, params),
    }
    seconds = {name: [] for name in candidates}
    for round_ in range(ROUNDS + 1):
        for name, run in candidates.items():
            started = time.process_time()
            run()
            if round_:  # the first round warms up
                seconds[name].append(time.process_time() - started)
    unit = statistics.median(seconds["gradient"])
    print(f"torch {torch.__version__}, 1 thread, {len(v):,} parameters, 16 x 32 tokens")
    print(f"one gradient: {unit:.2f} CPU seconds\n")
    print(f"{'':20} {'gradients':>10} {'least':>7} {'most':>7}")
    for name, values in seconds.items():
        ratios = [value / unit for value in values]
        print(
            f"{name:20} {statistics.median(ratios):10.2f} {min(ratios):7.2f} {max(ratios):7.2f}"
        )


if __name__ == "__main__":
    main()
