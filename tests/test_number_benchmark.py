"""The machinery of the benchmark of numbers counts what it says it counts."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
from benchmarks import fit_numbers, numbers

from lenet_digits import Line, Reading
from lenet_digits.reading.lattice import Costs, Evidence


def answer(said, label, confidence, marked=None):
    line = Line(said, (), (), (0, 0, 1, 1), confidence)
    reading = Reading((line,))
    return numbers.Answer("", label, marked, reading, 0.0)


@pytest.mark.parametrize(
    ("notes", "marked"),
    [
        ("text=12,5; a cell", "12·5"),
        ("text=-141.88; a cell", "·141·88"),
        ("text=2345,; real pen", "2345"),  # a mark after the last digit does not count
        ("text=17 04 2019", "17042019"),
        ("text=56 (spaces between groups not marked); pen 5px", "56"),
        ("no text", None),
    ],
)
def test_the_marks_of_a_label_are_taken_from_the_notes(notes, marked):
    assert numbers.marked_text(notes) == marked


@pytest.mark.parametrize(
    ("said", "label", "count"),
    [("42", "42", 0), ("", "42", 2), ("412", "42", 1), ("43", "42", 1), ("24", "42", 2)],
)
def test_digits_are_counted_by_edit_distance(said, label, count):
    assert numbers.errors_in(said, label) == count


def test_a_lost_mark_is_wrong_in_the_second_score_only():
    assert answer("12·5", "125", 0.9, "12·5").marks_right
    assert not answer("125", "125", 0.9, "12·5").marks_right


def test_the_share_accepted_stops_before_the_first_error_that_is_too_much():
    sure = [answer("", "", 0.9 - place / 1000) for place in range(60)]  # all right
    wrong = [answer("", "1", 0.5)]
    doubtful = [answer("", "", 0.4)] * 39
    assert numbers.accepted(sure + wrong + doubtful) == 1.0  # one of 100 is wrong
    assert numbers.accepted(sure + wrong * 2 + doubtful[1:]) == 0.6


def test_a_picture_without_a_line_is_not_a_sure_answer():
    assert numbers.Answer("", "1", None, Reading(), 0.0).confidence == 0


def test_the_fit_finds_the_weights_that_made_the_answers():
    rng = np.random.default_rng(0)
    true = Evidence(share=0.8, weakest=0.5, offset=1.0)
    found = [Evidence(share=rng.normal(0, 3), weakest=rng.normal(-2, 2)) for _ in range(4000)]
    chance = np.array([1 / (1 + np.exp(-each.score(true))) for each in found])
    right = rng.random(len(found)) < chance
    fitted = fit_numbers.fit_sure(found, right, np.ones(len(found), bool))
    assert abs(fitted.share - true.share) < 0.1
    assert abs(fitted.weakest - true.weakest) < 0.1
    assert abs(fitted.offset - true.offset) < 0.25


def test_few_right_lines_are_refused_as_letters():
    rng = np.random.default_rng(0)
    found = [Evidence(digits=rng.normal(-1 if place % 2 else -3, 0.5)) for place in range(2000)]
    number = np.array([bool(place % 2) for place in range(2000)])
    fitted = fit_numbers.fit_number(found, number, number)
    scores = np.array([each.score(fitted) for each in found])
    assert abs(np.mean(scores[number] < 0) - fit_numbers.REFUSED) < 0.005
    assert np.mean(scores[~number] > 0) < 0.3


def test_what_the_fit_prints_can_be_pasted():
    for values in (Costs(cut=0.7), Evidence(share=0.5, offset=-0.2)):
        assert eval(fit_numbers._call(values)) == values


def test_a_writer_is_in_one_half_only(tmp_path):
    rows = [
        {"file": f"{n}.png", "label": "1", "source": "s", "writer": f"w{n % 7}", "notes": ""}
        for n in range(40)
    ]
    (tmp_path / "pen_rows").mkdir()
    with (tmp_path / "pen_rows" / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    halves = {
        part: numbers.rows_of(tmp_path / "pen_rows", part, None) for part in ("tune", "check")
    }
    writers = {part: {row["writer"] for row in found} for part, found in halves.items()}
    assert all(halves.values())
    assert not writers["tune"] & writers["check"]
    assert sum(map(len, halves.values())) == len(rows)


def test_a_picture_is_measured_and_drawn_on_a_sheet(tmp_path):
    page = np.full((120, 260), 255, np.uint8)
    cv2.putText(page, "74", (60, 95), cv2.FONT_HERSHEY_SIMPLEX, 3, 0, 7)
    cv2.imwrite(str(tmp_path / "74.png"), page)
    row = {"file": "74.png", "label": "75", "notes": "text=75"}
    found = numbers.answer(tmp_path / "74.png", row)
    assert not found.right
    figures = numbers.measure_set([found])
    assert figures["right"]["right"] == 0
    numbers.draw_sheets([(tmp_path / "74.png", found)], tmp_path / "misses.png")
    assert cv2.imread(str(tmp_path / "misses_0.png")).std() > 0
