"""Authorization: may this user do that? Node and RBAC authorization, access reviews, the bar to privilege escalation.

Promises: an answer is that of the RBAC objects as they are at the call; asking again costs a dict lookup. Knows nothing
of HTTP; only ``wherry.apiserver`` calls it.
"""
