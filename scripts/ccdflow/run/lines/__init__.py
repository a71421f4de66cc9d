"""The lines of a run: on its plan, its progress and its end; its result for other programs."""
