"""What anyone may know of this gateway: its state, its version, its documentation."""
