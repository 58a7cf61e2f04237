"""How well the built-in rules judge real bounces (../shared/corpus/bounces, or the folder in WAYBILL_BOUNCES).

For each recipient of a mail: status, reply code, stage and words go through `waybill classify`, and the verdict is compared
with the label. Two measures of "suppressed for good": against the label's hard=true as it stands, and against the same
with the corrections of PLAINLY_WRONG. Floors are what the present rules reach, rounded down."""

import csv
import json
import os
import pathlib
import subprocess
import sys
from collections import Counter, defaultdict

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from bounce_mail import recipients  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[4]
CORPUS = pathlib.Path(os.environ.get("WAYBILL_BOUNCES", ROOT.parent / "shared/corpus/bounces"))
WAYBILL = os.environ.get("WAYBILL", str(ROOT / "build/dev/bin/waybill"))

# Our categories for each of the labels' reasons; the first is the usual one. The labels know fewer and other kinds.
REASONS = {
    "userunknown": {"bad-mailbox"}, "hasmoved": {"mailbox-moved"}, "suspend": {"inactive-mailbox"},
    "mailboxfull": {"quota-issues"}, "filtered": {"recipient-filtered"}, "hostunknown": {"bad-domain"},
    "notaccept": {"bad-domain"}, "networkerror": {"dns-failure", "routing-loop", "no-answer-from-host", "bad-connection"},
    "expired": {"expired", "no-answer-from-host", "bad-connection"}, "blocked": {"ip-blocked"}, "rejected": {"bad-sender"},
    "authfailure": {"auth-failed"}, "spamdetected": {"spam-content"}, "policyviolation": {"policy-related"},
    "securityerror": {"policy-related"}, "requireptr": {"no-ptr"}, "systemerror": {"protocol-errors"},
    "systemfull": {"protocol-errors"}, "mailererror": {"protocol-errors"}, "norelaying": {"relaying-issues"},
    "mesgtoobig": {"message-too-big"}, "exceedlimit": {"message-too-big"}, "contenterror": {"content-related"},
    "notcompliantrfc": {"content-related"}, "virusdetected": {"virus"}, "speeding": {"rate-limited"},
    "failedstarttls": {"tls-required"}, "onhold": {"undetermined"},
}
NOT_BOUNCES = {"feedback", "vacation"}

# Labels that the mail's own words contradict. Words and codes, no file names: it holds for any set. Such a recipient is
# left out of the second measure: either verdict is right.
UNKNOWN_WORDS = ("user unknown", "unknown user", "no such user", "user not exist", "does not exist", "recipient not found",
                 "mailbox unavailable")


def plainly_wrong(row, found):
    """Why the label is, or None."""
    said = (found.diagnostic + " " + found.notice).lower()
    if row["reason"] == "filtered" and any(word in said for word in UNKNOWN_WORDS):
        return "the server says that the user is unknown: this labeller guesses at a filter behind it"
    return None


def load():
    with open(CORPUS / "labels.tsv", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file, delimiter="\t") if r["reason"] not in NOT_BOUNCES]
    pairs = []
    for row in rows:
        found = recipients((CORPUS / row["file"]).read_bytes())
        number = int(row["n"]) - 1
        if number < len(found):
            pairs.append((row, found[number]))
    return rows, pairs


def facts(found):
    return {"text": found.diagnostic, "code": found.code, "enhanced": found.status, "stage": found.stage, "relay": found.relay}


