"""Authentication: who asks? Client certificates, static and bootstrap tokens, service accounts, OpenID Connect.

Promises: a credential that was verified is not verified again until what it depends on changed; a token whose account,
pod, secret or node is gone is refused at the next request. Keeps no token in clear. Only ``wherry.apiserver`` calls it.
"""
