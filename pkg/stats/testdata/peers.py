"""Makes the columns of peers.json and asks evidently or NannyML about them.

    python peers.py columns   > columns.json     # numpy only
    python peers.py evidently < columns.json > evidently.json
    python peers.py nannyml   < columns.json > nannyml.json
    python peers.py merge columns.json evidently.json nannyml.json > peers.json

Written for evidently 0.7.23 and NannyML 0.13.1, with numpy 2.4, pandas 2.3 and scipy 1.17.
"""

import json
import math
import sys


def columns():
    import numpy as np

    g = np.random.default_rng(20261123)
    r = lambda a, digits=6: [round(float(x), digits) for x in a]
    whole = lambda a: [int(x) for x in a]
    names = lambda a: [str(x) for x in a]
    cases = [
        ("normal", r(g.normal(0, 1, 300)), r(g.normal(0.3, 1.2, 200))),
        ("normal null", r(g.normal(5, 2, 400)), r(g.normal(5, 2, 90))),
        ("tiny", r(g.normal(0, 1, 7)), r(g.normal(1, 1, 9))),
        ("large reference", r(g.lognormal(0, 1, 1400)), r(g.lognormal(0.1, 1, 350))),
        ("outlier", r(g.normal(0, 1, 300)), r(g.normal(1, 1, 300)) + [1e6]),
        ("zero-inflated", r(g.exponential(3, 250) * (g.random(250) < 0.4)), r(g.exponential(3, 260) * (g.random(260) < 0.6))),
        ("integers", whole(g.poisson(40, 900)), whole(g.poisson(43, 800))),
        ("few integers", whole(g.integers(1, 7, 120)), whole(g.integers(2, 8, 130))),
        ("binary", whole(g.random(500) < 0.03), whole(g.random(400) < 0.07)),
        ("binary, large reference", whole(g.random(1200) < 0.03), whole(g.random(400) < 0.09)),
        ("three numbers", whole(g.integers(0, 3, 150)), whole(g.integers(0, 3, 90))),
        ("constant", [4.5] * 50, [4.5] * 30),
        ("constant moved", [4.5] * 50, [4.25] * 30),
        ("rare cells", r(g.normal(0, 1, 1300)) + [60.0], r(g.normal(0, 1, 1300)) + [-70.0]),
        ("no overlap", r(g.uniform(0, 1, 60)), r(g.uniform(2, 3, 40))),
        ("colours", names(g.choice(["red", "green", "blue"], 300, p=[0.2, 0.3, 0.5])), names(g.choice(["red", "green", "blue"], 200, p=[0.3, 0.3, 0.4]))),
        ("new category", names(g.choice(["a", "b"], 200)), names(g.choice(["a", "b", "c"], 210, p=[0.45, 0.45, 0.1]))),
        ("two categories", names(g.choice(["n", "y"], 150, p=[0.7, 0.3])), names(g.choice(["n", "y"], 170, p=[0.6, 0.4]))),
        ("rare category", ["x"] * 11999 + ["y"], ["x"] * 500 + ["z"] * 2),
    ]
    out = [{"name": n, "ref": a, "cur": b} for n, a, b in cases]
    # Too long to be written out: value i is (i*mul mod mod)/div + add.
    for name, ref, cur in [
        ("both exact", dict(n=9999, mul=7919, mod=10007, div=37, add=0), dict(n=6000, mul=7919, mod=10007, div=37, add=1.5)),
        ("asymptotic", dict(n=12000, mul=7919, mod=10007, div=37, add=0), dict(n=9000, mul=104729, mod=10007, div=37, add=2.25)),
        ("asymptotic null", dict(n=12000, mul=7919, mod=10007, div=37, add=0), dict(n=9000, mul=104729, mod=9973, div=36.9, add=0)),
        ("few against many", dict(n=20000, mul=7919, mod=10007, div=37, add=0), dict(n=64, mul=104729, mod=10007, div=37, add=11)),
        ("hundreds against many", dict(n=20000, mul=7919, mod=10007, div=37, add=0), dict(n=700, mul=104729, mod=10007, div=37, add=6)),
    ]:
        out.append({"name": name, "ref_formula": ref, "cur_formula": cur})
    return out


def side(case, name):
    if name in case:
        return case[name]
    f = case[name + "_formula"]
    return [(i * f["mul"]) % f["mod"] / f["div"] + f["add"] for i in range(f["n"])]


def number(x):
    x = float(x)
    return None if math.isnan(x) else x


def evidently(case):
    import pandas as pd
    from evidently.legacy.calculations import stattests as s
    from evidently.legacy.core import ColumnType

    ref, cur = pd.Series(side(case, "ref")), pd.Series(side(case, "cur"))
    kind = ColumnType.Categorical if isinstance(side(case, "ref")[0], str) else ColumnType.Numerical
    score = lambda test: number(test(ref, cur, kind, None).drift_score)
    default = s.get_stattest(ref, cur, kind, None)
    decided = default(ref, cur, kind, None)
    out = {"psi": score(s.psi_stat_test), "js": score(s.jensenshannon_stat_test),
           "method": default.name, "score": number(decided.drift_score),
           "threshold": decided.actual_threshold, "drift": bool(decided.drifted)}
    if kind == ColumnType.Numerical:
        out |= {"ks_p": score(s.ks_stat_test), "wasserstein": score(s.wasserstein_stat_test)}
    return out


def nannyml(case):
    import pandas as pd
    from nannyml.drift.univariate.calculator import DEFAULT_THRESHOLDS
    from nannyml.drift.univariate.methods import FeatureType, MethodFactory
    from nannyml.chunk import SizeBasedChunker

    ref, cur = pd.Series(side(case, "ref"), name="x"), pd.Series(side(case, "cur"), name="x")
    kind = FeatureType.CATEGORICAL if isinstance(side(case, "ref")[0], str) else FeatureType.CONTINUOUS

    def fitted(key):
        m = MethodFactory.create(key, kind, chunker=SizeBasedChunker(max(1, len(ref) // 2)), threshold=DEFAULT_THRESHOLDS[key])
        return m.fit(ref)

    out = {"js": number(fitted("jensen_shannon").calculate(cur))}
    if kind == FeatureType.CONTINUOUS:
        out["ks"] = number(fitted("kolmogorov_smirnov").calculate(cur))
    return out


def main():
    what = sys.argv[1]
    if what == "columns":
        json.dump(columns(), sys.stdout)
    elif what == "merge":
        cases, ev, nm = (json.load(open(p)) for p in sys.argv[2:5])
        for case, e, n in zip(cases, ev, nm, strict=True):
            case["evidently"], case["nannyml"] = e, n
        print("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]")
    else:
        ask = {"evidently": evidently, "nannyml": nannyml}[what]
        json.dump([ask(c) for c in json.load(sys.stdin)], sys.stdout)


main()
