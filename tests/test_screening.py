"""Screening: what is remembered of all results, and how often that is looked at anew."""

from __future__ import annotations

from menndl_dask.screening import Archive, Screening
from tests.entries import SPACE, entries


def test_an_archive_is_bounded_and_keeps_the_best_and_the_latest() -> None:
    archive, given = Archive(limit=400), entries(2000, failing=5)
    for entry in given:
        archive.add(entry)
        assert len(archive.entries) <= 400
    best = max((e for e in given if e.values is not None), key=lambda e: e.values or ())
    assert best.values in [e.values for e in archive.entries]
    assert archive.entries[-50:] == given[-50:]
    assert any(e.values is None for e in archive.entries)


def test_without_a_few_successes_nothing_is_predicted() -> None:
    screening = Screening(SPACE)
    for entry in entries(40, failing=1):
        screening.tell(entry)
    assert screening.outlook is None


def test_the_more_is_known_the_less_often_the_outlook_is_renewed() -> None:
    screening = Screening(SPACE)
    renewed = []
    for told, entry in enumerate(entries(600, failing=7), 1):
        before = screening.outlook
        screening.tell(entry)
        screening.renew()
        if screening.outlook is not before:
            assert screening.outlook is not None
            assert screening.outlook.known == told
            renewed.append(told)
    assert renewed[:4] == [8, 9, 10, 11]
    assert renewed[-1] - renewed[-2] == 600 // 40 - 1


def test_with_all_results_that_it_uses_the_outlook_is_renewed_only_after_somebody_has_asked() -> None:
    screening = Screening(SPACE)
    given = entries(400)
    for entry in given[:319]:
        screening.tell(entry)
        assert screening.coming is None
        screening.renew()  # without effect: everything counts at once
    before = screening.outlook
    assert before is not None and before.known > 300
    for entry in given[319:]:
        screening.tell(entry)
    assert screening.outlook is before
    coming = screening.coming
    assert coming is not None and coming.known > 390
    screening.renew()
    assert screening.outlook is coming and screening.coming is None
