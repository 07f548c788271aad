"""The questions of the first five minutes, with their accepted answers, and the memories.

The questions were written once, before any was measured, and none was left out afterwards.
Invariant: an accepted answer is compared as whole words, without regard to case. An answer that
recites its prompt has the accepted word, too, and is wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MEMORIES = 200
"""Number of memories among which the answer to a question about the user is."""

_RECITES = re.compile(
    r"</?notes>|\bsaid before:|\bthe user (?:asked|asks|said|says)\b", re.IGNORECASE
)
"""The words of a prompt with memories, and of a model that describes its prompt: "The user asked:
What was said before: ..."."""


@dataclass(frozen=True, slots=True)
class SimpleQuestion:
    """A question and its accepted answers; `fact` is what the user said before, or ""."""

    text: str
    accepted: tuple[str, ...]
    fact: str = ""

    def is_right(self, answer: str) -> bool:
        """Return whether an answer has one of the accepted ones, and does not recite the prompt."""
        return not _RECITES.search(answer) and any(
            re.search(rf"(?<!\w){re.escape(word)}(?!\w)", answer, re.IGNORECASE)
            for word in self.accepted
        )


_KNOWLEDGE = """
What is the capital of France? | Paris
What is the capital of Italy? | Rome
What is the capital of Japan? | Tokyo
What is the capital of Germany? | Berlin
What is the capital of Spain? | Madrid
What is 2 plus 2? | 4, four
What is 10 minus 3? | 7, seven
What is 5 times 6? | 30, thirty
How many days are in a week? | 7, seven
How many months are in a year? | 12, twelve
How many hours are in a day? | 24, twenty-four
How many minutes are in an hour? | 60, sixty
How many legs does a spider have? | 8, eight
How many continents are there? | 7, seven
How many sides does a triangle have? | 3, three
What colour is the sky on a clear day? | blue
What colour is grass? | green
What colour do you get when you mix blue and yellow? | green
What is the opposite of hot? | cold
What is the opposite of big? | small, little, tiny
What is the largest planet in the solar system? | Jupiter
Which planet is closest to the sun? | Mercury
What is the largest ocean on Earth? | Pacific
What is the longest river in the world? | Nile, Amazon
What is the highest mountain in the world? | Everest
What do bees make? | honey
Which animal says "meow"? | cat, cats
What is a baby dog called? | puppy, pup
What is frozen water called? | ice
At what temperature in degrees Celsius does water boil? | 100, hundred
What gas do plants take in from the air? | carbon dioxide, CO2
What gas do humans need to breathe? | oxygen
What is the chemical symbol for water? | H2O, H₂O
What is the chemical symbol for gold? | Au
Who wrote Romeo and Juliet? | Shakespeare
Who painted the Mona Lisa? | Leonardo, da Vinci
Who was the first president of the United States? | Washington
Which scientist is known for the theory of relativity? | Einstein
In which country are the pyramids of Giza? | Egypt
In which country is the Great Wall? | China
In which city is the Eiffel Tower? | Paris
What language is spoken in Brazil? | Portuguese
What is the currency of Japan? | yen
Which season comes after winter? | spring
Which day comes after Monday? | Tuesday
Which month comes after April? | May
What is the last month of the year? | December
Which organ pumps blood through the body? | heart
What is the star at the centre of our solar system called? | sun
What is H2O commonly called? | water
What is the past tense of "go"? | went
What is the plural of "mouse"? | mice
How do you say "hello" in Spanish? | hola
How do you say "thank you" in French? | merci
Which musical instrument has 88 keys? | piano
Which sport is played at Wimbledon? | tennis
Which long yellow fruit do monkeys like? | banana, bananas
What is the tallest animal in the world? | giraffe
What is the fastest land animal? | cheetah
How many wheels does a bicycle have? | 2, two
"""

