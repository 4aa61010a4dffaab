r"""Regular expressions over text as automata over ids; knows the texts of the tokens, but no tokeniser and no model.

The expression must match the whole output. Python's `re` syntax holds, as far as a finite automaton can follow it:
characters, classes, `.`, `\d \w \s` and their opposites, groups, `|`, `* + ? {m,n}`. Look-around, back references,
boundaries and anchors inside the expression are errors.

Four steps: `parse` the expression into a tree; `nondeterministic` automaton (Thompson 1968); `deterministic` over classes of
characters that no part of the expression tells apart (Rabin and Scott 1959); then walk every token's text through it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from dragoman.errors import OptionError
from dragoman.generation.automaton import FAR, Automaton, distances
from dragoman.generation.stepper import BOS, EOS, UNK, Ints

MAX_STATES = 2000
"""Automata with more states than this are refused (a long counted repetition, as a rule)."""


@dataclass(frozen=True)
class Node:
    """A part of an expression: a leaf (`text`), or `cat`, `alt` or `rep` of other parts."""

    kind: str
    """`leaf`, `cat`, `alt` or `rep`."""
    parts: tuple[Node, ...] = ()
    """The parts that it is made of."""
    text: str = ""
    """Of a leaf: an expression for one character."""
    least: int = 1
    """Of `rep`: the fewest times."""
    most: int | None = 1
    """Of `rep`: the most times; None for any number."""


@dataclass
class _Reader:
    """Recursive descent over the expression, which `re` has accepted already."""

    pattern: str
    flags: int
    at: int = 0

    def fail(self, what: str) -> OptionError:
        return OptionError(f"`match` may not use {what}, but does at character {self.at + 1}: {self.pattern}")

    def peek(self, size: int = 1) -> str:
        return self.pattern[self.at : self.at + size]

    def alternatives(self) -> Node:
        branches = [self.sequence()]
        while self.peek() == "|":
            self.at += 1
            branches.append(self.sequence())
        return branches[0] if len(branches) == 1 else Node("alt", tuple(branches))

    def sequence(self) -> Node:
        parts = []
        while self.at < len(self.pattern) and self.peek() not in "|)":
            parts.append(self.repeated(self.atom()))
        return Node("cat", tuple(parts))

    def repeated(self, node: Node) -> Node:
        counted = re.compile(r"\{([0-9]*)(,?)([0-9]*)\}").match(self.pattern, self.at)
        if self.peek() in ("*", "+", "?"):
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[self.peek()]
            self.at += 1
        elif counted and counted.group(0) != "{}":
            least = int(counted.group(1) or 0)
            most = least if not counted.group(2) else int(counted.group(3)) if counted.group(3) else None
            self.at = counted.end()
        else:
            return node
        if self.peek() == "?":  # lazy: finds another match first, but matches the same texts
            self.at += 1
        elif self.peek() == "+":
            raise self.fail("a possessive repetition")
        return Node("rep", (node,), least=least, most=most)

    def atom(self) -> Node:
        character = self.peek()
        if character == "(":
            return self.group()
        if character in "^$":
            raise self.fail("an anchor inside (the whole output is matched anyway)")
        end = self.at + 1
        if character == "[":
            end = self._end_of_class()
        elif character == "\\":
            end = self._end_of_escape()
        text = self.pattern[self.at : end]
        self.at = end
        return Node("leaf", text=text)

    def group(self) -> Node:
        opening = re.compile(r"\((\?:|\?P<\w+>|(?!\?))").match(self.pattern, self.at)
        if not opening:
            raise self.fail("look-around, conditions or flags inside")
        self.at = opening.end()
        inside = self.alternatives()
        self.at += 1
        return inside

    def _end_of_class(self) -> int:
        end = self.at + (2 if self.peek(2) == "[^" else 1)
        end += self.pattern[end] == "]"  # a bracket that comes first is a character
        while self.pattern[end] != "]":
            end += 2 if self.pattern[end] == "\\" else 1
        return end + 1

    def _end_of_escape(self) -> int:
        escape = re.compile(r"\\(x..|u.{4}|U.{8}|N\{[^}]*\}|0[0-7]{0,2}|.)", re.DOTALL).match(self.pattern, self.at)
        assert escape is not None
        if escape.group(1)[0] in "123456789":
            raise self.fail("a back reference")
        if escape.group(1)[0] in "AZbBz":
            raise self.fail("an anchor or boundary inside (the whole output is matched anyway)")
        return escape.end()


def parse(pattern: str) -> tuple[Node, int]:
    """The expression as a tree, and the flags given at its beginning; `OptionError` for what has no automaton."""
    try:
        flags = re.compile(pattern).flags
    except (re.error, OverflowError, ValueError) as error:  # ValueError: flags that contradict each other
        raise OptionError(f"`match` must be a regular expression, but is {pattern!r}: {error}") from None
    if flags & re.VERBOSE:
        raise OptionError("`match` may not use the flag x")
    body = re.sub(r"^\(\?[a-zA-Z]+\)", "", pattern).removeprefix("^")
    if body.endswith("$") and (len(body) - len(body[:-1].rstrip("\\"))) % 2:
        body = body[:-1]
    reader = _Reader(body, flags)
    return reader.alternatives(), flags


@dataclass
class Nondeterministic:
    """Thompson's automaton: states with empty moves and moves on one leaf; state 0 starts."""

    empty: list[list[int]] = field(default_factory=lambda: [[]])
    """Per state: where it may go on nothing."""
    moves: list[tuple[str, int] | None] = field(default_factory=lambda: [None])
    """Per state: the leaf that it reads and where that leads."""

    def new(self) -> int:
        """Another state."""
        if len(self.empty) > 20 * MAX_STATES:
            raise OptionError("`match` is too large: shorten its counted repetitions")
        self.empty.append([])
        self.moves.append(None)
        return len(self.empty) - 1

    def add(self, node: Node, start: int) -> int:
        """Build `node` from state `start`; the state after it."""
        if node.kind == "leaf":
            end = self.new()
            reading = self.new()
            self.empty[start].append(reading)
            self.moves[reading] = (node.text, end)
            return end
        if node.kind == "cat":
            for part in node.parts:
                start = self.add(part, start)
            return start
        if node.kind == "alt":
            ends = [self.add(part, self._from(start)) for part in node.parts]
            return self._join(ends)
        for _ in range(node.least):
            before, start = start, self.add(node.parts[0], start)
            if start == before:  # nothing, however often
                break
        if node.most is None:
            hub = self._from(start)
            self.empty[self.add(node.parts[0], self._from(hub))].append(hub)
            return self._from(hub)
        ends = [start]
        for _ in range(node.most - node.least):
            start = self.add(node.parts[0], self._from(start))
            ends.append(start)
        return self._join(ends)

    def _from(self, state: int) -> int:
        following = self.new()
        self.empty[state].append(following)
        return following

    def _join(self, states: list[int]) -> int:
        end = self.new()
        for state in states:
            self.empty[state].append(end)
        return end

    def closure(self, states: set[int]) -> frozenset[int]:
        """These states and all that they reach on nothing."""
        reached, waiting = set(states), list(states)
        while waiting:
            for following in self.empty[waiting.pop()]:
                if following not in reached:
                    reached.add(following)
                    waiting.append(following)
        return frozenset(reached)


