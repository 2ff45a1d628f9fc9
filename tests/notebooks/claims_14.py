"""What notebook 14 says, held in its kernel."""

import torch

from tools.claims import between, claim, near


@claim(
    "- keep weights in 8, 4 or 3 bits, and say where the bytes of a small BERT really are;",
    "The **tables** are the embeddings: 384 numbers for each of 30,522 word pieces, and for "
    "each place in a text.",
    "For this small BERT the tables are half of the model, so no pruning of layers can bring "
    "it to 15 MB.",
    "For 22.6 million weights $H^{-1}$ is out of reach.",
)
def half_of_the_numbers_stand_in_the_tables(lab, sizes, total, nb14):
    assert {how[0] for how in nb14.plan.BITS} == {"8", "4", "3"}
    tables = lab.model.get_input_embeddings().weight
    assert tuple(tables.shape) == (30522, 384) and lab.model.config.hidden_size == 384
    near(sizes["embeddings"] / total, 0.52, absolute=0.01)
    assert 4 * sizes["embeddings"] / 1e6 > 47 > nb14.MEGABYTES == 15
    near(total, 22.6e6, relative=0.002)


@claim(
    "**Goal:** a file of at most 15 MB, with at most 0.03 of accuracy lost.",
    "Then reach the panel's goal: a file of at most 15 MB whose accuracy is at most 0.03 below the "
    "whole model's.",
    "we measure CPU time of 16 reviews, in turn with the whole model, and give the ratio.",
)
def the_goal_is_at_most_15_mb_and_003(nb14, whole, inputs):
    from rlhf_course.checking.goals import reached
    from rlhf_lib import Record

    goal, values = reached("14.small"), {"way": "bits", "tables": True}

    def after(megabytes, lost):
        return [
            Record(
                step=1,
                loss=0.0,
                extra={
                    "megabytes": megabytes,
                    "whole": 0.86,
                    "accuracy": 0.86 - lost,
                    "megabytes_whole": whole["bytes"] / 1e6,
                },
            )
        ]

    assert goal(after(15.0, 0.0299), values)
    assert not goal(after(15.1, 0.0), values) and not goal(after(15.0, 0.031), values)
    assert len(inputs["input_ids"]) == 16 and (nb14.MEGABYTES, nb14.LOST) == (15.0, 0.03)


@claim(
    "In **b bits** a weight becomes a *scale* times an integer between about $-2^{b-1}$ and "
    "$2^{b-1}$",
    "so a weight is off by at most half a scale",
)
def a_weight_is_off_by_at_most_half_a_scale(compress):
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(16, 8, dtype=torch.float32))
    weight = layer[0].weight.detach()
    for bits in (8, 4, 3):
        out = compress.quantize(layer, bits, dynamic=False)(torch.eye(16, dtype=torch.float32))
        kept = (out - layer[0].bias).detach().T
        largest = 2 ** (bits - 1)
        scale = weight.abs().amax(1, keepdim=True) / (largest - 1)
        assert bool(((kept - weight).abs() <= 0.5 * scale + 1e-6).all())


@claim(
    "they cost this model a few reviews of the 160",
    "Which order is better, 160 reviews cannot tell",
    "Take seven tenths in the panel, and this model is a coin by curvature, while by size it still "
    "knows most",
)
def half_of_the_weights_cost_a_few_reviews(ends, whole, lab):
    assert whole["accuracy"] > 0.75 and len(lab.validation["labels"]) == 160
    lost = {name: whole["accuracy"] - m["accuracy"] for name, m in ends.items()}
    for way in ("by size", "by curvature"):
        between(160 * lost[way], -3, 8)
    assert abs(lost["by size"] - lost["by curvature"]) < 0.04
    assert lost["neurons"] < 0.06 < lost["2 bits"] and lost["8 bits"] < 0.02
    near(ends["by size"]["zeros"], 0.5, absolute=0.01)
    near(ends["by curvature"]["zeros"], 0.5, absolute=0.01)
    deep = {
        way: lab.measure(next(lab.smaller(way, fraction=0.7)))["accuracy"]
        for way in ("by size", "by curvature")
    }
    assert deep["by curvature"] < 0.65 and deep["by size"] > 0.7


