"""What kube-scheduler does: chooses a node for each pod, by filters and scores, and preempts where it must.

`framework` states what a plugin is, `plugins/` has one file for each. `cache` holds nodes with what runs on them,
`queue` the pods that wait, `cycle` chooses, `scheduler` drives it all. The choosing is synchronous and pure over the
cache: between two events of the loop nothing changes under it. Only binding waits for the API.

Who has seen one pod of a kind places the next one at the cost of a heap operation (`ranking`), whatever the number of
nodes.
"""
