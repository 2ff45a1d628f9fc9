"""What notebook 14 says, held in its kernel."""

import torch

from tools.claims import between, claim, near


@claim(
    "- keep weights in 8, 4 or 3 bits, and say where the bytes of a small BERT really are;",
    "The **tables** are the embeddings: 384 numbers for each of 30,522 word pieces, and for "
    "each place in a text.",
    "For this small BERT the tables are half of the model, so no pruning of layers can bring "
    "it to 15 MB.",
    "For 22.7 million weights $H^{-1}$ is out of reach.",
)
def half_of_the_numbers_stand_in_the_tables(lab, sizes, total, nb14):
    assert {how[0] for how in nb14.plan.BITS} == {"8", "4", "3"}
    tables = lab.model.get_input_embeddings().weight
    assert tuple(tables.shape) == (30522, 384) and lab.model.config.hidden_size == 384
    near(sizes["embeddings"] / total, 0.52, absolute=0.01)
    assert 4 * sizes["embeddings"] / 1e6 > 47 > nb14.MEGABYTES == 15
    near(total, 22.7e6, relative=0.001)


@claim(
    "**Goal:** a file of at most 15 MB, with at most 0.03 of accuracy lost.",
    "Reach the panel's goal: a file of at most 15 MB whose accuracy is at most 0.03 below the "
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
    "By size over all layers, half of the weights cost the model much of what it knows",
    "as many zeros cost a few reviews of the 160",
    "**Curvature knows which half.**",
)
def by_curvature_half_of_the_weights_go_and_by_size_the_model_breaks(ends, whole, lab):
    assert whole["accuracy"] > 0.75 and len(lab.validation["labels"]) == 160
    lost = {name: whole["accuracy"] - m["accuracy"] for name, m in ends.items()}
    assert lost["by size"] > lost["by curvature"] + 0.05
    between(lost["by size"], 0.2, 0.5)
    between(160 * lost["by curvature"], -3, 13)
    assert lost["neurons"] < 0.06 and lost["2 bits"] > 0.06 and lost["8 bits"] < 0.02
    near(ends["by size"]["zeros"], 0.5, absolute=0.01)
    near(ends["by curvature"]["zeros"], 0.5, absolute=0.01)


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
    assert size["by curvature"] == size["by size"] > 3 * size["8 bits"]
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
    "The gradient of the soft part by $z$ is $\\frac{1}{T}(p - q)$",
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
            fresh, _ = text.load_model("classification", pooling="model")
            back = compress.load(Path(folder) / "small.safetensors", fresh)
            assert torch.equal(small[way](**inputs).logits, back(**inputs).logits)


@claim(
    "With 70 or 90 % zeros a pass takes as long as before, up to the noise of the clock.",
    "Half of the neurons *taken out* saves a fifth or more, half of heads and neurons together "
    "two fifths, and a student of two layers needs about a third of the time.",
)
def zeros_save_no_time_and_smaller_matrices_do(study):
    for size in (16, 1):
        between(study.time("zeros 0.7", size), 0.9, 1.1)
        between(study.time("zeros 0.9", size), 0.9, 1.1)
        assert study.time("neurons 0.5", size) < 0.805
        between(study.time("both 0.5", size), 0.55, 0.62)
        between(study.time("2 layers", size), 0.32, 0.37)


@claim(
    "*8 bits* turns the weights back into floats at each use: smaller, and slower.",
    "With *table* the whole table is turned back at each call, all 30,522 rows for one "
    "sentence, and that shows.",
    "it takes many times as long as floats, nearly thirty times for 16 sentences",
    "needs about two thirds of the floats' time",
)
def small_integers_are_slower_but_for_torch_ao(study, lab):
    for size in (16, 1):
        assert study.time("bits 8", size) > 1.05
        assert study.time("bits 8 table", size) > 1.9 * study.time("bits 8", size)
        assert study.time("bits 8 dynamic", size) > 10
        between(study.time("bits 8 torch.ao", size), 0.6, 0.7)
    near(study.time("bits 8 dynamic", 16), 29.5, relative=0.03)
    assert study.time("bits 8 table", 1) > study.time("bits 8 table", 16)
    assert lab.model.config.vocab_size == 30522


@claim(
    "half of the weights chosen by OBD go at no cost that three seeds show",
    "**The loss is the sharper judge**, and it is what (1) and (2) speak of: it does rise.",
)
def half_of_the_weights_go_by_obd(study):
    less = study.less("obd", 0.5)
    assert min(less) < 0 < max(less) and sum(less) / 3 > -0.01
    assert study.mean("obd", 0.5, "accuracy") > study.mean("magnitude", 0.5, "accuracy") + 0.1
    for a, b in zip(study.all("obd", 0.5, "loss"), study.all("dense", 0, "loss"), strict=True):
        assert a > b


@claim(
    "within each layer it has the same loss as OBD at half and at 70 %, and a lower accuracy",
    "Only the surgeon, which moves what stays, keeps the loss down: half of OBD's at 70 %.",
)
def within_each_layer_size_has_the_loss_of_obd(study):
    for share in (0.5, 0.7):
        near(
            study.mean("magnitude layer", share, "loss"),
            study.mean("obd", share, "loss"),
            relative=0.03,
        )
        assert (
            study.mean("magnitude layer", share, "accuracy")
            < study.mean("obd", share, "accuracy") - 0.02
        )
        assert study.mean("magnitude", share, "loss") > study.mean("obd", share, "loss") + 0.05
    near(study.mean("obs", 0.7, "loss") / study.mean("obd", 0.7, "loss"), 0.5, absolute=0.03)


