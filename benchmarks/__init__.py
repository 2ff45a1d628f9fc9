"""Costs and learning curves of rlhf_lib beside other libraries: `make bench`, see README.md."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# In the package, as the course judges the article by them.
RESULTS = HERE.parent / "rlhf_course" / "recorded" / "benchmarks"
PEERS = HERE.parent / ".bench-peers"

# At the end, so that nothing in that folder can take the place of a package of the course.
if str(PEERS) not in sys.path:
    sys.path.append(str(PEERS))
