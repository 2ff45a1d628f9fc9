"""What notebook 15 says, held in its kernel. Seconds of the present machine decide nothing."""

import math

import torch

from tools.claims import between, claim, near


def speeds(step_seconds, base, network):
    """W -> how many times as fast as one, for a step of ten products of BERT-base."""
    times = {w: sum(step_seconds(base, 32, 128, 10, "Gv", w, network)) for w in range(1, 17)}
    return {w: times[1] / t for w, t in times.items()}


@claim(
    "**BERT-base's Hessian has 48 petabytes, one vector 440 megabytes.**",
    "48 petabytes for BERT-base are beyond any machine",
    "BERT-base's Hessian takes 48 PB, a vector 438 MB",
)
def berts_hessian_takes_48_petabytes(base, dense_hessian_bytes, vector_bytes):
    near(dense_hessian_bytes(base.parameters) / 1e15, 48, absolute=0.5)
    near(vector_bytes(base.parameters) / 1e6, 438, absolute=0.5)


@claim(
    "from BERT-base's Hessian to GPT-3's vectors",
    "Seven vectors of 699 GB",
    "which models of GPT-3's size need before anything else",
)
def gpt3_does_not_fit(SHAPES, vector_bytes):
    one = vector_bytes(SHAPES["GPT-3"].parameters)
    near(one / 1e9, 699, absolute=0.5)
    assert 7 * one > 4e12
    near(SHAPES["GPT-3"].parameters, 175e9, relative=0.01)


@claim(
    "So in matrix products alone $Hv$ costs 2 gradients and $Gv$ 4/3",
    "Products take 2 ($H$) or 4/3 ($G$) gradients in multiplications",
)
def products_in_gradients(prices, shape):
    near(prices["Hv"], 2, relative=1e-9)
    near(prices["Gv"], 4 / 3, relative=1e-9)
    near(prices["forward"], 1 / 3, relative=1e-9)
    assert shape.hidden == 384


@claim(
    "each layer with hidden size $u$ and feed-forward size $u'$ multiplies by $4u^2 + 2uu'$ "
    "weights for each token, and for attention $2uT$ numbers for each token more"
)
def formula_1_counts_the_flops(SHAPES):
    for s in SHAPES.values():
        for B, T in ((16, 32), (2, 128)):
            layers = (
                2
                * s.layers
                * (
                    B * T * (4 * s.hidden**2 + 2 * s.hidden * s.feed_forward)
                    + 2 * s.hidden * B * T**2
                )
            )
            head = 2 * B * s.hidden * (s.hidden + s.classes)
            near(s.work("forward", B, T).flops, layers + head, relative=1e-12)


