"""Admission plugins, one file each. A plugin reads through `Reader` and writes only the object under admission."""
