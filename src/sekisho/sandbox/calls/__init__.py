"""System calls: their numbers, the filter that lets some of them through, and which of them touch a path."""
