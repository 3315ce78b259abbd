"""X.509 certificates (RFC 5280): who a certificate says it belongs to, read from its DER form.

Only what logs and policies ask for is read; whether the certificate is to be believed is TLS's business, not ours.
"""

from __future__ import annotations

import calendar
import ipaddress
import json
import re
from hashlib import sha256
from ssl import PEM_cert_to_DER_cert
from typing import Final

from portico.identity.der import Der, DerError, object_identifier, parse

ATTRIBUTES: Final = {  # RFC 4514 section 3, and the e-mail address that older certificates carry
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
    "1.2.840.113549.1.9.1": "emailAddress",
}
COMMON_NAME: Final = "CN"
ALTERNATIVE_NAME: Final = "2.5.29.17"
KINDS: Final = {0x81: "email", 0x82: "DNS", 0x86: "URI"}  # GeneralName, RFC 5280 4.2.1.6
ADDRESS: Final = 0x87
EXTENSIONS: Final = 0xA3
VERSION: Final = 0xA0
UTF16: Final = 0x1E
UTC_TIME: Final = 0x17
PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Certificate:
    """What a certificate says.

    `subject` as RFC 4514 writes it, `names` its alternative names ("DNS:example.org", "IP:192.0.2.1", "URI:…",
    "email:…"), `fingerprint` the SHA-256 of its DER form in hex, `expires` seconds since 1970, `log_entry` subject and
    fingerprint as a JSON object.
    """

    def __init__(
        self, subject: str, names: tuple[str, ...], fingerprint: str, expires: float, common_name: str = ""
    ) -> None:
        self.subject = subject
        self.names = names
        self.fingerprint = fingerprint
        self.expires = expires
        self.common_name = common_name
        self.log_entry = json.dumps({"subject": subject, "fingerprint": fingerprint}).encode()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names it is for, in lower case; the common name only when there are no alternative names."""
        hosts = [name[4:].lower() for name in self.names if name.startswith("DNS:")]
        return tuple(hosts) if self.names else tuple([self.common_name.lower()] if self.common_name else [])


def read_pem(text: str) -> Certificate:
    """The first certificate of a PEM text; ValueError when there is none, or it can't be read."""
    found = PEM.search(text)
    if found is None:
        raise ValueError("holds no certificate in PEM form")
    return read_der(PEM_cert_to_DER_cert(found[0]))


def read_der(der: bytes) -> Certificate:
    """A certificate in DER form; ValueError when it can't be read."""
    try:
        parts = parse(der).children()[0].children()
        if parts[0].tag == VERSION:
            parts = parts[1:]
        subject = attributes(parts[4])
        return Certificate(
            ",".join(f"{kind}={escape(value)}" for kind, value in reversed(subject)),
            tuple(alternative_names(parts[5:])),
            sha256(der).hexdigest(),
            moment(parts[3].children()[1]),
            next((value for kind, value in subject if kind == COMMON_NAME), ""),
        )
    except (DerError, IndexError, ValueError) as error:
        raise ValueError(f"holds a certificate that can't be read: {error}") from None


def attributes(name: Der) -> list[tuple[str, str]]:
    """A distinguished name's attributes in the certificate's order: short name (or OID) and value."""
    found = []
    for relative in name.children():
        for pair in relative.children():
            kind, value = pair.children()[:2]
            identifier = object_identifier(kind.content)
            found.append((ATTRIBUTES.get(identifier, identifier), string(value)))
    return found


def alternative_names(parts: list[Der]) -> list[str]:
    """The subject's alternative names, from what follows the subject in a TBSCertificate."""
    names: list[str] = []
    for part in parts:
        if part.tag != EXTENSIONS:
            continue
        for extension in part.children()[0].children():
            fields = extension.children()
            if object_identifier(fields[0].content) == ALTERNATIVE_NAME:
                names += [general_name(each) for each in parse(fields[-1].content).children()]
    return [name for name in names if name]


def general_name(name: Der) -> str:
    """One alternative name; empty for kinds that nobody asks for."""
    kind = KINDS.get(name.tag)
    if kind is not None:
        return f"{kind}:{name.content.decode('ascii', 'backslashreplace')}"
    if name.tag == ADDRESS:
        return f"IP:{ipaddress.ip_address(name.content)}"
    return ""


def string(value: Der) -> str:
    """A DirectoryString as text."""
    if value.tag == UTF16:
        return value.content.decode("utf-16-be", "backslashreplace")
    return value.content.decode("utf-8", "backslashreplace")


def moment(value: Der) -> float:
    """A UTCTime or GeneralizedTime (RFC 5280 4.1.2.5) as seconds since 1970."""
    digits = value.content.decode("ascii").removesuffix("Z")
    if value.tag == UTC_TIME:
        digits = ("19" if digits >= "50" else "20") + digits
    year, rest = int(digits[:4]), [int(digits[at : at + 2]) for at in range(4, 14, 2)]
    return float(calendar.timegm((year, *rest)))


def escape(value: str) -> str:
    """An attribute's value for RFC 4514 text."""
    text = re.sub(r'([",+;<>\\])', r"\\\1", value).replace("\x00", "\\00")
    if text[:1] in ("#", " "):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and len(text) > 1 else text
