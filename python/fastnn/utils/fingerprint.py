"""The hashes that TensorFlow's preprocessing uses, so that bins agree: FarmHash Fingerprint64 and SipHash-2-4.

Sources: FarmHash (Pike, Google 2014), the function farmhashna::Hash64; SipHash (Aumasson and Bernstein 2012).
"""
import struct

_M = 0xFFFFFFFFFFFFFFFF
_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def _u64(s, i):
    return int.from_bytes(s[i:i + 8], "little")


def _u32(s, i):
    return int.from_bytes(s[i:i + 4], "little")


def _right(v, n):
    """v rotated right."""
    return ((v >> n) | (v << (64 - n))) & _M


def _mix(v):
    return v ^ (v >> 47)


def _pair(u, v, mul):
    a = _mix(((u ^ v) * mul) & _M)
    return (_mix(((v ^ a) * mul) & _M) * mul) & _M


def fingerprint64(s):
    """FarmHash's 64-bit fingerprint of bytes, an int."""
    n = len(s)
    mul = (_K2 + 2 * n) & _M
    if n <= 16:
        return _short(s, n, mul)
    if n > 64:
        return _long(s, n)
    c, d = (_u64(s, n - 8) * mul) & _M, (_u64(s, n - 16) * _K2) & _M
    if n <= 32:
        a, b = (_u64(s, 0) * _K1) & _M, _u64(s, 8)
        return _pair((_right((a + b) & _M, 43) + _right(c, 30) + d) & _M, (a + _right((b + _K2) & _M, 18) + c) & _M, mul)
    a, b = (_u64(s, 0) * _K2) & _M, _u64(s, 8)
    y = (_right((a + b) & _M, 43) + _right(c, 30) + d) & _M
    z = _pair(y, (a + _right((b + _K2) & _M, 18) + c) & _M, mul)
    e, f = (_u64(s, 16) * mul) & _M, _u64(s, 24)
    g, h = ((y + _u64(s, n - 32)) * mul) & _M, ((z + _u64(s, n - 24)) * mul) & _M
    return _pair((_right((e + f) & _M, 43) + _right(g, 30) + h) & _M, (e + _right((f + a) & _M, 18) + g) & _M, mul)


def _short(s, n, mul):
    if n >= 8:
        a, b = (_u64(s, 0) + _K2) & _M, _u64(s, n - 8)
        return _pair((_right(b, 37) * mul + a) & _M, ((_right(a, 25) + b) * mul) & _M, mul)
    if n >= 4:
        return _pair((n + (_u32(s, 0) << 3)) & _M, _u32(s, n - 4), mul)
    if n > 0:
        y, z = s[0] + (s[n >> 1] << 8), n + (s[n - 1] << 2)
        return (_mix(((y * _K2) ^ (z * _K0)) & _M) * _K2) & _M
    return _K2


def _weak(s, i, a, b):
    w, x, y, z = (_u64(s, i + 8 * k) for k in range(4))
    a = (a + w) & _M
    b = _right((b + a + z) & _M, 21)
    c = a
    a = (a + x + y) & _M
    return (a + z) & _M, (b + _right(a, 44) + c) & _M


def _block(s, i, x, y, z, v, w, mul, last):
    """One block of 64 bytes."""
    x = (_right((x + y + v[0] + _u64(s, i + 8)) & _M, 37) * mul) & _M
    y = (_right((y + v[1] + _u64(s, i + 48)) & _M, 42) * mul) & _M
    times = 9 if last else 1
    x ^= (w[1] * times) & _M
    y = (y + v[0] * times + _u64(s, i + 40)) & _M
    z = (_right((z + w[0]) & _M, 33) * mul) & _M
    v = _weak(s, i, (v[1] * mul) & _M, (x + w[0]) & _M)
    w = _weak(s, i + 32, (z + w[1]) & _M, (y + _u64(s, i + 16)) & _M)
    return z, y, x, v, w


def _long(s, n):
    y = (81 * _K1 + 113) & _M
    z = (_mix((y * _K2 + 113) & _M) * _K2) & _M
    v = w = (0, 0)
    x = (81 * _K2 + _u64(s, 0)) & _M
    end = (n - 1) // 64 * 64
    for i in range(0, end, 64):
        x, y, z, v, w = _block(s, i, x, y, z, v, w, _K1, False)
    mul = (_K1 + ((z & 0xFF) << 1)) & _M
    w = ((w[0] + ((n - 1) & 63)) & _M, w[1])
    v = ((v[0] + w[0]) & _M, v[1])
    w = ((w[0] + v[0]) & _M, w[1])
    x, y, z, v, w = _block(s, n - 64, x, y, z, v, w, mul, True)
    return _pair((_pair(v[0], w[0], mul) + _mix(y) * _K0 + z) & _M, (_pair(v[1], w[1], mul) + x) & _M, mul)


def cat64(a, b):
    """The fingerprint of two fingerprints."""
    k = 0xC6A4A7935BD1E995
    r = a ^ k
    r ^= (_mix((b * k) & _M) * k) & _M
    r = (r * k) & _M
    return _mix((_mix(r) * k) & _M)


def siphash64(s, key):
    """SipHash-2-4 of bytes under a key of two 64-bit ints."""
    k0, k1 = key[0] & _M, key[1] & _M
    v = [0x736F6D6570736575 ^ k0, 0x646F72616E646F6D ^ k1, 0x6C7967656E657261 ^ k0, 0x7465646279746573 ^ k1]

    def left(x, n):
        return ((x << n) | (x >> (64 - n))) & _M

    def rounds(count):
        a, b, c, d = v
        for _ in range(count):
            a = (a + b) & _M
            c = (c + d) & _M
            b = left(b, 13) ^ a
            d = left(d, 16) ^ c
            a = left(a, 32)
            c = (c + b) & _M
            a = (a + d) & _M
            b = left(b, 17) ^ c
            d = left(d, 21) ^ a
            c = left(c, 32)
        v[:] = a, b, c, d

    n = len(s)
    padded = s[: n // 8 * 8] + s[n // 8 * 8:].ljust(7, b"\0") + bytes([n & 0xFF])
    for (m,) in struct.iter_unpack("<Q", padded):
        v[3] ^= m
        rounds(2)
        v[0] ^= m
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]