@claim(
    "so the file shrinks, by a fifth, but only in the layers, which hold less than half of the "
    "numbers",
    "On disk a zero takes one bit",
    "32 bits a number is far more than a network needs: in 8 bits, one scale for each row, "
    "hardly any accuracy is lost, and the file is a quarter.",
    "In 2 bits it falls apart.",
)
def zeros_save_a_fifth_and_8_bits_three_quarters(ends, whole, sizes, total):
    size = {name: m["bytes"] / whole["bytes"] for name, m in ends.items()}
    between(1 - size["by curvature"], 0.2, 0.24)
    near(size["by curvature"], size["by size"], relative=1e-4)
    assert size["by size"] > 3 * size["8 bits"]
    near(size["8 bits"], 0.25, absolute=0.01)
    assert sizes["six layers"] / total < 0.5
    # Half of the layers' weights go and leave a bit each; what no cut touches stays.
    weights = 6 * (4 * 384 * 384 + 2 * 384 * 1536)
    near(whole["bytes"] - ends["by size"]["bytes"], weights * (2 - 1 / 8), relative=0.02)
    between(ends["2 bits"]["accuracy"], 0.4, 0.7)


@claim(
    "*Taking out* half of the neurons makes the matrices themselves smaller, and that is faster."
)
def without_half_of_the_neurons_the_matrices_are_smaller(small, lab, study):
    def rows(model):
        return sum(p.numel() for n, p in model.named_parameters() if "intermediate" in n)

    near(rows(small["neurons"]) / rows(lab.model), 0.5, absolute=0.02)
    assert study.time("neurons 0.5", 16) < 0.85 and study.time("neurons 0.5", 1) < 0.85


@claim(
    "and $h$ comes from 32 reviews in the panel (128 in the recorded runs below)",
    "The panel's model has one seed and 160 reviews to judge it, of which one is 0.006.",
    "the layers of BERT fine-tuned on 400 reviews (embeddings frozen), judged on 400 others, "
    "three seeds",
    "With *groups* each 32 numbers of a row have a scale of their own, which takes bytes;",
    "A student starts as the fine-tuned model's own first and last layer and trains six epochs "
    "more at twice the rate",
)
def the_settings_are_those_of_the_runs(nb14, study, text, lab):
    from inspect import getsource

    from rlhf_course.experiments import nb14_shrinking as shrinking

    assert shrinking.LOOKED_AT == 32 and nb14.plan.LOOKED_AT == 128 and lab.seed == 0
    near(1 / len(lab.validation["labels"]), 0.006, absolute=0.0005)
    data = text.load_dataset("course-reviews")
    assert len(data.train) == 400 and nb14.plan.SCORED == 400 <= len(data.validation)
    assert nb14.plan.SEEDS == (0, 1, 2) and len(study.runs["dense", 0]) == 3
    assert "group_size=32" in getsource(nb14.plan.quantized)
    assert 2 * nb14.plan.EPOCHS == 6
    assert study.mean("bits", "4 groups table", "bytes") > study.mean("bits", "4 table", "bytes")


@claim("By OBS the rise is the sum of the saliencies (2), each taken after the moves before it.")
def the_surgeons_rise_is_the_sum_of_its_saliencies(rises, surgery, rise, order):
    for k, (operated, gone, saliencies) in enumerate(surgery, 1):
        assert len(gone) == len(saliencies) == k
        near(rise(operated), sum(saliencies), relative=1e-9)
    for name in order:
        assert rises["OBS"][3] < rises[name][3]
    assert rises["OBD"][3] < rises["size"][3] / 5


