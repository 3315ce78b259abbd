"""What limits keep beyond one worker's memory: quotas on disk, and counts that many workers share through Redis."""
