"""Webhooks: signed messages to URLs that callers register, tried until they arrive or their steps are used up."""