@claim(
    "After an epoch of training OBD at 70 % is ahead of the surgeon in accuracy in two seeds "
    "of three, and pruning by size over all layers still is a coin.",
    "At 90 % only the surgeon's models still know something in all three seeds.",
)
def after_an_epoch_obd_is_ahead_at_70_and_the_surgeon_at_90(study):
    pairs = zip(
        study.all("obd again", 0.7, "accuracy"),
        study.all("obs again", 0.7, "accuracy"),
        strict=True,
    )
    assert sum(a > b for a, b in pairs) == 2
    for share in (0.7, 0.9):
        assert study.all("magnitude again", share, "accuracy") == [0.5] * 3
    assert min(study.all("obs again", 0.9, "accuracy")) > 0.75
    for by in ("magnitude layer again", "obd again"):
        assert min(study.all(by, 0.9, "accuracy")) == 0.5


@claim(
    "Eight bits for everything change nothing that one could see.",
    "Four or three lose about a hundredth of accuracy: in no seed is there a gain.",
    "Eight bits for everything make a quarter of the file at no loss, four an eighth at about a "
    "hundredth of accuracy.",
)
def eight_bits_cost_nothing_and_four_a_hundredth(study):
    assert max(map(abs, study.less("bits", "8 table"))) < 0.003
    assert study.mean("bits", "8 table", "accuracy") > study.mean("dense", 0, "accuracy") - 0.01
    for how in ("4 table", "4 groups table", "3 groups table"):
        less = study.less("bits", how)
        assert max(less) <= 0
        between(sum(less) / 3, -0.012, -0.005)
    size = {
        how: study.mean("bits", how, "bytes") / study.mean("dense", 0, "bytes")
        for how in ("8 table", "4 table")
    }
    near(size["8 table"], 1 / 4, absolute=0.01)
    near(size["4 table"], 1 / 8, absolute=0.01)


@claim(
    "With few zeros all three know as much.",
    "At half of the weights the model that was trained *without* a penalty and then cut by "
    "curvature is ahead.",
    "at λ = 0.001 the model has adapted to what is left, while a cut that deep leaves a coin",
    "How the surgeon would do at 97 % was not recorded.",
    "L1 while training was a worse way to half zeros than training without it and pruning by "
    "curvature.",
)
def l1_pays_only_where_nearly_all_weights_go(study):
    keys = ("accuracy", "magnitude after", "obd after")
    for value in (3e-5, 1e-4):
        found = [study.mean("l1", value, key) for key in keys]
        assert max(found) - min(found) < 0.007
    near(study.mean("l1", 3e-4, "zeros"), 0.54, absolute=0.02)
    for a, b in zip(
        study.all("l1", 3e-4, "obd after"), study.all("l1", 3e-4, "accuracy"), strict=True
    ):
        assert a > b
    assert study.mean("l1", 3e-4, "obd after") > study.mean("l1", 3e-4, "magnitude after") + 0.02
    near(study.mean("l1", 1e-3, "zeros"), 0.97, absolute=0.01)
    assert min(study.all("l1", 1e-3, "accuracy")) > 0.55
    for key in ("magnitude after", "obd after"):
        between(study.mean("l1", 1e-3, key), 0.47, 0.53)
    assert ("obs", 0.9) not in study.runs


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
    "A teacher gave the student of two layers a lower loss than labels alone, and an accuracy "
    "that three seeds cannot tell apart."
)
def a_teacher_lowers_the_loss_and_hardly_the_errors(study):
    pairs = zip(study.all("teacher", 2, "loss"), study.all("labels alone", 2, "loss"), strict=True)
    assert all(a < b - 0.1 for a, b in pairs)
    gains = [
        a - b
        for a, b in zip(
            study.all("teacher", 2, "accuracy"),
            study.all("labels alone", 2, "accuracy"),
            strict=True,
        )
    ]
    assert min(gains) < 0 < max(gains)


@claim(
    "by size over all layers the model breaks in some seeds",
    "Moving those that stay (OBS) keeps the loss lowest.",
)
def by_size_the_model_breaks_in_some_seeds(study):
    found = study.all("magnitude", 0.5, "accuracy")
    assert min(found) < 0.6 and max(found) > 0.85
    for share in (0.5, 0.7):
        least = study.mean("obs", share, "loss")
        assert all(
            study.mean(by, share, "loss") > least for by in ("magnitude", "magnitude layer", "obd")
        )


@claim("Commit to an answer, with a reason; for the third one look at the line above.")
def the_predictions_have_the_right_answers(ends, whole, study):
    from rlhf_course.checking.predictions import find

    assert find("14.zeros").truth == "the file shrinks by about a fifth, the time stays"
    between(1 - ends["by size"]["bytes"] / whole["bytes"], 0.18, 0.24)
    between(study.time("zeros 0.7", 16), 0.9, 1.1)
    assert find("14.half").truth == "by curvature is much better"
    assert ends["by curvature"]["accuracy"] > ends["by size"]["accuracy"] + 0.1
    assert find("14.road").truth == "fewer bits, the tables too"
    megabytes = {
        key: study.mean(*key, "bytes") / 1e6
        for key in (("obs", 0.7), ("neurons", 0.5), ("bits", "8"), ("teacher", 2))
    }
    assert min(megabytes.values()) > 15 > study.mean("bits", "4 table", "bytes") / 1e6