_FACTS = """
My sister lives in Lisbon. | Where does my sister live? | Lisbon
My brother lives in Oslo. | Where does my brother live? | Oslo
My dog is called Biscuit. | What is my dog called? | Biscuit
My cat is called Pixel. | What is the name of my cat? | Pixel
I work as a nurse at the city hospital. | What is my job? | nurse
My favourite colour is turquoise. | What is my favourite colour? | turquoise
I was born in Tartu. | Where was I born? | Tartu
My birthday is on the 14th of March. | When is my birthday? | March
I am allergic to peanuts. | What am I allergic to? | peanuts, peanut
My car is a red Volvo. | What car do I drive? | Volvo
My wife's name is Clara. | What is my wife's name? | Clara
I play the cello in an orchestra. | Which instrument do I play? | cello
My flat is on the fourth floor. | On which floor is my flat? | fourth, 4th, 4
My daughter is seven years old. | How old is my daughter? | seven, 7
I am reading a book about whales. | What is the book about that I am reading? | whales, whale
My boss is called Mr Tanaka. | What is my boss called? | Tanaka
We are flying to Iceland in July. | Where are we flying in July? | Iceland
I am learning Finnish. | Which language am I learning? | Finnish
My favourite food is mushroom risotto. | What is my favourite food? | risotto
My bicycle was stolen on Tuesday. | What was stolen from me on Tuesday? | bicycle, bike
The spare key is under the blue flowerpot. | Where is the spare key? | flowerpot
My dentist's appointment is on Friday at nine. | When is my dentist's appointment? | Friday
My grandmother came from Sicily. | Where did my grandmother come from? | Sicily
I drink my coffee without sugar. | How do I drink my coffee? | without sugar, no sugar
My shoe size is 43. | What is my shoe size? | 43
My best friend is called Emil. | What is the name of my best friend? | Emil
I studied chemistry in Leiden. | What did I study? | chemistry
My son plays as goalkeeper in his team. | Which position does my son play? | goalkeeper
My neighbour keeps bees on the roof. | What does my neighbour keep on the roof? | bees
Our wedding was in a lighthouse. | Where was our wedding? | lighthouse
"""

_SAID = (
    "Yesterday I watched a film about {}.",
    "I could not sleep because I thought about {}.",
    "At work we talked about {} for an hour.",
    "I would like to read more about {} this winter.",
    "A colleague gave a long talk about {}.",
    "There was an article on {} in the paper this morning.",
    "My aunt sent me a postcard with {} on it.",
    "I dreamt of {} again, I do not know why.",
    "We saw an exhibition on {} last weekend.",
    "I wrote two pages about {} for my course.",
    "The children painted {} at school.",
    "I bought a puzzle with a picture of {}.",
)
_ANSWERED = (
    "That sounds interesting! There is a lot to say about {}.",
    "I am glad that you enjoyed it. Many people like {}.",
    "You could ask at the library for books on {}.",
    "Thank you for telling me about {}.",
    "It is hard to say, but {} may well be the reason.",
)
_TOPICS = (
    "old trains",
    "desert flowers",
    "the moons of Saturn",
    "Roman roads",
    "cloud forests",
    "glass blowing",
    "deep sea fish",
    "wooden boats",
    "paper lanterns",
    "migrating storks",
)


def _parts(table: str) -> list[list[str]]:
    return [[part.strip() for part in line.split("|")] for line in table.strip().splitlines()]


KNOWLEDGE = tuple(
    SimpleQuestion(text, tuple(accepted.split(", "))) for text, accepted in _parts(_KNOWLEDGE)
)
"""Sixty questions that a person may ask to try an assistant."""

ABOUT_THE_USER = tuple(
    SimpleQuestion(text, tuple(accepted.split(", ")), fact)
    for fact, text, accepted in _parts(_FACTS)
)
"""Thirty questions about what the user said."""

CHOSEN_ON, HELD_OUT = (
    frozenset(item.text for table in (KNOWLEDGE, ABOUT_THE_USER) for item in table[first::2])
    for first in (0, 1)
)
"""Every other question of both tables: those that templates are chosen on, and those held out."""


def memories() -> list[tuple[str, str]]:
    """Return `MEMORIES` messages as role and text: the facts, and others spread between them."""
    others = [("user", form.format(topic)) for topic in _TOPICS for form in _SAID]
    others += [("assistant", form.format(topic)) for topic in _TOPICS for form in _ANSWERED]
    facts = [("user", question.fact) for question in ABOUT_THE_USER]
    mixed: list[tuple[str, str]] = []
    share = len(others) / len(facts)
    for number, fact in enumerate(facts):
        mixed += [*others[round(number * share) : round((number + 1) * share)], fact]
    return mixed
