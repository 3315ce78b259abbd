"""Tokens that are accepted, and more than a hundred that were made to be."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.identity import forge
from tests.unit.identity.forge import GONE, NOW, b64, resigned, signature, text, token

from portico.errors import TokenError
from portico.identity.jose import LARGEST
from portico.identity.tokens import KeySet, Verifier, issue, verify_key

VERIFIER = Verifier([KeySet(each) for each in forge.ISSUERS])
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256


def refused(attack: bytes, now: float = NOW) -> str:
    with pytest.raises(TokenError) as caught:
        VERIFIER.verify(attack, now)
    assert str(caught.value).startswith("the token")
    assert len(str(caught.value)) < 120
    return caught.value.code


# -- good ones

GOOD: dict[str, bytes] = {
    **{f"plain {name}": token(name) for name in forge.KINDS},
    "typ with its whole media type": token(header={"typ": "application/at+jwt"}),
    "typ in capitals": token(header={"typ": "AT+JWT"}),
    "unknown members of the header": token("RS256", header={"x5t": "abc", "nonce": 1}),
    "unknown claims": token(claims={"name": "Ada", "nested": {"a": [1, 2, {"b": None}]}}),
    "aud among others": token(claims={"aud": ["x", "portico"]}),
    "just not expired, with leeway": token(claims={"exp": NOW - 29}),
    "just valid, with leeway": token("RS256", claims={"nbf": NOW + 29, "iat": NOW + 29}),
    "no iat, no nbf": token("RS256", claims={"iat": GONE, "nbf": GONE}),
    "kid of a shared secret": token("HS256", header={"kid": "whatever"}),
    "no kid, one key that fits": token("ES256", header={"kid": GONE}),
    "no typ": token("HS256", header={"typ": GONE}),
    "no sid": token(claims={"sid": GONE}),
    "subject of another script": token(claims={"sub": "Ада"}),
    "8 KiB": token("HS256", claims={"pad": "x" * 5800}),
    "roles as text": token("RS256", claims={"realm": {"roles": "analyst editor"}}),
    "no roles": token("RS256", claims={"realm": None}),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_ones_are_accepted(name: str) -> None:
    assert VERIFIER.verify(GOOD[name], NOW).subject


def test_what_a_token_of_ours_says() -> None:
    claims = VERIFIER.verify(token(), NOW)
    assert (claims.issuer, claims.own, claims.principal, claims.session) == ("portico", True, "person-1", "session-1")
    assert (claims.roles, claims.permissions, claims.tenant) == (("admin",), ("extra:thing",), "acme")
    assert (claims.issued, claims.expires) == (NOW - 10, NOW + 600)


def test_what_somebody_else_s_token_says() -> None:
    claims = VERIFIER.verify(token("RS256", claims={"sid": "x", "permissions": ["*"], "roles": ["admin"]}), NOW)
    assert (claims.own, claims.principal, claims.session, claims.tenant) == (False, "corp:ada", "", "blue")
    assert (claims.roles, claims.permissions) == (("user", "analyst"), ())  # no claim but those that were named counts


def test_a_claim_s_name_may_have_dots() -> None:
    keys = KeySet({**forge.ISSUERS[2], "roles_claim": "https://a.example/roles"})
    claims = Verifier([keys]).verify(token("HS256", claims={"https://a.example/roles": ["x"]}), NOW)
    assert claims.roles == ("user", "x")


def test_an_issuer_without_a_name_of_its_own_takes_any_iss() -> None:
    keys = KeySet({**forge.ISSUERS[2], "issuer": ""})
    assert Verifier([keys]).verify(token("HS256", claims={"iss": GONE}), NOW).principal == "base:bob"
    assert Verifier([keys]).verify(token("HS256", claims={"iss": forge.OWN}), NOW).principal == "base:bob"


@pytest.mark.parametrize("key", [forge.ED_PRIVATE, forge.oct_jwk(forge.SECRET, kid="own-2", alg="HS256")])
def test_ours_are_issued_and_read_back(key: dict[str, Any]) -> None:
    made = issue(forge.own_claims(), key)
    assert jwt.get_unverified_header(made) == {"alg": key["alg"], "kid": key["kid"], "typ": "at+jwt"}
    keys = KeySet({**forge.ISSUERS[0], "algorithms": [key["alg"]], "keys": [key]})
    assert Verifier([keys]).verify(made.encode(), NOW).principal == "person-1"


def test_keys_may_be_of_any_length_and_algorithm_that_is_allowed() -> None:
    for name in ("HS384", "HS512"):
        secret = bytes(64)
        made = jwt.encode(forge.base_claims(), secret, name).encode()
        keys = KeySet({**forge.ISSUERS[2], "algorithms": [name], "keys": [forge.oct_jwk(secret)]})
        assert Verifier([keys]).verify(made, NOW).subject == "bob"
        keys = KeySet({**forge.ISSUERS[2], "algorithms": [name], "keys": [forge.oct_jwk(bytes(32))]})
        assert keys.keys == []  # too short for it


# -- attacks: name → (token, code)

Attacks = dict[str, tuple[bytes, str]]
HEAD, CLAIMS, SIGNATURE = token().split(b".")
MALFORMED, HEADER, ALGORITHM = "token_malformed", "token_header", "token_algorithm"
WRONG, UNKNOWN_KEY, BAD_CLAIMS = "token_signature", "token_unknown_key", "token_claims"


def unsigned(alg: Any, **more: Any) -> bytes:
    header = text({**forge.KINDS["EdDSA"][0], "alg": alg, **more})
    return b64(header) + b"." + CLAIMS + b"."


NONE: Attacks = {
    f"alg {alg!r} without a signature": (unsigned(alg), MALFORMED)
    for alg in ("none", "None", "NONE", "nOnE", "", "none ", "\tnone")
} | {
    f"alg {alg!r} with a signature": (unsigned(alg) + SIGNATURE, ALGORITHM)
    for alg in ("none", "None", "NONE", "nOnE", "", "none ", "non\u0435", "HS256\x00", "eddsa", "EDDSA", "Ed25519")
} | {
    f"alg {json.dumps(alg)}": (unsigned(alg) + SIGNATURE, ALGORITHM)
    for alg in (None, 0, True, ["EdDSA"], {"EdDSA": 1})
} | {
    "no alg": (token(header={"alg": GONE}), ALGORITHM),
}  # fmt: skip

CONFUSION: Attacks = {
    **{
        f"HS256 with the {form} as secret": (
            token("RS256", header={"alg": "HS256"}, key=secret, sign="HS256"), ALGORITHM,
        )
        for form, secret in {
            "RSA public key's PEM": forge.RSA_PEM,
            "RSA public key's PEM without its last line end": forge.RSA_PEM.strip(),
            "RSA public key's DER": forge.RSA_DER,
            "RSA key's JWK": text(forge.RSA_JWK),
            "RSA modulus": forge.RSA_JWK["n"].encode(),
            "EC public point": forge.EC_POINT,
        }.items()
    },
    "HS256 with our Ed25519 public key as secret": (
        token(header={"alg": "HS256"}, key=forge.ED_RAW, sign="HS256"), ALGORITHM,
    ),
    "HS256 with our Ed25519 public JWK as secret": (
        token(header={"alg": "HS256"}, key=forge.ED_JWK["x"].encode(), sign="HS256"), ALGORITHM,
    ),
    "HS256 with another issuer's secret": (token(header={"alg": "HS256"}, sign="HS256"), ALGORITHM),
    "RS256 where EdDSA is pinned": (token(header={"alg": "RS256", "kid": "rsa-1"}, sign="RS256"), ALGORITHM),
    "RS384 where RS256 is pinned": (token("RS256", header={"alg": "RS384"}), ALGORITHM),
    "HS512 where HS256 is pinned": (token("HS256", header={"alg": "HS512"}), ALGORITHM),
    "ES256K": (token("ES256", header={"alg": "ES256K"}), ALGORITHM),
    "RS256 said, PS256 made": (token("RS256", sign="PS256"), WRONG),
    "PS256 said, RS256 made": (token("PS256", sign="RS256"), WRONG),
    "RS256 with the kid of an EC key": (token("RS256", header={"kid": "ec-1"}), UNKNOWN_KEY),
    "ES256 with the kid of an RSA key": (token("ES256", header={"kid": "rsa-1"}), UNKNOWN_KEY),
    "our claims, signed by another issuer's key": (
        token("RS256", raw_claims=text(forge.own_claims())), ALGORITHM,
    ),
    "another issuer's claims, signed by our key": (
        token(header={"alg": "EdDSA"}, raw_claims=text(forge.corp_claims())), ALGORITHM,
    ),
    "signed by a stranger with a known kid": (token(key=forge.OTHER_ED), WRONG),
    "RSA, signed by a stranger with a known kid": (token("RS256", key=forge.OTHER_RSA), WRONG),
}  # fmt: skip

OWN_JWK = {"jwk": json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(forge.OTHER_ED.public_key()))}
BROUGHT: Attacks = {
    f"header with {name}": (token(header=more, key=forge.OTHER_ED if "jwk" in more else None), HEADER)
    for name, more in {
        "an embedded jwk": OWN_JWK,
        "an embedded jwk and no kid": {**OWN_JWK, "kid": GONE},
        "an empty jwk": {"jwk": {}},
        "jwk null": {"jwk": None},
        "jku": {"jku": "https://evil.example/jwks.json"},
        "jku of ours": {"jku": forge.OWN + "/jwks.json"},
        "x5u": {"x5u": "https://evil.example/cert.pem"},
        "x5c": {"x5c": ["MIIB"]},
        "crit": {"crit": ["exp"]},
        "crit empty": {"crit": []},
        "crit of b64": {"crit": ["b64"], "b64": False},
        "b64 false": {"b64": False},
        "b64 true": {"b64": True},
        "cty JWT": {"cty": "JWT"},
        "cty jwt": {"cty": "jwt"},
        "zip": {"zip": "DEF"},
        "enc": {"enc": "A256GCM"},
        "p2c": {"p2c": 2**31},
        "epk": {"epk": {}},
        "typ of a logout token": {"typ": "logout+jwt"},
        "typ of an ID token's relative": {"typ": "secevent+jwt"},
        "typ dpop+jwt": {"typ": "dpop+jwt"},
        "typ JOSE": {"typ": "JOSE"},
        "typ empty": {"typ": ""},
        "typ null": {"typ": None},
        "typ a list": {"typ": ["at+jwt"]},
        "typ JWT, as no token of ours has": {"typ": "JWT"},
        "no typ, as no token of ours has": {"typ": GONE},
        "kid null": {"kid": None},
        "kid a number": {"kid": 1},
        "kid a list": {"kid": ["own-1"]},
        "kid an object": {"kid": {"own-1": 1}},
        "kid empty": {"kid": ""},
        "kid with NUL": {"kid": "own-1\x00"},
        "kid with a line end": {"kid": "own-1\r\nX: y"},
        "kid very long": {"kid": "own-1" * 100},
        "kid with a lone surrogate": {"kid": "own-1\ud800"},
    }.items()
}  # fmt: skip

KIDS: Attacks = {
    f"kid {kid}": (token(header={"kid": kid}), UNKNOWN_KEY)
    for kid in (
        "../../../../dev/null", "/dev/null", "' OR 1=1 --", "own-1' UNION SELECT 'x", "own-1|id", "$(id)", "OWN-1",
        "own-1 ", " own-1", "own", "own-10", "rsa-1", "https://evil.example/key", "file:///etc/passwd", "*", "%6fwn-1",
    )
}  # fmt: skip

FORM: Attacks = {
    name: (attack, MALFORMED)
    for name, attack in {
        "empty": b"",
        "one part": HEAD,
        "two parts": HEAD + b"." + CLAIMS,
        "no signature": HEAD + b"." + CLAIMS + b".",
        "no header": b"." + CLAIMS + b"." + SIGNATURE,
        "no claims": HEAD + b".." + SIGNATURE,
        "dots only": b"..",
        "four parts": token() + b".x",
        "five parts, as JWE": b".".join([HEAD] * 5),
        "JSON serialisation": text({"payload": CLAIMS.decode(), "protected": HEAD.decode()}),
        "padded header": HEAD + b"=." + CLAIMS + b"." + SIGNATURE,
        "padded signature": token() + b"==",
        "a blank at the end": token() + b" ",
        "a blank at the beginning": b" " + token(),
        "a line end at the end": token() + b"\n",
        "a NUL at the end": token() + b"\x00",
        "a tab inside": token().replace(b".", b"\t.", 1),
        "standard base64 in the signature": HEAD + b"." + CLAIMS + b"." + SIGNATURE[:-2] + b"+/",
        "bytes that are no ASCII": token() + b"\xff",
        "spare bits in the signature": HEAD + b"." + CLAIMS + b"." + SIGNATURE[:-1] + bytes([SIGNATURE[-1] + 1]),
        "a part of an impossible length": HEAD + b"." + CLAIMS + b"." + SIGNATURE[:1],
        "too large": token("HS256", claims={"pad": "x" * LARGEST}),
        "a megabyte": b"a" * 2**20,
        "many dots": b"." * 5000,
        "the header twice": HEAD + b"." + HEAD + b"." + CLAIMS + b"." + SIGNATURE,
        "claims nested deeply": token(raw_claims=b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"),
        "header nested deeply": token(raw_header=b'{"alg":"EdDSA","a":' + b'{"a":' * 800 + b"1" + b"}" * 801),
        "claims as a list": token(raw_claims=b"[]"),
        "claims as text": token(raw_claims=b'"x"'),
        "claims null": token(raw_claims=b"null"),
        "claims that are no JSON": token(raw_claims=b"{'sub': 'x'}"),
        "claims with bytes that are no UTF-8": token(raw_claims=b'{"sub":"\xff"}'),
        "claims with a byte order mark": token(raw_claims=b"\xef\xbb\xbf" + text(forge.own_claims())),
        "claims in UTF-16": token(raw_claims=text(forge.own_claims()).decode().encode("utf-16")),
        "claims with something after": token(raw_claims=text(forge.own_claims()) + b"{}"),
        "claims with a comment": token(raw_claims=b"/**/" + text(forge.own_claims())),
        "claims with NaN": token(raw_claims=text(forge.own_claims())[:-1] + b',"nbf":NaN}'),
        "claims with Infinity": token(raw_claims=text(forge.own_claims())[:-1] + b',"nbf":Infinity}'),
        "claims with a control character": token(raw_claims=b'{"sub":"a\nb"}'),
        "a number of ten thousand digits": token(raw_claims=b'{"exp":' + b"9" * 5900 + b"}"),
        "sub twice": token(raw_claims=text(forge.own_claims())[:-1] + b',"sub":"root"}'),
        "exp twice": token(raw_claims=text(forge.own_claims())[:-1] + b',"exp":9999999999}'),
        "alg twice": token(raw_header=b'{"alg":"EdDSA","typ":"at+jwt","kid":"own-1","alg":"none"}'),
        "kid twice": token(raw_header=b'{"alg":"EdDSA","typ":"at+jwt","kid":"x","kid":"own-1"}'),
        "a member twice, far inside": token(raw_claims=text(forge.own_claims())[:-1] + b',"a":{"b":1,"b":2}}'),
        "header as a list": token(raw_header=b'["alg","EdDSA"]'),
        "header empty text": token(raw_header=b""),
    }.items()
}  # fmt: skip

SIGNED = token("ES256")
RS = token("RS256")
MADE = signature("EdDSA", HEAD + b"." + CLAIMS)
ES_DER = forge.EC_KEY.sign(SIGNED.rpartition(b".")[0], ec.ECDSA(hashes.SHA256()))
SIGNATURES: Attacks = {
    "signature of zeros": (resigned(token(), bytes(64)), WRONG),
    "signature cut short": (resigned(token(), bytes(63)), WRONG),
    "signature too long": (resigned(token(), bytes(65)), WRONG),
    "signature of one byte": (resigned(token(), b"x"), WRONG),
    "one bit of the signature": (resigned(token(), bytes([MADE[0] ^ 1]) + MADE[1:]), WRONG),
    "Ed25519 with S above the order": (resigned(token(), bytes(32) + b"\xff" * 32), WRONG),
    "ES256 r = s = 0": (resigned(SIGNED, bytes(64)), WRONG),
    "ES256 r = 0": (resigned(SIGNED, bytes(32) + (1).to_bytes(32, "big")), WRONG),
    "ES256 s = 0": (resigned(SIGNED, (1).to_bytes(32, "big") + bytes(32)), WRONG),
    "ES256 r = s = n": (resigned(SIGNED, ORDER.to_bytes(32, "big") * 2), WRONG),
    "ES256 r = s = all ones": (resigned(SIGNED, b"\xff" * 64), WRONG),
    "ES256 r = s = 1": (resigned(SIGNED, (1).to_bytes(32, "big") * 2), WRONG),
    "ES256 as DER": (resigned(SIGNED, ES_DER), WRONG),
    "ES256 of 63 bytes": (resigned(SIGNED, bytes(63)), WRONG),
    "ES256 of 96 bytes": (resigned(SIGNED, bytes(96)), WRONG),
    "RS256 of zeros": (resigned(RS, bytes(256)), WRONG),
    "RS256 too short": (resigned(RS, bytes(255)), WRONG),
    "RS256 too long": (resigned(RS, bytes(257)), WRONG),
    "RS256 of ones": (resigned(RS, b"\xff" * 256), WRONG),
    "HS256 cut short": (resigned(token("HS256"), signature("HS256", b"x")[:16]), WRONG),
    "HS256 with an empty secret": (token("HS256", key=b"\x00"), WRONG),
    "HS256 with a NUL after the secret": (token("HS256", key=forge.SECRET + b"\x00x"), WRONG),
    "claims changed afterwards": (HEAD + b"." + b64(text(forge.own_claims(sub="root"))) + b"." + SIGNATURE, WRONG),
    "header changed afterwards": (
        b64(text({**forge.KINDS["EdDSA"][0], "x": 1})) + b"." + CLAIMS + b"." + SIGNATURE, WRONG,
    ),
    "another token's signature": (HEAD + b"." + CLAIMS + b"." + token(claims={"sub": "x"}).split(b".")[2], WRONG),
}  # fmt: skip

SAYS: Attacks = {
    f"{name} = {json.dumps(value) if value is not GONE else 'left out'}": (token(claims={name: value}), code)
    for name, values, code in (
        ("exp", (GONE, None, "9999999999", True, 1e10, 1.5, -1, [NOW + 600], {}, 2**64), BAD_CLAIMS),
        ("nbf", (None, "0", False, 0.5, -1, [], 2**64), BAD_CLAIMS),
        ("iat", (None, str(NOW), True, NOW + 0.5, -5, {}, 2**64), BAD_CLAIMS),
        ("sub", (GONE, None, "", 7, True, ["person-1"], {"id": 1}, "x" * 256, "a\x00b", "a\nb"), BAD_CLAIMS),
        ("sub", ("\ud800", "\u202eadmin"), BAD_CLAIMS),
        ("aud", (GONE, None, "", "Portico", "portico ", "other", [], ["other"], "portico,other"), "token_audience"),
        ("aud", (7, {"portico": 1}, [[]], [7], ["portico"] * 101), BAD_CLAIMS),
        ("sid", (7, None, [], "x" * 256, "a\nb"), BAD_CLAIMS),
        ("tenant", (7, None, "", "a b", "../x", "x" * 65, ["acme"], "a\n"), BAD_CLAIMS),
        ("roles", ("admin", None, [1], [["admin"]], {"admin": 1}, [""], ["a\n"], ["x"] * 101), BAD_CLAIMS),
        ("permissions", ("*", None, [1], {"*": 1}, [""], ["x"] * 101), BAD_CLAIMS),
        ("exp", (0, 1, NOW - 30, NOW - 3600), "token_expired"),
        ("nbf", (NOW + 31, NOW + 10**6), "token_not_yet"),
        ("iat", (NOW + 31, NOW + 10**6), "token_not_yet"),
        ("iss", (GONE, None, "", "portico", forge.OWN + "/", forge.OWN.upper(), "https://evil.example", 7,
                 [forge.OWN], {"a": 1}, True), "token_unknown_issuer"),
    )
    for value in values
} | {
    "corp: no tenant where a claim tells it": (token("RS256", claims={"org": GONE}), BAD_CLAIMS),
    "corp: the operator's own tenant": (token("RS256", claims={"org": "default"}), BAD_CLAIMS),
    "corp: a tenant that is no name": (token("RS256", claims={"org": "a/b"}), BAD_CLAIMS),
    "corp: roles a number": (token("RS256", claims={"realm": {"roles": 7}}), BAD_CLAIMS),
    "corp: for someone else": (token("RS256", claims={"aud": "other"}), "token_audience"),
    "corp: expired": (token("RS256", claims={"exp": NOW - 31}), "token_expired"),
}  # fmt: skip

ATTACKS: Attacks = {**NONE, **CONFUSION, **BROUGHT, **KIDS, **FORM, **SIGNATURES, **SAYS}


def test_there_are_enough_of_them() -> None:
    assert len(ATTACKS) >= 200


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused(name: str) -> None:
    attack, code = ATTACKS[name]
    assert refused(attack) == code


def test_without_a_kid_one_of_several_keys_is_not_guessed() -> None:
    keys = KeySet({**forge.ISSUERS[1], "keys": [forge.RSA_JWK, forge.rsa_jwk(forge.OTHER_RSA, "rsa-2")]})
    with pytest.raises(TokenError) as caught:
        Verifier([keys]).verify(token("RS256", header={"kid": GONE}), NOW)
    assert caught.value.code == UNKNOWN_KEY
    assert caught.value.issuer == "corp"


def test_of_two_issuers_with_one_iss_either_may_have_signed() -> None:
    other = {**forge.ISSUERS[1], "name": "corp2", "audience": "second"}
    both = Verifier([KeySet(forge.ISSUERS[1]), KeySet(other)])
    assert both.verify(token("RS256", claims={"aud": "second"}), NOW).issuer == "corp2"
    with pytest.raises(TokenError) as caught:
        both.verify(token("RS256", claims={"aud": "third"}), NOW)
    assert caught.value.code == "token_audience"


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"alg": "RS512"},
        {"kty": "EC"},
        {"n": "AQAB"},
        {"n": 7},
        {"e": None},
        {"kty": "oct", "k": "AAAA"},
    ],
)
def test_keys_that_are_not_for_this_are_left_out(change: dict[str, Any]) -> None:
    assert verify_key({**forge.RSA_JWK, **change}, frozenset(["RS256"])) is None


@pytest.mark.parametrize("jwk", [None, 7, "x", [], {}, {"kty": "oct"}, {"kty": "OKP", "crv": "X25519", "x": "AA"}])
def test_what_is_no_key_is_left_out(jwk: Any) -> None:
    assert verify_key(jwk, frozenset(["RS256", "ES256", "EdDSA", "HS256"])) is None


def test_a_short_rsa_key_is_left_out() -> None:
    short = forge.rsa_jwk(rsa.generate_private_key(65537, 1024), "short")
    assert verify_key(short, frozenset(["RS256", "PS256"])) is None


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(TokenError):
        VERIFIER.verify(data, NOW)


@given(st.sampled_from(list(forge.KINDS)), st.integers(0, 10_000), st.integers(0, 7))
def test_no_bit_can_be_changed(kind: str, at: int, bit: int) -> None:
    good = token(kind)
    forged = bytearray(good)
    forged[at % len(good)] ^= 1 << bit
    with pytest.raises(TokenError):
        VERIFIER.verify(bytes(forged), NOW)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = ["iss", "aud", "sub", "sid", "exp", "nbf", "iat", "roles", "permissions", "tenant", "jti"]


@given(st.dictionaries(st.sampled_from(MEMBERS), json_values, max_size=4))
def test_claims_of_any_kind_are_accepted_or_refused_but_nothing_else(more: dict[str, Any]) -> None:
    try:
        claims = VERIFIER.verify(token(claims=more), NOW)
    except TokenError:
        return
    assert claims.subject.isprintable()
    assert claims.expires + claims.leeway > NOW
