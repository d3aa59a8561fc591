"""What people look at when a suite is done: a page, and figures for a paper."""
