"""Report what stored runs show: tables, paired differences and figures of any set of results."""
