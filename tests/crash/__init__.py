"""Breaking the storage on purpose: killed processes, failing calls, lost power, full disks, many at once."""
