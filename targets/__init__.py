"""Where a service runs, and how another version takes over there: `target.Target` says what a target can do.

One module a kind of target; `files.load_target` reads one from configs/targets/.
"""
