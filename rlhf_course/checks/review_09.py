"""The review after notebook 09: Gauss-Newton, trust, the optimizer and its cost."""

from ..checking.review import Question

QUESTIONS = (
    Question(
        "What does the Gauss-Newton matrix leave out of the Hessian?",
        "the slope of the loss times the bending of the outputs",
        "G is the Hessian of the loss through the tangent of the network, which does not bend.",
        {
            "all negative eigenvalues, and nothing else": "For a convex loss G has none, but its "
            "other eigenvalues differ from those of H, too.",
            "everything off the diagonal": "There are such approximations; G is a full matrix.",
            "the curvature of the loss in its outputs": "That is what it keeps: J'(curvature)J.",
        },
        "07",
    ),
    Question(
        "For which model is G equal to H everywhere?",
        "one whose outputs are linear in its parameters, such as logistic regression",
        "Then the outputs do not bend, and nothing is left out.",
        {
            "a network with squared error": "The name comes from least squares, but the outputs "
            "of a network bend; with zero residuals only, the two meet.",
            "any network with a convex loss": "A convex loss makes G positive semi-definite, not "
            "equal to H.",
            "a network of ReLUs": "Each ReLU is piecewise linear in its *input*; the outputs are "
            "products of weights of several layers.",
        },
        "07",
    ),
    Question(
        "The Fisher matrix is an average of g g' over labels. Over which ones?",
        "labels drawn from the model's own probabilities",
        "Only so it is the metric of the model's distribution, and equal to G for cross-entropy.",
        {
            "the labels of the data": "That makes the empirical Fisher matrix, which is cheaper "
            "and in many programs bears the name.",
            "the most probable labels": "They are also the model's; but one label a sample, not "
            "drawn, forgets how sure the model is.",
            "labels drawn at random, each equally often": "It is an average over all labels; the "
            "weights are missing.",
        },
        "07",
    ),
    Question(
        "A classifier has p = 10⁶ parameters, C = 3 classes, and sees n = 20 samples. How many "
        "non-zero eigenvalues can G have?",
        "40",
        "Each sample adds at most C − 1, since its probabilities sum to one.",
        {
            "60": "n times C outputs is nearly it; one of each three is fixed by the others.",
            "20": "One a sample is right for one output.",
            "a million": "G has that many rows, but no more rank than its factors.",
        },
        "07",
    ),
    Question(
        "The model promises a decrease of 0.20, the loss falls by 0.01. What is ρ, and what "
        "should μ do?",
        "0.05, and μ grows",
        "ρ is true over promised; far below 1 the model is trusted too far.",
        {
            "20, and μ falls": "The quotient is upside down: then a bad model would look good.",
            "0.05, and μ falls": "The step did go downhill, so the temptation is to go on; but "
            "the model was wrong by a factor of twenty.",
            "0.19, and μ grows": "The difference is of the size of the loss; a ratio is needed "
            "to compare with 1.",
        },
        "08",
    ),
    Question(
        "In all of a run ρ is 1.000. What does that say of the loss, along the steps?",
        "that it is its own quadratic model there",
        "True and promised decrease are equal.",
        {
            "that μ is chosen best": "A good guard is often seen with ρ near 1; but so is one with "
            "far too much μ, whose steps are tiny.",
            "that the loss is convex": "A concave quadratic has ρ = 1, too.",
            "that the steps are Newton steps": "For a quadratic any step has ρ = 1.",
        },
        "08",
    ),
    Question(
        "What can a trust region do that a line search along the Newton step cannot?",
        "turn the step",
        "Shorter means another direction there: towards the gradient as the radius falls.",
        {
            "shorten the step": "It does, and a line search does as well.",
            "guarantee a decrease": "A line search does that as well, for a direction of descent.",
            "do without gradients": "It compares values of the loss, but its model needs them.",
        },
        "08",
    ),
    Question(
        "As μ grows without bound, where does the damped step go?",
        "to a short step along −g",
        "H no longer matters beside μI: the step tends to −g/μ.",
        {
            "to the Newton step": "That is the limit of μ to zero.",
            "to zero, along the Newton direction": "It goes to zero, but it turns on the way.",
            "to the eigenvector of the largest eigenvalue": "Steep directions are kept longest in "
            "*relative* terms, yet in the limit every direction is divided by the same μ.",
        },
        "08",
    ),
    Question(
        "A step is rejected. What has to be done before the next one?",
        "put the old weights back and damp more",
        "The gradient at the old weights still holds, and with the same μ the same step comes.",
        {
            "keep the new weights and damp more": "The step is made and its gradient would be "
            "fresh; but the loss may have risen without bound.",
            "put the old weights back and draw another batch": "Another batch may accept the step, "
            "by luck; then the guard guards nothing.",
            "halve the gradient": "It shortens the step, but says nothing about the model.",
        },
        "08",
    ),
    Question(
        "The closure draws a new batch in each call. Which of these is spoilt first?",
        "ρ, since old and new value are of different functions",
        "Gradient, products and trial points of one step have to belong to one function.",
        {
            "nothing, since SGD does so in each step": "It does, from step to step; within one "
            "step it never compares two values.",
            "the number of products": "CG goes on; it solves with a matrix that changes.",
            "the memory": "It is the same, batch for batch.",
        },
        "09",
    ),
    Question(
        "A method takes ten times fewer steps than Adam to the same loss. Is it faster?",
        "it depends on what a step costs",
        "A step with forty products costs dozens of gradients; compare costs, not steps.",
        {
            "yes, ten times": "The x-axis says steps, and it is easily read as time.",
            "no, second order never is": "A prejudice; with few, cheap products it may be.",
            "yes, if both have the same learning rate": "Their rates mean different things.",
        },
        "09",
    ),
    Question(
        "The closure for Gauss-Newton returns (loss, probabilities) instead of (loss, logits), "
        "with cross-entropy of the logits as its loss. What happens?",
        "products with a wrong matrix, unless the optimizer refuses",
        "The loss is convex in the logits; G needs what the loss is applied to.",
        {
            "nothing, probabilities hold the same information": "They do, but the curvature of "
            "the loss is taken with respect to what is returned.",
            "an error from autograd": "Both are differentiable, so no error is bound to come.",
            "the same direction, shorter": "The softmax rescales each sample in its own way.",
        },
        "09",
    ),
    Question(
        "L-BFGS knows curvature without one product. From what?",
        "from how the gradient changed over the last steps",
        "Each pair (step, change of the gradient) says what H does along that step.",
        {
            "from the diagonal of H": "Such methods exist; L-BFGS only starts from a multiple of I.",
            "from the squares of the gradients": "That is Adam's scale, which is no curvature.",
            "from products with a small batch": "That is what our optimizer does.",
        },
        "09",
    ),
)