def deterministic(tree: Node, flags: int, characters: Sequence[str]) -> tuple[Ints, Ints, dict[str, int]]:
    """Table (states + 1, classes) of next states, (states,) 1 where the text may end, and the class of each character.

    The last state is the one that nothing leads out of.
    """
    loose = Nondeterministic()
    final = loose.add(tree, 0)
    leaves = sorted({move[0] for move in loose.moves if move})
    tests = [re.compile(leaf, flags) for leaf in leaves]
    classes: dict[tuple[bool, ...], int] = {}
    class_of = {}
    for character in characters:
        signature = tuple(test.fullmatch(character) is not None for test in tests)
        class_of[character] = classes.setdefault(signature, len(classes))
    readers = [{leaf for leaf, yes in zip(leaves, signature, strict=True) if yes} for signature in classes]
    numbers = {loose.closure({0}): 0}
    waiting, rows = list(numbers), []
    for states in waiting:  # grows while it is read
        moves = [loose.moves[state] for state in states]
        row = []
        for leaves_read in readers:
            targets = {move[1] for move in moves if move and move[0] in leaves_read}
            following = loose.closure(targets) if targets else None
            if following is not None and following not in numbers:
                if len(numbers) >= MAX_STATES:
                    raise OptionError(f"`match` must need at most {MAX_STATES} states, but needs more; simplify it")
                numbers[following] = len(numbers)
                waiting.append(following)
            row.append(-1 if following is None else numbers[following])
        rows.append(row)
    table = np.array([*rows, [-1] * len(readers)], np.int64).reshape(len(rows) + 1, len(readers))
    return np.where(table < 0, len(rows), table), np.array([final in s for s in waiting], np.int64), class_of


