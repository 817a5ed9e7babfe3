"""What the storage of single kinds does beyond the rules of objects: allocation, finalization of namespaces, mirrors.

`hooks.Hooks` is the dispatch; one module per kind or family registers itself there.
"""
