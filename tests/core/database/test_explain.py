from __future__ import annotations

from dataclasses import replace

from metasched.database import MemoryDatabase, Workload
from metasched.database.explain import Explanation
from metasched.ops import matmul
from metasched.target import Target
from metasched.testing.database_records import make_record, make_target

PROGRAM = matmul(m=8, n=16, k=24)
OURS = Workload.from_program(PROGRAM)


def explain(*records, program=PROGRAM, **target: object) -> Explanation:
    with MemoryDatabase() as database:
        database.put_many(records)
        return database.explain(program, make_target(**target))


def part(found: Explanation, name: str) -> tuple[str, str, str]:
    (one,) = [p for p in found.parts if p.name == name]
    return one.asked, one.found, one.verdict


def test_a_hit_says_why_this_record() -> None:
    found = explain(*(make_record(index, workload=OURS) for index in (4, 1, 2)))
    assert found.is_hit
    assert found.summary == "hit: candidate program-1 of 'matmul'"
    assert part(found, "workload")[2] == "same"
    assert part(found, "target cores")[2] == "same"
    assert part(found, "place")[1:] == ("1 of 3 servable, 3 in all", "the fastest")
    assert part(found, "next")[1] == "candidate program-2, +50.00% of its time"
    assert part(found, "max_error")[1] == "1e-06"
    assert part(found, "trust")[1] == "unverified"


def test_a_near_tie_is_said_to_be_one() -> None:
    noisy = make_record(2, workload=OURS, samples_s=(1.0, 1.01, 0.995, 1.005, 1.0, 1.0))
    early = replace(make_record(1, workload=OURS), samples_s=(1.001,))
    found = explain(noisy, early)
    assert part(found, "place")[1] == "2 of 2 servable, 2 in all"
    assert part(found, "place")[2] == "earlier, and within the noise of the fastest"


def test_a_miss_of_the_target_shows_its_fields() -> None:
    found = explain(make_record(0, workload=OURS), cores=99, model="Other")
    assert not found.is_hit
    assert part(found, "workload")[2] == "same"
    assert part(found, "target cores") == ("99", str(make_target().cores), "differs")
    assert part(found, "target model")[2] == "differs, does not matter"
    assert part(found, "target arch")[2] == "same"


def test_a_miss_of_a_gpu_shows_its_limits() -> None:
    gpu = Target("cuda:sm_90")
    limits = {**gpu.to_dict()["gpu"], "shared_bytes_optin": 1 << 16}
    smaller = Target.from_dict({**gpu.to_dict(), "gpu": limits})
    with MemoryDatabase() as database:
        database.put(make_record(0, workload=OURS, target=smaller))
        found, line = database.explain(PROGRAM, gpu), database.explain_miss(PROGRAM, gpu)
    asked = str(gpu.to_dict()["gpu"]["shared_bytes_optin"])
    assert part(found, "target gpu shared_bytes_optin") == (asked, "65536", "differs")
    assert part(found, "target gpu warp_size") == ("32", "32", "same")
    assert f"differs in gpu shared_bytes_optin 65536 (asked {asked});" in line


def test_a_miss_of_another_kind_of_target_shows_what_only_one_has() -> None:
    with MemoryDatabase() as database:
        database.put(make_record(0, workload=OURS))
        found = database.explain(PROGRAM, Target("cuda:sm_90"))
    assert part(found, "target kind") == ("cuda", "cpu", "differs")
    assert part(found, "target gpu warp_size") == ("32", "-", "differs")


def test_a_miss_of_the_workload_shows_the_closest() -> None:
    found = explain(make_record(0, workload=OURS), program=matmul(m=8, n=16, k=32))
    assert part(found, "workload")[2] == "differs"
    assert part(found, "name")[2] == "same"
    assert part(found, "parameter 1") == ("in float32(8, 32)", "in float32(8, 24)", "differs")
    assert part(found, "parameter 3")[2] == "same"


def test_a_miss_in_a_constant_shows_the_line() -> None:
    changed = replace(OURS, hash="f" * 64, text=OURS.text.replace("0.0", "1.0"))
    found = explain(make_record(0, workload=changed))
    asked, on_record, verdict = part(found, "text")
    assert ("0.0" in asked, "1.0" in on_record, verdict) == (True, True, "differs")


def test_an_empty_database_has_nothing_to_compare() -> None:
    found = explain()
    assert (found.is_hit, found.parts) == (False, ())
    assert "the database is empty" in found.summary
    assert found.to_dict() == {"hit": False, "summary": found.summary, "parts": []}
