"""The accuracies that the card of course-reviews quotes: python tools/measure_reviews.py

Five to ten minutes on two cores: bag of words, then the embedded BERT with AdamW, first its
top layer on cached activations, then all of it, three seeds each. Validation accuracy is that of
the last epoch, whatever earlier epochs had.
"""

import statistics

import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from rlhf_lib.text import CachedTop, batches, encode, load_dataset, load_model
from rlhf_lib.timing import Stopwatch

SEEDS = (0, 1, 2)


def bag_of_words(reviews):
    bag = CountVectorizer(ngram_range=(1, 2))
    train = bag.fit_transform(reviews.train.texts)
    validation = bag.transform(reviews.validation.texts)
    for c in (0.01, 0.1, 1.0, 10.0, 100.0):
        fit = LogisticRegression(C=c, max_iter=5000).fit(train, reviews.train.labels)
        print(f"bag of words, C={c}: {fit.score(validation, reviews.validation.labels):.3f}")


def finetune(reviews, seed, lr, epochs, top_layers=None, batch=16):
    """Accuracy and mean loss on validation after each epoch; dropout only in the whole model."""
    model, tokenizer = load_model(pooling="model", seed=seed)
    data = [
        {**encode(tokenizer, part.texts), "labels": torch.tensor(part.labels)} for part in reviews
    ]
    if top_layers is None:
        net, keys = model, ("input_ids", "attention_mask", "token_type_ids")

        def logits(b):
            return net(**{key: b[key] for key in keys}).logits
    else:
        net = CachedTop(model, top_layers)
        data = [net.cache(part) for part in data]

        def logits(b):
            return net(b["hidden"], b["mask"])

    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=lr)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # of dropout
    curve = []
    for _ in range(epochs):
        net.train(top_layers is None)
        for b in batches(data[0], batch, generator):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits(b), b["labels"]).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            out = torch.cat([logits(b) for b in batches(data[1], 100)])
        labels = data[1]["labels"]
        curve.append(
            (
                float((out.argmax(1) == labels).float().mean()),
                float(torch.nn.functional.cross_entropy(out, labels)),
            )
        )
    return curve


def main():
    reviews = load_dataset("course-reviews")
    bag_of_words(reviews)
    for name, top_layers, lr, epochs in (("top layer", 1, 3e-4, 6), ("all layers", None, 5e-5, 4)):
        watch = Stopwatch()
        last = []
        for seed in SEEDS:
            curve = finetune(reviews, seed, lr, epochs, top_layers)
            last.append(curve[-1][0])
            print(
                f"BERT, {name}, lr {lr}, seed {seed}: accuracy (loss) by epoch "
                + ", ".join(f"{a:.3f} ({loss:.2f})" for a, loss in curve),
                flush=True,
            )
        print(
            f"BERT, {name}: mean {statistics.mean(last):.3f}, from {min(last):.3f} to "
            f"{max(last):.3f}, {watch.seconds.wall:.0f} s"
        )


if __name__ == "__main__":
    main()
