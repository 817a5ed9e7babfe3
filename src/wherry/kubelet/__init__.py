"""The kubelet: drives the pods bound to one node towards their spec and reports what became of them.

It promises that nothing of a pod is started twice, that what an earlier node process left is adopted or cleaned up,
and that a pod object goes from the API only after its containers, volumes and network are gone. It never polls: workers
wake on changes of the API, events of the runtime, results of probes and timers. It trusts the API server and its own
files; it does not trust what is inside containers and volumes. Only ``wherry.cluster`` calls it.
"""
