"""Jobs and schedules: their routes, and the worker that runs the jobs of this process."""