@claim(
    "The next cell times every pass of three small BERTs",
    "a factor of three is what one may hope for",
)
def the_present_machine_is_fitted(timed, live, held_out):
    assert len(timed) == 15 and len(live.constants) == 5 and min(live.constants) >= 0
    ratios = sorted(live.seconds(work) / seconds for work, seconds in held_out.values())
    # CPU time, while eight other processes may fight for the caches.
    between(ratios[len(ratios) // 2], 1 / 5, 5)
    assert 1 / 20 < ratios[0] and ratios[-1] < 20


@claim(
    "four cases fit the prices, eleven other shapes, batches and lengths test them",
    "the eleven that did not calibrate are all predicted within 25 %, and so is every peak of "
    "memory",
    "predict the seconds of a step within 25 % here",
)
def whole_steps_and_memory_are_predicted_within_a_quarter(fitted, unseen, found):
    assert len(fitted) == 4 and len(unseen) == 11
    assert len(found["whole steps"]) == 11 and len(found["memory"]) == 33
    for measured, predicted in found["whole steps"] + found["memory"]:
        between(predicted / measured, 0.75, 1.25)


@claim("three of 55 are, the worst of them a forward pass of six milliseconds")
def three_single_passes_are_further_off(machine, unseen, found, nb15):
    far = nb15.outside(machine, unseen)
    assert len(far) == 3 and len(found["single passes"]) == 55
    worst = max(far, key=lambda row: abs(math.log(row["predicted / measured"])))
    assert worst["pass"] == "forward" and round(worst["measured (ms)"]) == 6


@claim("Extrapolating to BERT-base, twice as wide as anything that calibrated")
def nothing_that_calibrated_is_as_wide_as_bert(fitted, base):
    assert base.hidden == 2 * max(case.shape.hidden for case in fitted)


@claim(
    "where a case was recorded (one worker and five products: seconds with $G$, memory with "
    "$H$), the measurement is a star, as for MiniLM with 16 sentences of 32 tokens",
    "is *one CPU thread* of the record's machine",
)
def minilm_with_16_sentences_was_recorded(fitted, unseen, SHAPES, document):
    known = [c for c in fitted + unseen if c.shape == SHAPES["MiniLM"] and c.batch == 16]
    assert [c.tokens for c in known] == [32]
    assert "one thread" in document["device"]


@claim(
    "In a ring each of $K$ workers sends $2(K-1)/K$ of the vector for one sum",
    "*One machine* assumes 4 GB a second between its processes",
)
def a_ring_sends_almost_twice_the_vector(all_reduce_seconds, NETWORKS):
    for W in (2, 5, 16):
        near(all_reduce_seconds(10**6, W, 10.0), 2 * (W - 1) / W * 1e5, relative=1e-12)
    assert NETWORKS["one machine"] == 4e9
    for name, bits in (("1 Gbit/s", 1), ("10 Gbit/s", 10), ("100 Gbit/s", 100)):
        near(NETWORKS[name], bits * 1e9 / 8)


@claim(
    "Five: their efficiency is 54 %, and half of every worker is lost with six",
    "ten sums of a vector cost the same five seconds each",
)
def five_workers_are_the_most(step_seconds, base, all_reduce_seconds, vector_bytes, NETWORKS):
    gain = speeds(step_seconds, base, "1 Gbit/s")
    near(gain[5] / 5, 0.54, absolute=0.005)
    assert gain[6] / 6 < 0.5
    assert max(w for w, g in gain.items() if g / w >= 0.5) == 5
    between(all_reduce_seconds(vector_bytes(base.parameters), 5, NETWORKS["1 Gbit/s"]), 4.5, 5.7)


@claim(
    "One with $G$ costs 4/3 gradients in multiplications and about 1.5 in seconds",
    "Ten products and their gradient cost 15 to 20 gradients where there is work to do, and "
    "nearly 30 where model and batch are so small that calls and vectors weigh",
    "the losses that the line search tries come on top, a third of a gradient each",
)
def ten_products_cost_15_to_30_gradients(machine, fitted, unseen, SHAPES):
    ratios = sorted(c.seconds["Gv"][1] / c.seconds["gradient"][1] for c in fitted + unseen)
    near(ratios[len(ratios) // 2], 1.5, absolute=0.05)
    cost = {}
    for name, B, T in (("BERT-base", 32, 128), ("MiniLM", 16, 32), ("BERT-tiny", 16, 32)):
        unit = machine.seconds(SHAPES[name].work("gradient", B, T))
        cost[name] = machine.seconds(SHAPES[name].cg("Gv", B, T, 10)) / unit
    between(cost["BERT-base"], 14.5, 20)
    between(cost["MiniLM"], 15, 20)
    between(cost["BERT-tiny"], 26, 30)


@claim(
    "**Twice the tokens** cost about twice, less where calls and vectors weigh and a little "
    "more for long texts",
    "Memory grows more slowly at first: the vectors do not grow at all",
)
def twice_the_tokens_cost_about_twice(step, held, shape):
    ratio = {T: step[2 * T] / step[T] for T in (8, 64, 256)}
    between(ratio[64], 1.85, 2.05)
    assert ratio[8] < 1.6 and 2.1 < ratio[256] < 2.4
    assert held[16] / held[8] < 1.1 and held[128] / held[64] < 1.7
    assert shape.memory("cg Gv", 16, 8)["vectors"] == shape.memory("cg Gv", 16, 512)["vectors"]


@claim(
    "of 32 sentences the slowest of nine workers still has four",
    "At 1 Gbit/s sixteen workers are about four times as fast as one, at 100 Gbit/s eleven times",
    "so there four workers are 2.5 times as fast",
)
def sixteen_workers_are_four_times_as_fast(step_seconds, base, faster):
    assert math.ceil(32 / 9) == 4
    slow, quick = (speeds(step_seconds, base, f"{n} Gbit/s") for n in (1, 100))
    near(slow[16], 4.1, absolute=0.05)
    near(quick[16], 11.2, absolute=0.05)
    near(slow[4], 2.5, absolute=0.05)
    near(faster["1 Gbit/s"][15], slow[16])
    assert sum(step_seconds(base, 32, 128, 10, "Gv", 1, "1 Gbit/s")) > 100


@claim("More products make both parts longer, so they hardly change the number.")
def ten_times_the_products_allow_hardly_more(step_seconds, base):
    def best(products):
        times = [
            sum(step_seconds(base, 32, 128, products, "Gv", w, "1 Gbit/s")) for w in range(1, 17)
        ]
        return max(w for w, t in enumerate(times, 1) if times[0] / (w * t) >= 0.5)

    assert abs(best(100) - best(10)) <= 1


@claim(
    "A colleague trains on 250 sentences in batches of 32, each shared by four ranks",
    "in the eighth the product is wrong",
    "The eighth batch has the 26 sentences that are left, 8, 8, 8 and 2 for the ranks: by her mean "
    "each of the last two counts four times as much as the others.",
)
def the_eighth_batch_is_ragged():
    sizes = [len(range(250)[k : k + 32]) for k in range(0, 250, 32)]
    assert sizes == 7 * [32] + [26]
    counts = [len(range(26)[k : k + 8]) for k in range(0, 26, 8)]
    assert counts == [8, 8, 8, 2]
    near((1 / 4 / counts[-1]) / (1 / 4 / counts[0]), 4)


@claim(
    "**Four machines** do not take 25 of your 100 seconds but 78: ten sums of five seconds each "
    "come on top"
)
def four_machines_take_78_seconds(sent):
    near(sent, 5.25, absolute=0.05)
    near(25 + 10 * sent, 78, absolute=0.6)


@claim("Without a machine it compares counted matrix products, in gradients")
def the_solver_is_chosen_by_counts(by_counts):
    assert by_counts[3].startswith("cg") and by_counts[60].startswith("dual")


@claim("the **Ritz values**, approach the ends of the spectrum first")
def lanczos_finds_the_ends(ritz, dense, H, lanczos, v):
    near(ritz[19][-1], dense[-1], relative=1e-8)
    near(ritz[19][0], dense[0], relative=0, absolute=1e-4)
    assert abs(ritz[4][-1] - dense[-1]) < 0.01 < abs(ritz[4][0] - dense[0])
    ends = lanczos(H, 20, start=v).ritz_values
    near(ends[-1], ritz[19][-1], relative=1e-8)


@claim("A few steps on small matrices are asked for")
def the_exercise_asks_for_a_few_steps():
    from rlhf_course.checking.registry import exercises

    asked = []

    def answer(A, v, m):
        asked.append((tuple(A.shape), len(v), m))
        return torch.zeros(())

    try:
        exercises("15")["15.lanczos"].judge(answer)
    except Exception:  # a wrong answer, of course
        pass
    (shape, length, steps), *_ = asked
    assert shape == (length, length) and length < 40
    between(steps, 7, 10)


@claim("For 20 steps on BERT-base that is 8.8 GB, and on GPT-3 14 TB")
def twenty_vectors_have_their_price(SHAPES, vector_bytes):
    near(20 * vector_bytes(SHAPES["BERT-base"].parameters) / 1e9, 8.8, absolute=0.05)
    near(20 * vector_bytes(SHAPES["GPT-3"].parameters) / 1e12, 14, absolute=0.05)


@claim(
    "of all 22.6 million weights, on 16 reviews, before fine-tuning, where the head is zero, and "
    "after four epochs of AdamW, which have learnt the labels by heart",
    "show the ends of a spectrum of 22.6 million eigenvalues",
)
def the_whole_spectrum_was_recorded(spectrum, spectra, SHAPES):
    assert set(spectra) == {("H", 0), ("G", 0), ("H", 4), ("G", 4)}
    assert "16 reviews" in spectrum["about"] and "20 products" in spectrum["about"]
    for r in spectra.values():
        pooler = 384 * 384 + 384  # which the mean of the tokens does without
        assert r["parameters"] == SHAPES["MiniLM"].parameters - pooler
        near(r["parameters"] / 1e6, 22.6, absolute=0.05)
        assert r["loss"] < 0.01 or r in (spectra["H", 0], spectra["G", 0])
        near(sum(r["weights"]), 1.0, relative=1e-3)


@claim(
    "**$G$ has sixteen eigenvalues that are not zero.** Sixteen reviews with two labels give it "
    "a rank of at most 16",
    "after 18 steps the space is mapped into itself and it stops",
    "In 32-bit floats 0 comes twice, once as a Ritz value just below zero",
    "$H$ indefinite, $G$ of rank 16 for sixteen reviews",
)
def g_has_rank_16(spectra):
    for epochs in (0, 4):
        values = torch.tensor(spectra["G", epochs]["ritz_values"])
        away = values.abs() > 0.001 * values.abs().max()
        assert int(away.sum()) == 16 and len(values) == 18
        assert -1e-3 < float(values[0]) < 0


@claim(
    "Before, from −8.7 to 11; after four epochs, from −0.8 to 14",
    "A damping of 1 and a λ of 1",
    "together they would have to be more than 8",
)
def h_is_indefinite_most_of_all_at_the_start(spectra):
    before, after = (spectra["H", epochs]["ritz_values"] for epochs in (0, 4))
    near(before[0], -8.7, absolute=0.05)
    near(before[-1], 11, absolute=0.5)
    near(after[0], -0.8, absolute=0.05)
    near(after[-1], 14, absolute=0.5)
    assert 1 + 1 < 8 < -before[0]


@claim("What is away from zero stands for a hundredth of them or less")
def nearly_all_eigenvalues_are_next_to_nothing(spectra):
    for r in spectra.values():
        values, shares = torch.tensor(r["ritz_values"]), torch.tensor(r["weights"])
        assert float(shares[values.abs() > 0.001 * values.abs().max()].sum()) < 0.01


@claim(
    "share 24 sentences as 16 and 8, in float64, and compare with one process that has them all",
    "The bytes of a product are the vector's and five numbers more from each rank",
    "one all-reduce of one vector makes a product",
    "As all ranks then hold the same numbers, bit for bit",
)
def two_processes_agree_with_one(shared):
    assert shared.shares == [16, 8] and shared.processes == 2
    assert set(shared.differences) == {"loss", "gradient", "Hv", "Gv", "three steps"}
    assert max(shared.differences.values()) < 1e-10
    assert shared.same_on_all is True
    assert shared.all_reduces_per_product == 1
    assert shared.bytes_per_product == 8 * (shared.parameters + 5 * shared.processes)


@claim(
    "The predictions are for CPU seconds in 32-bit floats, and measured are wall seconds in 64 bits"
)
def predictions_are_for_32_bits(two_processes, costs, Transformer):
    import inspect

    assert inspect.signature(two_processes).parameters["dtype"].default == "float64"
    bench = costs.Bench(Transformer(16, 1, 2, 32, vocabulary=20, positions=8), 2, 4)
    assert {p.dtype for p in bench.params} == {torch.float32}


@claim("The answers come from the formula and from the panel")
def the_predictions_have_the_right_answers(prices, step, held, sent):
    from rlhf_course.checking.predictions import find

    near(find("15.product").truth, prices["Hv"] / prices["forward"])
    assert find("15.tokens").truth == "about twice the time, clearly less than twice the memory"
    between(step[128] / step[64], 1.85, 2.05)
    between(held[128] / held[64], 1.4, 1.7)
    near(find("15.four").truth, 25 + 10 * sent, absolute=0.6)
