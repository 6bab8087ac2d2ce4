"""What an explanation is. Values only."""

from msgspec import Struct

#: How the contributions were found, in the words that answers have.
TREES = "exact: trees"
LINEAR = "exact: linear"
COALITIONS = "exact: all coalitions"
PERMUTATIONS = "estimate: permutations"


class Explanation(Struct, frozen=True, kw_only=True):
    """One score, split among the inputs of its row: base and contributions add up to it.

    A contribution is the Shapley value of the score that is served (for a classifier the
    probability, not its log-odds) in the game where inputs that are left out have the values
    of a background row, in the mean over the background.
    """

    names: list[str]  #: the inputs, in the signature's order
    contributions: list[float]  #: one an input, in the unit of the score
    base: float  #: the mean score of the background
    score: float  #: what is served for the row; NaN where the model has no answer to it
    method: str  #: ``exact: …`` or ``estimate: permutations``
    #: standard errors of the contributions, one an input; empty where they are exact
    errors: list[float] = []
    evaluations: int = 0  #: rows the model was asked about; 0 where its structure was read
