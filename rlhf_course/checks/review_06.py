"""The review after notebook 06: λ and μ, Newton, saddles, products, CG, corners."""

from ..checking.review import Question

QUESTIONS = (
    Question(
        "Two runs have the same λ and different damping μ, on a convex loss. Where do they rest?",
        "at the same point",
        "At rest g + λθ = 0, and there is no μ in that.",
        {
            "the one with more μ rests closer to zero": "On the first steps from zero it *is* "
            "closer, which is why μ looks like λ; but it walks on.",
            "the one with more μ never rests": "It takes longer, and a plot with few steps looks "
            "like that.",
            "the one with less μ has the lower loss at rest": "On the way it is ahead, so at any "
            "step before the end its loss is the lower one.",
        },
        "00",
    ),
    Question(
        "The training error is 0.02, the validation error 0.90. Which change is worth a try first?",
        "a larger λ",
        "A large gap says that noise was fitted: λ trades training error for validation error.",
        {
            "a smaller λ": "It makes the error smaller that can be made smaller; the wrong one.",
            "more damping μ, and run to the end": "Damping holds a run back while it lasts, but the "
            "end is the same minimum.",
            "more steps": "More steps help a model that has not arrived; this one fits its data.",
        },
        "01",
    ),
    Question(
        "You get four times as many samples of the same kind. What happens to the best λ, on the "
        "average?",
        "it falls",
        "With a loss that is a mean, noise weighs in the average fit as σ²/n: there is less to "
        "hold back.",
        {
            "it rises, since there is more to fit": "In a loss that is a *sum* the penalty does "
            "have to grow to keep its share; and even there it need not grow in proportion.",
            "it stays, since the model is the same": "The model is, the noise in its weights is "
            "not: that shrinks with the number of samples.",
            "it becomes zero as soon as n exceeds p": "Beyond n = p the fit is unique, but still "
            "noisy; a little λ still pays.",
        },
        "01",
    ),
    Question(
        "A convex quadratic has condition number 10⁶. How many undamped Newton steps reach its "
        "minimum?",
        "1",
        "The model is the function, so the lowest point of the model is the minimum.",
        {
            "about 7 million": "That is gradient descent's price for six digits, with its best "
            "step size.",
            "about 1000": "The root of κ is what conjugate gradients or a heavy ball pay for.",
            "as many as there are parameters": "That is the bound for conjugate gradients, which "
            "solve for the step; it is one step all the same.",
        },
        "02",
    ),
    Question(
        "You measure one input in millimetres instead of metres, and start at the same function. "
        "Which method takes the same path through functions as before?",
        "Newton's method without damping",
        "Hd = −g keeps its meaning in all units; μI and a learning rate do not.",
        {
            "Newton's method with damping μ": "H knows the units and I does not: μ now damps that "
            "input's weight by another amount.",
            "gradient descent": "It is the simplest, but its step size fits one unit only.",
            "none": "The numbers in θ do change; the predictions after each step need not.",
        },
        "02",
    ),
    Question(
        "The Hessian has the eigenvalues 3, 0.2 and −0.5. When does −(H + μI)⁻¹g point downhill "
        "for every gradient?",
        "for μ > 0.5",
        "Every eigenvalue of H + μI has to be positive: μ beats the smallest one.",
        {
            "for μ > 3": "That is the largest one; enough, but not needed.",
            "for μ > 0.2": "It looks like the smallest in size; the sign makes −0.5 the least.",
            "for every μ > 0": "True where H has no negative eigenvalue; here 0.1 leaves −0.4.",
        },
        "03",
    ),
    Question(
        "An undamped Newton run slows down nowhere and ends at a point with gradient zero. What "
        "is that point?",
        "a minimum, a saddle or a maximum",
        "Newton's method solves g = 0, and all three have that; the eigenvalues of H tell.",
        {
            "a minimum": "On a convex function it is; and a loss that has stopped falling looks "
            "like one.",
            "a minimum or a saddle": "Uphill steps are as possible along every direction as "
            "along one.",
            "a saddle": "Undamped steps are drawn to saddles, but not only to them.",
        },
        "03",
    ),
    Question(
        "What does one product Hv cost a network with p parameters, by double backward?",
        "a small multiple of a gradient, and memory for a few vectors",
        "Hv is the derivative of the number g'v, and that costs about as much as g does.",
        {
            "p gradients, since H has p columns": "That is what the whole matrix costs.",
            "a gradient, and memory for p² numbers": "The result needs H in the formula, but H is "
            "never written down.",
            "nothing beyond the gradient": "Its graph is there already, but going through it "
            "backwards once more costs as much again.",
        },
        "04",
    ),
    Question(
        "A quotient of gradients, (g(θ + εv) − g(θ))/ε, grows worse as ε falls below 10⁻⁹. Why?",
        "the gradients agree in most digits, and rounding is divided by ε",
        "Subtracting near-equal numbers leaves their rounding errors, and 1/ε blows them up.",
        {
            "the Taylor remainder grows": "It is the other error: it *falls* with ε.",
            "θ + εv is no longer on the curve of f": "Close points are as good as far ones; it is "
            "the digits that run out.",
            "autograd is not exact": "It is exact up to rounding, and that is just what is "
            "divided by ε.",
        },
        "04",
    ),
    Question(
        "A positive definite matrix of size 1000 has only three different eigenvalues. How many "
        "steps do conjugate gradients need, in exact arithmetic, at most?",
        "3",
        "A polynomial of degree 3 with value 1 at zero can vanish at all three.",
        {
            "1000": "That is the bound without anything known of the spectrum.",
            "the root of the condition number": "The bound by κ knows the two ends only.",
            "1": "One step is for one eigenvalue: then the bowl is round.",
        },
        "05",
    ),
    Question(
        "Inside CG a direction s has s'As < 0. What should the solver do?",
        "stop, and say that it met negative curvature",
        "Along s the model falls for ever: it has no minimum, and the caller has to know.",
        {
            "go on: α becomes negative and the residual still falls": "It does go on for a while, "
            "towards a saddle of the model; the numbers look healthy.",
            "take the absolute value of s'As": "It sounds like a cure; but then α is a step of no "
            "function's minimum, and the directions are no longer conjugate.",
            "restart from zero": "Rounding is cured by that; the sign of A is not.",
        },
        "05",
    ),
    Question(
        "Stopping CG after k steps, starting at zero, acts like a penalty. Which eigendirections "
        "of H does it hold back most?",
        "those with small eigenvalues",
        "Like λ, whose filter is h/(h + λ), a few steps fit the steep directions first.",
        {
            "those with large eigenvalues": "They matter most for the loss; that is why they are "
            "fitted first.",
            "all alike": "The length of θ does shrink as a whole, but not by one factor.",
            "those in which the noise is largest": "Neither CG nor λ knows the noise; it "
            "often does most harm in flat directions, which is why the trick works.",
        },
        "05",
    ),
    Question(
        "A weight is 0, its slope of the loss is g = 0.3, and the penalty is λ|θ| with λ = 0.5. "
        "Does a minimum of a convex loss allow that?",
        "yes, since |g| ≤ λ",
        "At the corner the penalty can hold against any slope up to λ.",
        {
            "no, since g + λ sign θ is not zero": "Autograd reports sign 0 = 0 at the corner, so "
            "this test says 0.3; it is made for weights that are not zero.",
            "no, since g is not zero": "Without a penalty that is the rule.",
            "only if g = λ exactly": "That is for weights that are *not* zero, in size.",
        },
        "06",
    ),
    Question(
        "Rounding the corner of |θ| off, as √(θ² + ε²), lets Newton's method run. What is lost?",
        "exact zeros",
        "The slope at zero is zero then, so any slope of the loss moves the weight away.",
        {
            "convexity": "The rounded corner looks like less, but it still curves upwards "
            "everywhere.",
            "the direction of descent": "The penalty is smooth now, which is what the method wants.",
            "nothing, for ε small enough": "The weights do become small, so a plot shows zeros; a "
            "count does not, and the curvature 1/ε slows the method.",
        },
        "06",
    ),
)