def compile_pattern(
    pattern: str, texts: Sequence[str | None], *, first_texts: Sequence[str | None] | None = None
) -> Automaton:
    """The automaton of all outputs whose text matches `pattern` from end to end.

    `texts[i]` is what id i adds to the text, None or "" if it may not be used; `first_texts` are the same for the first
    id of an output (a word there has no space before it). `OptionError` if no output of these tokens can match.
    """
    first_texts = texts if first_texts is None else first_texts
    characters = sorted({character for text in (*texts, *first_texts) for character in text or ""})
    try:
        table, accepting, class_of = deterministic(*parse(pattern), characters)
    except RecursionError:
        raise OptionError("`match` must not nest its groups so deeply") from None
    states = np.arange(len(accepting))
    inside = _walk(table, states, texts, class_of)
    first = _walk(table, states[:1], first_texts, class_of)
    # State 0 is the start alone; the states of the text automaton follow, and the dead one comes last.
    following = np.concatenate([first, inside]) + 1
    ends = np.concatenate([accepting[:1], accepting, [0]]).astype(np.bool_)
    distance, reach = distances([*(np.unique(row).tolist() for row in following), [len(following)]], ends)
    if distance[0] == FAR:
        raise OptionError(f"`match` must be matched by some output, but the vocabulary cannot spell any: {pattern}")
    sources, ids = np.nonzero(distance[following] < FAR)
    counts = np.bincount(sources, minlength=len(distance))
    return Automaton(np.concatenate([[0], counts.cumsum()]), ids, following[sources, ids], distance, reach)


def token_texts(decode: Callable[[Sequence[int]], str], vocab_size: int) -> tuple[list[str | None], list[str | None]]:
    """What each id adds to a text at its beginning and inside, for `compile_pattern`; None if that cannot be said.

    `decode` gives the text of ids, as a tokeniser does. A token whose text depends on its neighbours (a byte of a
    character, a part of a syllable) has none.
    """
    words = range(UNK + 1, vocab_size)
    first = [decode([i]) if i in words and i not in (BOS, EOS) else None for i in range(vocab_size)]
    first = [None if text is None or "\ufffd" in text else text for text in first]  # a lone byte of a character
    # A letter or digit of ASCII becomes no part of what follows; without one every token follows itself.
    anchors = (i for i, text in enumerate(first) if text and text.isascii() and text.isalnum())
    anchor = next(anchors, None)
    inside: list[str | None] = []
    for i, text in enumerate(first):
        before = i if anchor is None else anchor
        start, both = first[before] or "", decode([before, i])
        inside.append(both[len(start) :] if text is not None and both.startswith(start) else None)
    return list(first), inside


def _walk(table: Ints, states: Ints, texts: Sequence[str | None], class_of: dict[str, int]) -> Ints:
    """Where every token's text leads from every state: (states, vocab)."""
    dead = len(table) - 1
    longest = max((len(text) for text in texts if text), default=0)
    stay = table.shape[1]  # the class of what comes after a token's end
    classes = np.full((len(texts), longest), stay, np.int64)
    for i, text in enumerate(texts):
        classes[i, : len(text or "")] = [class_of[character] for character in text or ""]
    moves = np.concatenate([table, np.arange(len(table))[:, None]], axis=1)
    at = np.repeat(states[:, None], len(texts), axis=1)
    at[:, [not text for text in texts]] = dead
    for column in classes.T:
        at = moves[at, column]
    return at
