"""The API server: everything between a request and the store.

`server.ApiServer` puts it together over a `wherry.store.protocol.Store`. One request is one pass of `http.Frontend`:
parse (`requestinfo`, `query`) → authenticate (`authn`) → impersonate → authorize (`authz`) → flow limits (`flow`) →
handler (`dispatch`, `handlers/`, one file per verb: decode → default → admission → prepare → validate → write) → encode
(`negotiate`, `encode`, `table`). `inprocess` calls the same handlers without a socket.

Promises: an answer to a write is sent when the write is durable; a read sees every write that was answered before it;
objects handed out in process are shared and never changed; errors are Status objects in Kubernetes' words. Only
`wherry.cluster` may import this package.
"""
