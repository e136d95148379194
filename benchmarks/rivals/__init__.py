"""The same networks and losses in other frameworks. Nothing here is shared with `foanet_jax` but the numbers."""
