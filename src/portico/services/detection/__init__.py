"""Prompt-injection detection: whether a text tries to take over a language model."""