def classify(replies):
    lines = "".join(json.dumps(reply) + "\n" for reply in replies)
    run = subprocess.run([WAYBILL, "classify", "--json", "-"], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def judge(pairs, known=("text", "code", "enhanced", "stage", "relay")):
    """With what is KNOWN of each reply; no bounce tells everything."""
    return classify({key: value for key, value in facts(found).items() if key in known} for _, found in pairs)


def ratio(part, whole):
    return part / whole if whole else 1.0


def suppression(results, truth):
    true = sum(1 for r, f, v in results if v["consequence"] == "permanent" and truth(r, f))
    said = sum(1 for r, f, v in results if v["consequence"] == "permanent")
    real = sum(1 for r, f, v in results if truth(r, f))
    return ratio(true, said), ratio(true, real)


def macro_f1(results):
    """Over the labels' reasons: does the category belong to the reason?"""
    counts = defaultdict(Counter)
    for row, _, verdict in results:
        allowed = REASONS[row["reason"]]
        if verdict["category"] in allowed:
            counts[row["reason"]]["true"] += 1
            continue
        counts[row["reason"]]["missed"] += 1
        for reason, categories in REASONS.items():
            if verdict["category"] in categories:
                counts[reason]["false"] += 1
                break
    scores = [ratio(2 * c["true"], 2 * c["true"] + c["missed"] + c["false"]) for reason, c in counts.items()
              if c["true"] + c["missed"]]
    return sum(scores) / len(scores)


@pytest.fixture(scope="module")
def results():
    if not (CORPUS / "labels.tsv").exists():
        pytest.skip(f"there is no {CORPUS}")
    rows, pairs = load()
    verdicts = judge(pairs)
    assert len(verdicts) == len(pairs)
    assert len(pairs) >= 0.9 * len(rows), "too few of the labelled recipients were found in the mails"
    return [(row, found, verdict) for (row, found), verdict in zip(pairs, verdicts)]


def report(results):
    strict = suppression(results, lambda r, f: r["hard"] == "true")
    judged = suppression([x for x in results if not plainly_wrong(x[0], x[1])], lambda r, f: r["hard"] == "true")
    said_wrong = [(r, f, v) for r, f, v in results
                  if v["consequence"] == "permanent" and r["hard"] != "true" and not plainly_wrong(r, f)]
    undetermined = ratio(sum(v["category"] == "undetermined" for _, _, v in results), len(results))
    return {"recipients": len(results), "strict": strict, "judged": judged, "macro_f1": macro_f1(results),
            "undetermined": undetermined, "false": said_wrong}


def test_suppression_is_right_and_complete(results):
    score = report(results)
    print(f"\n{score['recipients']} recipients; permanent suppression: precision {score['judged'][0]:.3f} "
          f"recall {score['judged'][1]:.3f} (labels as they stand: {score['strict'][0]:.3f} {score['strict'][1]:.3f}); "
          f"macro-F1 {score['macro_f1']:.3f}; undetermined {score['undetermined']:.3f}")
    for row, found, verdict in score["false"]:
        print(f"  false: {row['file']} {row['reason']}: {verdict['category']} {verdict['rule']}: {found.diagnostic[:120]}")
    assert score["judged"][0] >= 0.98 and score["judged"][1] >= 0.90
    assert score["strict"][0] >= 0.98 and score["strict"][1] >= 0.90


def test_categories(results):
    score = report(results)
    assert score["macro_f1"] >= 0.90
    assert score["undetermined"] <= 0.02


@pytest.mark.parametrize("known,recall", [
    (("text", "code", "enhanced", "stage"), 0.90), (("text", "code", "enhanced"), 0.90), (("text", "enhanced", "stage", "relay"), 0.90),
    (("text",), 0.80), (("code", "enhanced", "stage"), 0.50),
], ids=lambda v: "+".join(v) if isinstance(v, tuple) else "")
def test_what_is_missing_costs_recall_not_precision(results, known, recall):
    verdicts = judge([(row, found) for row, found, _ in results], known)
    poorer = [(row, found, verdict) for (row, found, _), verdict in zip(results, verdicts) if not plainly_wrong(row, found)]
    precision, found = suppression(poorer, lambda r, f: r["hard"] == "true")
    print(f"\nwith {', '.join(known)}: precision {precision:.3f} recall {found:.3f}")
    assert precision >= (0.98 if "text" in known else 0.90) and found >= recall


def wild():
    """What servers say in the wild (wild.tsv): expected category and the reply."""
    with open(pathlib.Path(__file__).parent / "wild.tsv", encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                category, status, code, stage, text = line.rstrip("\n").split("\t")
                yield category, {"text": text, "code": int(code), "enhanced": status.strip("-"), "stage": stage.strip("-")}


def test_the_wild():
    expected = list(wild())
    verdicts = classify(reply for _, reply in expected)
    assert len(verdicts) == len(expected) > 400
    wrong = [f"{category}, not {verdict['category']} ({verdict['rule']}): {reply['text']}"
             for (category, reply), verdict in zip(expected, verdicts) if category != verdict["category"]]
    assert wrong == []


@pytest.mark.parametrize("stage", ["RCPT TO", "end of DATA", ""])
def test_nobody_is_suppressed_for_somebody_else(stage):
    lines = (pathlib.Path(__file__).parent / "traps.txt").read_text(encoding="utf-8").splitlines()
    traps = [line for line in lines if line and not line.startswith("#")]
    verdicts = classify({"text": text, "code": int(text[:3]), "stage": stage} for text in traps)
    assert len(verdicts) == len(traps) > 40
    assert [text for text, verdict in zip(traps, verdicts) if verdict["suppresses"]] == []


NOUNS = ("user", "mailbox", "recipient", "rcpt", "local part", "address", "account", "mail drop", "addressee", "e-mail address",
         "alias", "inbox", "person", "subscriber", "customer", "recipient address", "email account", "mail box")
BEFORE = ("no such", "bad", "invalid", "unknown", "illegal", "non-existent", "nonexistent", "wrong", "no valid")
BEHIND = ("unknown", "is unknown", "not found", "was not found", "does not exist", "doesn't exist", "not exist", "is invalid", "not known",
          "not recognized", "is not valid", "no longer exists", "not listed", "nonexistent", "cannot be found", "has been deleted")


def test_whatever_word_a_server_has_for_a_mailbox():
    """No list of replies is complete: every noun with every word that says it is not there."""
    texts = [f"{word} {noun}" for word in BEFORE for noun in NOUNS] + [f"{noun} {words}" for words in BEHIND for noun in NOUNS]
    verdicts = classify({"text": f"550 {text}", "code": 550, "stage": "RCPT TO"} for text in texts)
    assert [text for text, verdict in zip(texts, verdicts) if verdict["consequence"] != "permanent"] == []


def test_every_category_is_in_the_wild():
    assert {category for category, _ in wild()} >= {category for allowed in REASONS.values() for category in allowed}


if __name__ == "__main__":
    rows, pairs = load()
    for (row, found), verdict in zip(pairs, judge(pairs)):
        good = verdict["category"] in REASONS[row["reason"]]
        permanent = verdict["consequence"] == "permanent"
        mark = "ok" if good and permanent == (row["hard"] == "true") else "SUPPRESSES" if permanent and row["hard"] != "true" \
            else "MISSES" if row["hard"] == "true" and not permanent else "differs"
        print(mark, row["file"], row["n"], row["reason"], row["hard"], found.status, found.code, found.stage, "->",
              verdict["category"], verdict["class"], verdict["rule"], "|", found.diagnostic[:200].replace("\n", " "), sep="\t")
