"""The exercises of each notebook: what is right, and a hint for each mistake that learners make."""
