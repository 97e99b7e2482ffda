"""One small program per rule of the workflow: flags in, one library call, one line that says what was made."""
