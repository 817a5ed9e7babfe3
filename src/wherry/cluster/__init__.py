"""Assembles the parts into processes: ``up``, ``server``, ``node``."""
