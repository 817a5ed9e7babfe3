"""The in-tree plugins, one file each; `wherry.scheduler.profile` lists them with their weights."""