@claim(
    "Its Hessian is the second-moment matrix of the layer's inputs (with a little damping)",
    "half the mean squared change of its outputs",
)
def a_layers_hessian_is_the_second_moment_of_its_inputs():
    x = torch.randn(40, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def change(row):
        return 0.5 * ((x @ row - x @ w[0]) ** 2).mean()

    H = torch.autograd.functional.hessian(change, w[0] + 1)
    torch.testing.assert_close(H, x.T @ x / len(x))


@claim('not only "positive" but "positive, at 0.9"')
def a_teacher_says_how_sure_it_is(lab):
    inputs = {k: v[:32] for k, v in lab.validation.items() if k != "labels"}
    with torch.no_grad():
        sure = lab.model(**inputs).logits.softmax(1).amax(1)
    assert float((sure - 0.9).abs().min()) < 0.05


@claim(
    "The gradient of the soft part by $z$ is $\\frac{1}{\\tau}(p - q)$",
    "Both limits, on the library's loss:",
)
def the_soft_part_has_both_limits(compress, z, v, least_squares, answers):
    for T in (1.0, 3.0, 10.0):
        x = z.clone().requires_grad_(True)
        soft = compress.distillation_loss(x, v, temperature=T, alpha=1.0)  # T² KL
        (slope,) = torch.autograd.grad(soft, x)
        difference = (x / T).softmax(1) - (v / T).softmax(1)
        torch.testing.assert_close(slope * len(z) / T**2, (difference / T).detach())
    at = [float(compress.distillation_loss(z, v, temperature=T, alpha=1.0)) for T in (10, 100)]
    assert abs(at[1] / least_squares - 1) < 0.001 < abs(at[0] / least_squares - 1) < 0.01
    cold = float(compress.distillation_loss(z, v, temperature=0.01, alpha=1.0)) / 0.01**2
    assert abs(cold / answers - 1) < 0.02


@claim("the answers are those of the model that was saved, bit for bit")
def a_loaded_model_gives_the_same_answers(compress, text, small, inputs):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for way in ("by curvature", "neurons", "8 bits"):
            compress.save(small[way], Path(folder) / "small.safetensors")
            fresh, _ = text.load_model("classification")
            back = compress.load(Path(folder) / "small.safetensors", fresh)
            assert torch.equal(small[way](**inputs).logits, back(**inputs).logits)


@claim(
    "With 70 or 90 % zeros a pass takes as long as before, up to the noise of the clock.",
    "Half of the neurons *taken out* saves about a quarter to a third, half of heads and neurons "
    "together more than two fifths, and a student of two layers needs about a third of the time.",
)
def zeros_save_no_time_and_smaller_matrices_do(study):
    for size in (16, 1):
        between(study.time("zeros 0.7", size), 0.9, 1.1)
        between(study.time("zeros 0.9", size), 0.9, 1.1)
        between(study.time("neurons 0.5", size), 0.67, 0.76)
        assert study.time("both 0.5", size) < 0.6
        between(study.time("2 layers", size), 0.31, 0.37)


@claim(
    "*8 bits* turns the weights back into floats at each use: smaller, and slower.",
    "With *table* the whole table is turned back at each call, all 30,522 rows for one "
    "sentence, and that shows.",
    "it needs three fifths of the floats' time for 16 sentences, and more than the floats for one",
    "The older `torch.ao`, deprecated but with kernels made for CPUs, needs about two fifths.",
)
def small_integers_are_quick_where_they_are_multiplied(study, lab):
    for size in (16, 1):
        assert study.time("bits 8", size) > 1.05
        assert study.time("bits 8 table", size) > 1.5 * study.time("bits 8", size)
        near(study.time("bits 8 torch.ao", size), 0.4, absolute=0.05)
    near(study.time("bits 8 dynamic", 16), 0.6, absolute=0.03)
    assert study.time("bits 8 dynamic", 1) > 1.1
    assert study.time("bits 8 table", 1) > study.time("bits 8 table", 16)
    assert lab.model.config.vocab_size == 30522


@claim(
    "Of the weights chosen by OBD half go at about a hundredth of accuracy, in no seed at more "
    "than two; by size it is six hundredths, over all layers or within each.",
    "it rises in every seed",
    "half of them go at about a hundredth of accuracy, by size at six",
)
def half_of_the_weights_go_by_obd(study):
    less = study.less("obd", 0.5)
    near(sum(less) / 3, -0.01, absolute=0.005)
    assert min(less) > -0.0201
    for by in ("magnitude", "magnitude layer"):
        near(sum(study.less(by, 0.5)) / 3, -0.06, absolute=0.005)
    for a, b in zip(study.all("obd", 0.5, "loss"), study.all("dense", 0, "loss"), strict=True):
        assert a > b


@claim(
    "At 70 % OBD loses more than a tenth, and is ahead of size by three or four hundredths only.",
    "The surgeon, which moves what stays, has the lowest loss there, in each seed.",
    "moving those that stay (OBS) keeps the loss lowest",
)
def far_away_curvature_knows_less(study):
    orders = ("magnitude", "magnitude layer", "obd", "obs")
    accuracy = {by: study.mean(by, 0.7, "accuracy") for by in orders}
    assert sum(study.less("obd", 0.7)) / 3 < -0.1
    for by in ("magnitude", "magnitude layer"):
        between(accuracy["obd"] - accuracy[by], 0.025, 0.045)
    losses = [study.all(by, 0.7, "loss") for by in orders]
    assert all(seed[-1] == min(seed) for seed in zip(*losses, strict=True))
    assert study.mean("obs", 0.5, "loss") == min(study.mean(by, 0.5, "loss") for by in orders)


@claim(
    "After an epoch of training OBD comes back to 0.85 and the surgeon to 0.88; with 90 % zeros "
    "the surgeon's models know most, in each seed: 0.755, where the others are at 0.71 or less."
)
def after_an_epoch_the_surgeon_is_ahead(study):
    near(study.mean("obd again", 0.7, "accuracy"), 0.85, absolute=0.005)
    near(study.mean("obs again", 0.7, "accuracy"), 0.88, absolute=0.005)
    near(study.mean("obs again", 0.9, "accuracy"), 0.755, absolute=0.0005)
    for by in ("magnitude again", "magnitude layer again", "obd again"):
        assert study.mean(by, 0.9, "accuracy") < 0.715
        pairs = zip(
            study.all("obs again", 0.9, "accuracy"), study.all(by, 0.9, "accuracy"), strict=True
        )
        assert all(a > b for a, b in pairs)


@claim(
    "Eight bits for everything change nothing that one could see.",
    "Four or three lose about two hundredths of accuracy: in no seed is there a gain.",
    "Eight bits for everything make a quarter of the file at no loss, four an eighth at about two "
    "hundredths of accuracy.",
)
def eight_bits_cost_nothing_and_four_two_hundredths(study):
    assert max(map(abs, study.less("bits", "8 table"))) < 0.003
    for how in ("4 table", "4 groups table", "3 groups table"):
        less = study.less("bits", how)
        assert max(less) <= 0
        near(sum(less) / 3, -0.02, absolute=0.005)
    size = {
        how: study.mean("bits", how, "bytes") / study.mean("dense", 0, "bytes")
        for how in ("8 table", "4 table")
    }
    near(size["8 table"], 1 / 4, absolute=0.01)
    near(size["4 table"], 1 / 8, absolute=0.01)


@claim(
    "Up to the 14 % of zeros that λ = 0.001 makes, all three know as much as the whole model, "
    "within a hundredth or so.",
    "At λ = 0.003, with 37 % of zeros, pruning afterwards is ahead: L1 loses three to four "
    "hundredths",
    "At λ = 0.01 three quarters are gone",
    "keeps 0.79 to 0.84",
    "0.67 to 0.69 by size and anything from a coin to 0.85 by curvature",
)
def l1_is_ahead_only_where_most_goes(study, nb14):
    whole = study.mean("dense", 0, "accuracy")
    keys = ("accuracy", "magnitude after", "obd after")
    for value in nb14.plan.L1[:4]:
        for key in keys:
            near(study.mean("l1", value, key), whole, absolute=0.012)
    near(study.mean("l1", 1e-3, "zeros"), 0.14, absolute=0.01)
    near(study.mean("l1", 3e-3, "zeros"), 0.37, absolute=0.01)
    near(study.mean("l1", 1e-2, "zeros"), 0.75, absolute=0.01)
    between(whole - study.mean("l1", 3e-3, "accuracy"), 0.03, 0.04)
    for key in keys[1:]:
        gains = zip(study.all("l1", 3e-3, key), study.all("l1", 3e-3, "accuracy"), strict=True)
        assert sum(a >= b for a, b in gains) >= 2
        assert study.mean("l1", 3e-3, key) > study.mean("l1", 3e-3, "accuracy")
    ours, size, curvature = (study.all("l1", 1e-2, key) for key in keys)
    between(min(ours), 0.785, 0.795), between(max(ours), 0.83, 0.84)
    between(min(size), 0.665, 0.675), between(max(size), 0.69, 0.695)
    between(min(curvature), 0.5, 0.55), between(max(curvature), 0.845, 0.855)


@claim(
    "In BERT-base the table of words has 30,522 × 768 of 110 million numbers, a fifth and not half"
)
def in_bert_base_the_table_of_words_is_a_fifth():
    from transformers import BertConfig, BertModel

    with torch.device("meta"):
        model = BertModel(BertConfig())
    words = model.embeddings.word_embeddings.weight
    assert tuple(words.shape) == (30522, 768)
    numbers = sum(p.numel() for p in model.parameters())
    near(numbers, 110e6, relative=0.01)
    near(words.numel() / numbers, 0.2, absolute=0.02)


@claim(
    "A student of two layers loses about a tenth, with a teacher or on labels alone.",
    "At temperature 8 the teacher helps in all three seeds, by one to three hundredths; at 2 they "
    "cannot tell.",
    "Whether a teacher at temperature 2 gives the student of two layers more than labels alone, "
    "three seeds cannot tell.",
)
def a_hot_teacher_helps_a_little(study):
    alone = study.all("labels alone", 2, "accuracy")

    def gains(tau):
        return [a - b for a, b in zip(study.all("teacher", tau, "accuracy"), alone, strict=True)]

    for key in (("labels alone", 2), ("teacher", 1), ("teacher", 2), ("teacher", 8)):
        near(sum(study.less(*key)) / 3, -0.09, absolute=0.015)
    between(min(gains(8)), 0.005, 0.015)
    between(max(gains(8)), 0.02, 0.03)
    assert min(gains(2)) < 0 < max(gains(2))


@claim("Commit to an answer, with a reason; for the third one look at the line above.")
def the_predictions_have_the_right_answers(ends, whole, study):
    from rlhf_course.checking.predictions import find

    assert find("14.zeros").truth == "the file shrinks by about a fifth, the time stays"
    between(1 - ends["by size"]["bytes"] / whole["bytes"], 0.18, 0.24)
    between(study.time("zeros 0.7", 16), 0.9, 1.1)
    assert find("14.half").truth == "by curvature is better"
    for a, b in zip(study.less("obd", 0.5), study.less("magnitude", 0.5), strict=True):
        assert a > b + 0.03
    assert find("14.road").truth == "fewer bits, the tables too"
    megabytes = {
        key: study.mean(*key, "bytes") / 1e6
        for key in (("obs", 0.7), ("neurons", 0.5), ("bits", "8"), ("teacher", 2))
    }
    assert min(megabytes.values()) > 15 > study.mean("bits", "4 table", "bytes") / 1e6
