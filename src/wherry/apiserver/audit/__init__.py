"""Auditing: who asked for what and what came of it, as ``audit.k8s.io/v1`` events (Kubernetes docs: Auditing).

`policy.Policy` says how much is written of a request and which stages are; `record.Record` makes the events of one
request; `log.AuditLog` writes them to a file beside the event loop, in order, and rotates the file. Without a policy
nothing of this is touched.
"""
