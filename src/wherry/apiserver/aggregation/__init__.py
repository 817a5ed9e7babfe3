"""Aggregation: group versions that other servers in the cluster serve (Kubernetes docs: Aggregation Layer).

An APIService with a ``service`` hands its group version to that Service. `aggregator.Aggregator` follows the
APIServices, checks whether each answers (condition ``Available``), lists their resources in discovery, and passes
requests on that were authenticated and authorized here. The other server learns who asks from ``X-Remote-*`` headers,
which it believes because of the client certificate of the front proxy.
"""
