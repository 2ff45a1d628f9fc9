"""How answers are checked: registered functions, feedback with a hint, goals, kept progress."""
