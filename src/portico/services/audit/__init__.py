"""The audit trail for administrators, refusals on their way into it, and its heads on their way out."""
