"""What schemathesis must know: how lines of text and networks look. And each request has an address of its own."""

import ipaddress
import secrets

import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.format("text-line", st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=60))
schemathesis.openapi.format(
    "plain-text", st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=200)
)
schemathesis.openapi.format("network", st.ip_addresses().map(str))


@schemathesis.hook
def before_call(context, case, kwargs):
    # Wrong credentials and logins are slowed down by address, and this sends many. (`random` would be seeded.)
    case.headers["X-Forwarded-For"] = str(ipaddress.IPv4Address(0x0A000000 + secrets.randbelow(1 << 24)))
