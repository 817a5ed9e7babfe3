"""The store: keys and bytes under one global revision, as etcd has.

Promises: every write is one revision; a write is acknowledged when it is on disk; reads never touch the disk; a watch
starts at a revision and misses nothing until compaction. Knows nothing of Kubernetes: values are opaque bytes.
Only ``wherry.apiserver`` and ``wherry.cluster`` import it.
"""
