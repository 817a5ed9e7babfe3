"""API priority and fairness: how the server's capacity is shared (Kubernetes docs: API Priority and Fairness).

`control.FlowControl` classifies a request by the FlowSchemas (`matching`) and takes its seats in a priority level
(`level`) at once, or after a wait in a queue that its flow shares with few others, or refuses it. A level has its
nominal share of the server's seats for sure but for what it lends, and borrows what others do not use. While nobody
waits this costs three dict lookups.
"""
