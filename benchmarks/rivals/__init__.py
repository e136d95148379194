"""The same networks and losses in other frameworks. They share only the numbers with `foanet_jax`, no code."""
