"""The supervisor: the process tree, the listening sockets, signals, the PID file and the control socket."""
