"""Responses to queries about the cluster's own names."""

from ipaddress import ip_address

from dnslib import AAAA, CNAME, NS, PTR, QTYPE, RCODE, RR, SOA, SRV, TXT, A, DNSRecord

from wherry.dns.names import ClusterNames, Found, Record

TTL = 5
"""Seconds that clients may keep a record; endpoints come and go."""

_PRIORITY, _WEIGHT = 0, 100
_DATA = {"A": A, "AAAA": AAAA, "CNAME": CNAME, "NS": NS, "PTR": PTR, "TXT": TXT}


def labels_of(query: DNSRecord) -> list[str]:
    """Return the lower-case labels of the name that is asked for."""
    return [label.decode("ascii", "replace").lower() for label in query.q.qname.label]


def local_answer(query: DNSRecord, names: ClusterNames) -> DNSRecord | None:
    """Return the response to a query about the cluster's names, None when somebody else must answer it.

    An answer whose only record is a CNAME is for the caller to complete (`alias_of`).
    """
    labels = labels_of(query)
    if names.owns(labels):
        return _respond(query, names, names.lookup(labels))
    if (address := _reversed_address(labels)) is not None:
        records = names.reverse(address)
        if records:
            return _respond(query, names, Found(records))
    return None


def alias_of(response: DNSRecord) -> str | None:
    """Return the target of a response that is nothing but a CNAME which the client did not ask for."""
    if len(response.rr) == 1 and response.rr[0].rtype == QTYPE.CNAME and response.q.qtype != QTYPE.CNAME:
        return str(response.rr[0].rdata.label)
    return None


def _respond(query: DNSRecord, names: ClusterNames, found: Found | None) -> DNSRecord:
    response = query.reply(ra=1, aa=1)
    if found is None:
        response.header.rcode = RCODE.NXDOMAIN
        response.add_auth(_soa(names))
        return response
    wanted = QTYPE[query.q.qtype]
    if wanted == "SOA" and query.q.qname == names.domain:
        response.add_answer(_soa(names))
        return response
    name = query.q.qname
    records = [record for record in found.records if wanted in ("ANY", record.kind) or record.kind == "CNAME"]
    # All the targets of a name together weigh 100, as CoreDNS has it.
    weight = max(1, _WEIGHT // max(1, sum(record.kind == "SRV" for record in records)))
    for record in _rotated(records, query.header.id):
        response.add_answer(RR(name, getattr(QTYPE, record.kind), rdata=_data(record, weight), ttl=TTL))
    if wanted == "SRV":
        for target in found.targets:
            kind = "AAAA" if ":" in target.address else "A"
            response.add_ar(RR(target.name, getattr(QTYPE, kind), rdata=_DATA[kind](target.address), ttl=TTL))
    if not records:
        response.add_auth(_soa(names))
    return response


def _rotated(records: list[Record], by: int) -> list[Record]:
    """Let clients that take the first address spread over all of them."""
    if len(records) < 2:
        return records
    shift = by % len(records)
    return records[shift:] + records[:shift]


def _data(record: Record, weight: int) -> object:
    if record.kind == "SRV":
        return SRV(_PRIORITY, weight, record.port, record.value)
    return _DATA[record.kind](record.value)


def _soa(names: ClusterNames) -> RR:
    times = (1, 7200, 1800, 86400, TTL)  # the serial number says nothing: there are no secondaries
    return RR(
        names.domain, QTYPE.SOA, rdata=SOA(f"ns.dns.{names.domain}", f"hostmaster.{names.domain}", times), ttl=TTL
    )


def _reversed_address(labels: list[str]) -> str | None:
    if labels[-2:] == ["in-addr", "arpa"] and len(labels) == 6:
        text = ".".join(reversed(labels[:4]))
    elif labels[-2:] == ["ip6", "arpa"] and len(labels) == 34:
        digits = "".join(reversed(labels[:32]))
        text = ":".join(digits[at : at + 4] for at in range(0, 32, 4))
    else:
        return None
    try:
        return str(ip_address(text))
    except ValueError:
        return None
