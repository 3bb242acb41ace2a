"""float32 intrinsics in C that work on a scalar or on a vector of any width.

Each body is written once for a value type ``T`` and its integer type ``I``; vector extensions let
the same operators act on all lanes. Accuracy (checked in the tests): 2 units in the last place for
exp and log, 3 for tanh and sigmoid, 6 for erf, special values included.

Sources: exp, log and tanh follow the range reductions and minimax coefficients of Moshier's Cephes
library (expf.c, logf.c, tanhf.c); rounding by adding 1.5 * 2**23 is folklore; erf is the rational
approximation of Eigen's and XLA's float32 error function.
"""

from __future__ import annotations

from typing import Final

MATH: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "exp": (
        ("select", "bits", "real"),
        """\
  const T high = (T){0} + 89.0f, low = (T){0} - 104.0f, magic = (T){0} + 12582912.0f;
  x = SELECT(x > high, high, x);
  x = SELECT(x < low, low, x);
  T t = x * 1.44269504088896341f + magic;
  I n = BITS(t) - BITS(magic);
  t = t - magic;
  x = x - t * 0.693359375f;
  x = x - t * -2.12194440e-4f;
  T p = (T){0} + 1.9875691500e-4f;
  p = p * x + 1.3981999507e-3f;
  p = p * x + 8.3334519073e-3f;
  p = p * x + 4.1665795894e-2f;
  p = p * x + 1.6666665459e-1f;
  p = p * x + 5.0000001201e-1f;
  p = p * (x * x) + x + 1.0f;
  I half = n >> 1;
  return p * REAL((half + 127) << 23) * REAL((n - half + 127) << 23);
""",
    ),
    "log": (
        ("select", "bits", "real", "tofloat"),
        """\
  const T zero = (T){0}, tiny = (T){0} + 1.17549435e-38f, one = (T){0} + 1.0f;
  T y = SELECT(x < tiny, x * 8388608.0f, x);
  T e = TOFLOAT((BITS(y) >> 23) - 126) - SELECT(x < tiny, one * 23.0f, zero);
  T m = REAL((BITS(y) & 0x007fffff) | 0x3f000000);
  T small = SELECT(m < one * 0.707106781186547524f, one, zero);
  e = e - small;
  m = m + small * m - 1.0f;
  T z = m * m;
  T p = (T){0} + 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  p = p * m * z + e * -2.12194440e-4f;
  p = p - 0.5f * z;
  p = m + p + e * 0.693359375f;
  p = SELECT(x == x * 2.0f, x, p);
  p = SELECT(x == zero, zero - __builtin_inff(), p);
  return SELECT(x >= zero, p, zero + __builtin_nanf(""));
""",
    ),
    "tanh": (
        ("select", "abs", "exp"),
        """\
  const T one = (T){0} + 1.0f;
  T a = ABS(x);
  T z = x * x;
  T p = (T){0} - 5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  p = p * z * x + x;
  T q = one - 2.0f / (EXP(a + a) + 1.0f);
  q = SELECT(x < (T){0}, -q, q);
  return SELECT(a < one * 0.625f, p, q);
""",
    ),
    "sigmoid": (("exp",), "  return 1.0f / (1.0f + EXP(-x));\n"),
    "erf": (
        ("select",),
        """\
  const T high = (T){0} + 3.7439211627767994f;
  x = SELECT(x > high, high, x);
  x = SELECT(x < -high, -high, x);
  T z = x * x;
  T p = (T){0} + 0.00022905065861350646f;
  p = p * z + 0.0034082910107109506f;
  p = p * z + 0.050955695062380861f;
  p = p * z + 0.18520832239976145f;
  p = p * z + 1.128379143519084f;
  T q = (T){0} - 1.1791602954361697e-7f;
  q = q * z + 0.000023547966471313185f;
  q = q * z + 0.0010179625278914885f;
  q = q * z + 0.014070470171167667f;
  q = q * z + 0.11098505178285362f;
  q = q * z + 0.49746925110067538f;
  q = q * z + 1.0f;
  return x * p / q;
""",
    ),
}
"""By intrinsic: the helpers that its body calls (spelled in capitals there), and the body."""
