"""The review after notebook 17: the real model, choosing, cost, and judging a claim."""

from ..checking.review import Question

QUESTIONS = (
    Question(
        "A pre-trained model is fine-tuned with a large λ and the penalty centred at zero. What "
        "does the penalty pull towards?",
        "a model without pre-training",
        "Zero is where nothing has been learnt; centred at the start it protects what has.",
        {
            "a simpler model, which generalizes": "For a model from scratch small weights are "
            "that; here they also erase.",
            "the pre-trained model": "That is the penalty centred where the run starts.",
            "nothing: the gradient is stronger": "With a small λ, perhaps; with a large one never.",
        },
        "10",
    ),
    Question(
        "Why fit a logistic regression on the frozen features before any fine-tuning?",
        "it costs seconds and says what fine-tuning has to beat",
        "Careless fine-tuning of all weights can end below it.",
        {
            "it is always the best model": "On few samples it often wins, not always.",
            "its λ is that of the network": "Its λ weighs a head alone; the network's weighs all.",
            "it finds wrong labels": "It may help with that; it is not why.",
        },
        "10",
    ),
    Question(
        "You tried 20 values of λ on one validation set and report the best score. It is",
        "too good, on the average",
        "The winner of many tries is partly lucky: judge it on data that chose nothing.",
        {
            "fair, since the model never saw those samples": "The model has not; the choice has.",
            "too bad, since few samples were used": "A small set makes it scatter; choosing the "
            "best makes it lean to one side.",
            "fair, if the winner also wins with another seed of training": "That takes luck of "
            "training away; the samples that judge are still the same.",
        },
        "11",
    ),
    Question(
        "The 50 features that go best with the labels are selected on all data; then the model "
        "is cross-validated. The score is",
        "too good: the labels of each left-out fold helped to select",
        "Whatever looks at labels belongs inside the folds.",
        {
            "fair: selection is no training": "It has no weights; but it has looked at labels.",
            "fair, if selection is repeated with another seed": "Every seed looks at all labels.",
            "too bad: fewer features were left": "For coin flips as labels such scores have "
            "reached 0.8 in notebook 11.",
        },
        "11",
    ),
    Question(
        "In Adam, weight decay and an L2 penalty of the same strength are",
        "two different things",
        "The penalty's gradient is rescaled like the rest; decoupled decay is not.",
        {
            "the same": "In plain SGD they are, up to the learning rate.",
            "the same up to the learning rate": "For SGD; Adam divides each weight's gradient by "
            "a scale of its own.",
            "the same for weights that are small": "It is the scale of the gradient that counts.",
        },
        "12",
    ),
    Question(
        "The penalty is λ Σ|θ_j − θ_j at the start|. Which weights become exact, and what?",
        "some of them, exactly as they were at the start",
        "A kink makes weights exact where it lies.",
        {
            "some of them, exactly zero": "That is L1 with its kink at zero.",
            "none: only small": "That is what smooth penalties do.",
            "all of them": "For λ large enough; below that those stay that the loss pulls least.",
        },
        "12",
    ),
    Question(
        "The same batch is padded to a greater length, and the loss changes in its second digit. "
        "What follows?",
        "a mistake: padding must not change the loss",
        "Padding carries nothing; a mask is missing, or a mean counts it.",
        {
            "nothing: longer inputs are harder": "The texts are the same.",
            "float32 rounding": "That changes the sixth or seventh digit.",
            "dropout": "It does change the loss from call to call; switch it off before you "
            "compare.",
        },
        "13",
    ),
    Question(
        "Half of the entries of each weight matrix are set to zero, in random places. An "
        "ordinary matrix product is then",
        "as slow as before",
        "Zeros are multiplied like other numbers; smaller matrices save time.",
        {
            "twice as fast": "Half of the multiplications could be saved, by a kernel that skips "
            "them; the ordinary one does not.",
            "slower": "Only in a sparse format, where indices have to be looked up.",
            "as slow, but with half the memory": "Memory is saved on disk, in a format that "
            "leaves zeros out; the matrix in use is full.",
        },
        "14",
    ),
    Question(
        "A model has 110 million parameters. Its Hessian in float32 takes about",
        "48 petabytes",
        "p² = 1.2·10¹⁶ numbers of four bytes each.",
        {
            "440 megabytes": "That is one vector.",
            "48 terabytes": "A thousand times too little: it is p² and four bytes.",
            "24 petabytes": "H is symmetric, so half of it would do; written whole it is twice that.",
        },
        "15",
    ),
    Question(
        "Two workers hold 30 and 10 samples, and each computes the mean gradient of its share. "
        "The gradient of the mean loss over all 40 is",
        "¾ of the first plus ¼ of the second",
        "Means are weighed by how many samples they are of.",
        {
            "half of each": "For equal shares; here the ten would count three times as much.",
            "their sum": "That is for sums in place of means.",
            "30 times the first plus 10 times the second": "The division by 40 is missing.",
        },
        "15",
    ),
    Question(
        "Lanczos with 20 products reports 8.1 as the largest eigenvalue of a Hessian. The true "
        "one is",
        "at least 8.1, up to rounding",
        "A Ritz value is an average of eigenvalues, so it never lies outside of the spectrum.",
        {
            "at most 8.1": "It is an estimate from inside, not a bound from above.",
            "8.1 or less by chance": "The start is drawn, but no start gives too much.",
            "unknown: Lanczos needs p products": "All eigenvalues need them; the ends come first.",
        },
        "15",
    ),
    Question(
        "The difference of two methods has the 95 % interval [−0.02, 0.05]. The data say",
        "not enough to tell, if 0.05 would matter",
        "An interval that holds zero is no proof of zero: both ends are possible.",
        {
            "that they are equally good": "Zero is inside, and so are 0.04 and −0.01.",
            "that the first is better, as most of the interval is positive": "It leans so; that "
            "is far from the odds that were asked for.",
            "that the test was wrong": "It was honest; it was small.",
        },
        "17",
    ),
    Question(
        '"Converges faster than Adam." What is the first question to such a claim?',
        "in which unit, and was Adam tuned?",
        "In steps it can be true and in gradients or seconds false; an untuned rival always loses.",
        {
            "is the proof right?": "A rate is proved per step, and steps cost different amounts.",
            "how many parameters has the model?": "Good to know; it decides nothing yet.",
            "does it hold on BERT?": "One more model does not mend an unfair comparison.",
        },
        "17",
    ),
    Question(
        "Which result speaks most strongly for a regularizer?",
        "better on 5 seeds than a rival tuned at equal cost, on data that chose nothing",
        "Seeds, a fair rival, and judges apart from choosers: all three.",
        {
            "best of all methods in the best of 50 runs": "The more runs, the luckier the best.",
            "a smaller gap between training and validation loss": "A coin has no gap at all: "
            "look at the validation loss itself.",
            "a lower training loss in fewer steps": "That speaks for an optimizer, if at all.",
        },
        "17",
    ),
)
