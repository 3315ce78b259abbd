"""Texts that nobody could judge in time, and what people decide about them."""
